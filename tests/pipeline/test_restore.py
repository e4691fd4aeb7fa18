"""A restore brings everything back, or leaves the target alone."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.errors import Fault
from hermes_backup.pipeline.config import dump
from tests.pipeline.forge import Witness, bring_back, left_running, refused
from tests.site import Site, fill, messages_in

AS_ROOT = os.geteuid() == 0
HELD = b"it was here before\n"
NAMES = ["new\nline", "\udcff\udcfe", "-rf", "emoji 😀", "x" * 255, "$(touch hacked)", "a;b", "back\\slash"]


def described(root: Path) -> dict[str, tuple[Any, ...]]:
    """Everything that a restore must bring back of a tree."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in root.rglob("*"):
        info = path.lstat()
        content: object = None
        if path.is_symlink():
            content = path.readlink()
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        owner = (info.st_uid, info.st_gid) if AS_ROOT else None
        row = (oct(info.st_mode), owner, info.st_mtime_ns, content, attributes(path))
        found[str(path.relative_to(root))] = row
    return found


def attributes(path: Path) -> dict[str, bytes]:
    return {it: os.getxattr(path, it, follow_symlinks=False) for it in os.listxattr(path, follow_symlinks=False)}


def furnish(home: Path) -> None:
    """Put everything into a home that a file system can hold."""
    for number, name in enumerate(NAMES):
        path = home / name
        path.write_text(name, errors="surrogateescape")
        path.chmod((0o600, 0o640, 0o755, 0o444, 0 if AS_ROOT else 0o400)[number % 5])
    deep = home.joinpath("deep", *["d" * 60] * 12)
    deep.mkdir(parents=True)
    (deep / "leaf").write_text("far down")
    (home / "closed").mkdir()
    (home / "closed").chmod(0o500)
    (home / "dangling").symlink_to("nowhere/at/all")
    (home / "outward").symlink_to("/etc/hostname")
    os.link(home / "SOUL.md", home / "soul-again")
    with (home / "holes").open("wb") as file:
        file.seek(30_000_000)
        file.write(b"in the midst")
        file.truncate(60_000_000)
    (home / "before-1970").write_text("old")
    os.utime(home / "before-1970", ns=(-5_500_000_001, -5_500_000_001))
    os.utime(home / "empty", ns=(1_234_567_890_123_456_789, 1_234_567_890_123_456_789))
    os.utime(home / "dangling", ns=(1_111_111_111_111_111_111,) * 2, follow_symlinks=False)
    if AS_ROOT:
        for path in home.iterdir():
            os.chown(path, 1000, 1001, follow_symlinks=False)
        os.chown(home / "SOUL.md", 12345, 54321)
        os.chown(home / "state.db", 12345, 54321)
        os.chown(home / "empty", 3_000_000, 4_000_000_000)
        os.chown(home / "outward", 7, 7, follow_symlinks=False)


def mark(home: Path) -> bool:
    """Put attributes and ACLs on a home; tell whether this file system has them."""
    try:
        os.setxattr(home / "SOUL.md", "user.origin", bytes(range(256)))
        os.setxattr(home / "empty", "user.a=b", b"")
    except OSError:
        return False
    acl = ["setfacl", "-m", "u:4321:rwx", str(home / ".env")], ["setfacl", "-d", "-m", "u:4321:rx", str(home / "empty")]
    return all(subprocess.run(it, check=False).returncode == 0 for it in acl)


