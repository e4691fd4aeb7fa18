"""What killed commands left, in the remote and on this machine, as the next commands of the trusted machine see it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from hermes_backup.snapshots.names import SnapshotName
from tests.cli.test_snapshots import Desk, desk
from tests.site import PROGRAM

__all__ = ["desk"]
_DYING = str(Path(__file__).parents[1] / "pipeline" / "dying.py")
_DAYS = timedelta(days=2)


def unfinish(desk: Desk, stem: str, *, age: timedelta) -> list[str]:
    """Leave in the remote what a run would have that was killed so long before a snapshot; return the files."""
    made = []
    for path in desk.remote.glob(f"{stem}*.gpg"):
        name = SnapshotName.parse(path.name.split(".")[0])
        older = SnapshotName(name.sequence, name.time - age)
        left = path.with_name(path.name.replace(str(name), str(older)))
        left.write_bytes(path.read_bytes())
        os.utime(left, (time.time() - age.total_seconds(),) * 2)
        made.append(left.name)
    return sorted(made)


def flip(path: Path) -> None:
    """Change one byte; a second time changes it back."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_prune_lists_what_a_killed_run_left_and_removes_it_once_the_newest_is_proven(desk: Desk) -> None:
    desk.backup(3)
    desk.declare("prune: {keep_last: 2}")
    left = unfinish(desk, "000002", age=_DAYS)
    half = desk.remote / f".{left[0]}.0123456789ab.hermes-backup-part"
    half.write_bytes(b"half")
    os.utime(half, (1, 1))
    before = sorted(desk.remote.iterdir())
    newest = next(desk.remote.glob("000003*.tar.zst.gpg"))
    flip(newest)
    (planned,) = desk.json("prune", "prod", "--dry-run")["places"]
    assert sorted(planned["leftovers"]) == sorted([*left, half.name])
    (error,) = desk.json("prune", "prod", code=9)["errors"]
    assert (error["name"], error["where"]) == ("HB-DATA-DAMAGED", str(desk.root / "remote"))
    assert error["what"].startswith(f"{newest.name.split('.')[0]}, the newest here, does not come back whole: ")
    assert sorted(desk.remote.iterdir()) == before
    flip(newest)
    said = desk.call("prune", "prod").stdout
    assert [it for it in (*left, half.name) if f"{it} goes, for it is left of a run that was killed" not in said] == []
    assert sorted(it.name[:7] for it in desk.remote.glob("*0*")) == ["000002-"] * 3 + ["000003-"] * 3


def test_verify_during_a_push_says_not_finished_yet(desk: Desk) -> None:
    desk.backup(2)
    next(desk.remote.glob("000002*.manifest.asc")).unlink()  # it is written last, and then the ledger
    for ledger in desk.root.rglob("ledger.json"):
        ledger.unlink()
    done = desk.call("verify", "prod")
    assert (done.returncode, "is not finished yet" in done.stdout) == (0, True), done.stdout + done.stderr


def test_a_tree_that_a_killed_restore_decrypted_goes_with_the_next_command(desk: Desk, tmp_path: Path) -> None:
    desk.backup()
    state = {"XDG_STATE_HOME": str(tmp_path / "mine")}
    argv = [sys.executable, _DYING, "os.rename", "*/back", *PROGRAM, "restore", "prod", "vps1", "--to", "deep/back"]
    environment = {**os.environ, **state, "XDG_CACHE_HOME": str(desk.root / "cache")}
    killed = subprocess.run(argv, cwd=desk.root, env=environment, capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr
    (tree,) = (desk.root / "deep").glob(".hermes-restore-*")
    assert list(tree.rglob("SOUL.md"))
    desk.call("agent", "homes", **state)
    assert list((desk.root / "deep").iterdir()) == []
    assert list((tmp_path / "mine").rglob("*restore*")) == []
