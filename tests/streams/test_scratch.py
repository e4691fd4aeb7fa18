"""Short private folders: there while they are used, gone afterwards, and swept where their maker was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hermes_backup.streams.scratch import scratch, sweep

_MAKER = """
import sys
from hermes_backup.streams.scratch import scratch
with scratch() as folder:
    (folder / "inner").mkdir()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_private_and_gone_afterwards(folder: Path) -> None:
    with scratch() as made:
        assert made.parent == folder
        assert made.stat().st_mode & 0o777 == 0o700
        (made / "inner").mkdir()
        (made / "inner" / "file").write_text("x")
    assert list(folder.iterdir()) == []


def test_what_lives_is_not_swept_and_what_was_killed_is(folder: Path) -> None:
    argv = [sys.executable, "-c", _MAKER]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        made = Path(maker.stdout.readline().strip())
        with scratch() as ours:
            sweep()
            assert (made / "inner").is_dir()
            assert ours.is_dir()
            maker.kill()
            maker.communicate()
            assert made.is_dir()
            sweep()
            assert not made.exists()
            assert ours.is_dir()


def test_only_what_is_ours_is_swept(folder: Path) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (folder / "hb-scratch-aaaaaaaa").symlink_to(elsewhere)
    for name in ("hb-scratch-notes", "hb-scratch-toolongname", "hb-scratch-ABCDEFGH", "mine"):
        (folder / name).mkdir()
    (folder / "hb-scratch-bbbbbbbb").write_text("a file")
    if os.geteuid() == 0:
        (folder / "hb-scratch-cccccccc").mkdir()
        os.chown(folder / "hb-scratch-cccccccc", 65534, 65534)
    before = set(folder.iterdir())
    sweep()
    assert set(folder.iterdir()) == before