def test_everything_comes_back(site: Site) -> None:
    furnish(site.home)
    marked = mark(site.home)
    before = described(site.home)
    assert site.run().state == "done"
    follower = Witness()
    done = bring_back(site, follower=follower)
    after = described(done.target)
    state = after.pop("state.db")
    expected = before.pop("state.db")
    gone = {it for it in before if it.split("/")[0] == "logs"}
    assert {it: before[it] for it in before.keys() - gone} == after
    assert state[:2] == expected[:2], "mode and owner of a database's copy"
    assert (done.target / "soul-again").stat().st_ino == (done.target / "SOUL.md").stat().st_ino
    assert (done.target / "holes").stat().st_blocks < 100
    assert done.target.stat().st_mode & 0o777 == 0o700
    assert not AS_ROOT or (done.target.stat().st_uid, done.target.stat().st_gid) == (1000, 1001)
    assert not marked or os.getxattr(done.target / ".env", "system.posix_acl_access")
    assert messages_in(done.target / "state.db") == 200
    assert [(it.what, it.evidence) for it in done.report.findings] == [("state.db", "whole, 200 rows in 1 tables")]
    assert follower.stages == ["fetch", "decrypt", "extract", "check", "place"]
    assert follower.warnings == ["the link points outside the home: outward"]
    assert not list(site.root.glob(".hermes-restore-*"))


def test_a_database_with_an_odd_name_is_found_again(site: Site) -> None:
    fill(site.home / "odd\n name.db", 7)
    assert site.run().state == "done"
    done = bring_back(site)
    assert {it.evidence for it in done.report.findings} == {"whole, 200 rows in 1 tables", "whole, 7 rows in 1 tables"}


def seen(path: Path) -> tuple[int, ...]:
    status = path.lstat()
    return status.st_ino, status.st_mode, status.st_mtime_ns, status.st_size


@pytest.mark.parametrize("what", ["folder", "file", "dangling link", "link to an empty folder"])
def test_what_is_at_the_target_is_left_alone(site: Site, what: str) -> None:
    site.run()
    target = site.root / "back"
    elsewhere = site.root / "elsewhere"
    elsewhere.mkdir()
    if what == "folder":
        target.mkdir()
        (target / "mine").write_bytes(HELD)
    elif what == "file":
        target.write_bytes(HELD)
    else:
        target.symlink_to("elsewhere" if "empty" in what else "nowhere")
    before = seen(target)
    refused(site, "HB-TARGET-NOT-EMPTY", code=2)
    assert seen(target) == before
    assert list(elsewhere.iterdir()) == []
    assert what != "folder" or (target / "mine").read_bytes() == HELD


def test_an_empty_folder_and_a_missing_parent_will_do(site: Site) -> None:
    site.run()
    empty = site.root / "back"
    empty.mkdir(mode=0o755)
    assert (bring_back(site).target / "SOUL.md").exists()
    assert empty.stat().st_mode & 0o777 == 0o700
    assert (bring_back(site, target=site.root / "a" / "b" / "c").target / "SOUL.md").exists()


def test_what_comes_to_lie_at_the_target_meanwhile_is_left_alone(site: Site) -> None:
    site.run()

    class Intruder(Witness):
        def stage(self, name: str) -> None:
            if name == "place":
                (site.root / "back").mkdir()
                (site.root / "back" / "mine").write_bytes(HELD)

    with pytest.raises(Fault) as caught:
        bring_back(site, follower=Intruder())
    assert caught.value.kind.name == "HB-TARGET-NOT-EMPTY"
    assert [it.name for it in (site.root / "back").iterdir()] == ["mine"]


def test_latest_a_number_and_a_name(site: Site) -> None:
    stages = site.usual()
    for number in (1, 2, 3):
        (site.home / "SOUL.md").write_text(f"number {number}")
        site.run(stages)
    name = next(it for it in site.snapshots() if it.startswith("000001")).split(".")[0]
    for wanted, number in (("latest", 3), ("2", 2), ("000002", 2), (name, 1)):
        target = site.root / f"back-{wanted}"
        assert (bring_back(site, wanted, target=target).target / "SOUL.md").read_text() == f"number {number}"


def test_an_unknown_snapshot_names_the_nearest(site: Site) -> None:
    for _ in range(5):
        site.run()
    fault = refused(site, "HB-SNAPSHOT-MISSING", code=3, wanted="9")
    assert [f"00000{it}-" in fault.what for it in range(1, 6)] == [False, False, True, True, True]
    for wanted in ("000002-20200101T000000Z", "yesterday", "../../etc", "-1", "²"):
        refused(site, "HB-SNAPSHOT-MISSING", code=3, wanted=wanted)
    nowhere = [*site.usual()[:3], {"store": {"path": str(site.root / "nothing")}}]
    refused(site, "HB-SNAPSHOT-MISSING", code=3, match="none at all", stages=nowhere)


