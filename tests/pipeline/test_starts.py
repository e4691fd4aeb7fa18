"""How many programs one run starts: each start costs its user time, whatever the home's size."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.site import Site

_COUNTED = ("gpg", "gpgconf", "gpg-connect-agent", "gpg-agent", "rclone", "tar", "zstd")
_COUNTING = """#!/bin/sh
echo "{name} $*" >> {log}
exec {program} "$@"
"""


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that gets a line for each program that is started from PATH."""
    folder, log = tmp_path / "programs", tmp_path / "started"
    folder.mkdir()
    for name in _COUNTED:
        program = shutil.which(name)
        if program:
            (folder / name).write_text(_COUNTING.format(name=name, log=log, program=program))
            (folder / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return log


def test_a_warm_run_starts_few_programs(site: Site, started: Path) -> None:
    stages = site.usual({"push": {"to": [str(site.remote)]}}, {"prune": {"keep_last": 3}})
    assert site.run(stages).exit_code == 0
    started.write_text("")
    assert site.run(stages).exit_code == 0
    names = [line.split()[0] for line in started.read_text().splitlines()]
    assert names.count("gpg") <= 5, started.read_text()  # two encrypt, one signs, two read what is signed
    assert set(names) == {"gpg"}
