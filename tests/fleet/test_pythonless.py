"""A host without Python is called that, whatever was asked of it."""

from __future__ import annotations

import pytest

from hermes_backup.fleet.outcome import broken


@pytest.mark.parametrize(
    "result",
    [
        {"msg": "The module interpreter '/usr/bin/python3' was not found."},
        {"msg": "No python interpreters found for host vps1 (tried ['python3.14', 'python3'])"},
        {"msg": "The module failed", "module_stderr": "/bin/sh: 1: /usr/bin/python3: not found\n"},
        {
            "msg": "The module failed",
            "module_stdout": "/bin/sh: line 1: /usr/bin/python3.11: No such file or directory",
        },
    ],
)
def test_it_is_named(result: dict[str, str]) -> None:
    fault = broken("vps1", result)
    assert fault.kind.name == "HB-PYTHON-MISSING"
    assert fault.where == "vps1"


@pytest.mark.parametrize(
    "result",
    [
        {"msg": "No package matching 'python3-apt' is available"},
        {"msg": "/opt/python-tools/run: not found"},
        {"msg": "Unable to start service: Unit python3.service not found."},
    ],
)
def test_another_fault_that_speaks_of_python_is_not(result: dict[str, str]) -> None:
    fault = broken("vps1", result)
    assert fault.kind.name == "HB-HOSTS-FAILED"
    assert fault.what == result["msg"]