def test_two_snapshots_of_one_number_are_told_apart_by_their_names(site: Site) -> None:
    site.run()
    first = [it for it in site.snapshots() if it.startswith("000001")]
    folder = site.store / "vps1" / "nightly"
    kept = {it: (folder / it).read_bytes() for it in first}
    for it in first:
        (folder / it).unlink()
    (site.folder / "ledger.json").unlink()
    (site.home / "SOUL.md").write_text("another first")
    while site.run().snapshot in {it.split(".")[0] for it in first}:  # names have whole seconds
        for it in site.snapshots():
            (folder / it).unlink()
        (site.folder / "ledger.json").unlink()
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    with pytest.raises(Fault, match="several snapshots have the number 1"):
        bring_back(site, "1")
    assert (bring_back(site, first[0].split(".")[0]).target / "SOUL.md").read_text() == "I am the test.\n"
    assert (bring_back(site, target=site.root / "newest").target / "SOUL.md").read_text() == "another first"


@pytest.mark.parametrize("stage", ["fetch", "fetch+", "decrypt", "extract", "extract+", "check", "place"])
def test_a_signal_in_any_stage_leaves_nothing(site: Site, stage: str) -> None:
    (site.home / "bulk").write_bytes(os.urandom(3 << 20))
    site.run()
    (site.root / "pins").mkdir()
    (site.root / "config.json").write_text(dump(site.config(site.usual())))
    (site.root / "key.asc").write_text(site.status().public_key or "")
    before = sorted(site.root.iterdir())
    argv = [sys.executable, "-m", "tests.pipeline.standing", str(site.root / "config.json"), str(site.root / "key.asc")]
    with subprocess.Popen(
        [*argv, str(site.root / "back"), stage], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "here\n", run.communicate()
        run.send_signal(signal.SIGTERM)
        _, said = run.communicate(timeout=40)
    assert run.returncode == 130, said
    assert sorted(site.root.iterdir()) == before
    assert left_running(site.root) == []


def test_what_a_killed_restore_left_goes_with_the_next_one_and_what_lives_stays(site: Site) -> None:
    site.run()
    (site.root / "pins").mkdir()
    (site.root / "config.json").write_text(dump(site.config(site.usual())))
    (site.root / "key.asc").write_text(site.status().public_key or "")
    argv = [sys.executable, "-m", "tests.pipeline.standing", str(site.root / "config.json"), str(site.root / "key.asc")]
    runs = [
        subprocess.Popen([*argv, str(site.root / name), "check"], stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == "here\n"
    assert len(list(site.root.glob(".hermes-restore-*"))) == 2
    runs[0].kill()
    runs[0].communicate()
    assert len(list(site.root.glob(".hermes-restore-*"))) == 2
    bring_back(site)
    assert len(list(site.root.glob(".hermes-restore-*"))) == 1
    runs[1].terminate()
    runs[1].communicate(timeout=40)
    assert list(site.root.glob(".hermes-restore-*")) == []


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own with so much room."""
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not AS_ROOT or subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(("size", "bulk"), [("256k", os.urandom(1 << 20)), ("2m", bytes(range(256)) * (8 << 12))])
def test_a_full_disk_leaves_nothing(site: Site, size: str, bulk: bytes) -> None:
    (site.home / "bulk").write_bytes(bulk)
    site.run()
    with small_disk(site.root / "small", size) as disk:
        with pytest.raises(Fault) as caught:
            bring_back(site, target=disk / "back")
        assert (caught.value.kind.name, int(caught.value.kind.exit_code)) == ("HB-DISK-FULL", 5)
        assert list(disk.iterdir()) == []
