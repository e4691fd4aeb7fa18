"""What the modules know of a host: which process is the run's, and what a dead agent said."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"


@pytest.fixture(scope="module")
def host() -> Any:
    spec = importlib.util.spec_from_file_location("host", PLAYBOOKS / "module_utils" / "hermes_backup_host.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_process_that_is_dead_and_not_buried_is_gone(host: Any) -> None:
    child = subprocess.Popen(["sleep", "60"])
    assert isinstance(host.started_at(child.pid), int)
    os.kill(child.pid, 9)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert host.started_at(child.pid) is None
    child.wait()
    assert host.started_at(child.pid) is None


def test_only_the_agent_of_this_run_is_found(host: Any) -> None:
    code = "import time; time.sleep(60)"
    runs = [
        subprocess.Popen([sys.executable, "-c", code, *words])
        for words in (
            ["agent", "run", "p", "--run-id", "one-77"],
            ["agent", "run", "p", "--run-id", "two-77"],
            ["other", "--run-id", "one-77"],
            ["agent", "one-77"],
        )
    ]
    try:
        assert host.agents_of("one-77") == [runs[0].pid]
        assert host.agents_of("77") == []
    finally:
        for child in runs:
            child.kill()
            child.wait()


def test_a_status_of_another_run_is_none(host: Any, tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    assert host.read_status(str(file), "a") is None
    file.write_text("{")
    assert host.read_status(str(file), "a") is None
    file.write_text(json.dumps({"run_id": "b"}))
    assert host.read_status(str(file), "a") is None
    assert host.read_status(str(file), "b") == {"run_id": "b"}


def test_the_fault_in_a_log_is_found_behind_other_words(host: Any) -> None:
    told = json.dumps({"error": {"name": "HB-LOCKED"}}, indent=2)
    assert host.told_error(f"warning {{x}}\n{{no json\n{told}\n") == {"name": "HB-LOCKED"}
    assert host.told_error("Traceback\n") is None


def test_the_modules_are_plain_old_python() -> None:
    files = [it for folder in ("library", "module_utils") for it in (PLAYBOOKS / folder).glob("*.py")]
    assert len(files) > 5
    for file in files:
        ast.parse(file.read_text(), feature_version=(3, 8))
        assert "import hermes_backup\n" not in file.read_text()


def call(module: str, **arguments: Any) -> dict[str, Any]:
    """Run a module as Ansible does on a host, with its arguments on standard input."""
    program = Path(sys.executable).parent / "ansible"
    done = subprocess.run(
        [program, "localhost", "-i", "localhost,", "-c", "local", "-m", module, "-a", json.dumps(arguments)],
        env={
            **os.environ,
            "ANSIBLE_LIBRARY": str(PLAYBOOKS / "library"),
            "ANSIBLE_MODULE_UTILS": str(PLAYBOOKS / "module_utils"),
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "True",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.stdout.partition("=> ")[2])
    return answer


def test_another_process_with_the_same_number_is_not_the_agent(tmp_path: Path) -> None:
    """Its start time differs, so the run counts as lost, and nobody waits for ever."""
    log = tmp_path / "log"
    log.write_text("Killed\n")
    answer = call(
        "hermes_backup_status",
        path=str(tmp_path / "status.json"), run_id="r", pid=os.getpid(), started_at=1, log=str(log), wait=30,
    )  # fmt: skip
    assert answer["finished"] is True
    assert answer["error"] == {"name": "HB-STAGE-FAILED", "what": "the agent broke: Killed", "where": str(log)}


def test_the_last_word_of_a_process_that_is_gone_counts(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    file.write_text(json.dumps({"run_id": "r", "state": "done"}))
    answer = call("hermes_backup_status", path=str(file), run_id="r", pid=1, started_at=1, log="/nowhere", wait=30)
    assert (answer["finished"], answer["status"]["state"]) == (True, "done")
    assert not answer.get("failed")
