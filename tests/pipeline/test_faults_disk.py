"""File systems that are full, out of inodes, or read-only: small tmpfs mounts, each gone after its test."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.ground import MEGABYTE, Ground, add_bulk, ground, needs_root
from tests.site import fill

__all__ = ["ground"]
pytestmark = needs_root


@contextlib.contextmanager
def mounted(at: Path, options: str) -> Iterator[None]:
    """Mount a tmpfs over a folder as long as the block lasts; what lies there already is copied into it."""
    at.mkdir(parents=True, exist_ok=True)
    aside = at.with_name(f"{at.name}-aside")
    subprocess.run(["cp", "-a", f"{at}/.", str(aside)], check=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", str(at)], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"cannot mount here: {done.stderr.decode().strip()}")
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", str(at)], check=True)
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


def remount(at: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(at)], check=True)


def use_up_inodes(folder: Path) -> list[Path]:
    """Make files until there are none to be made."""
    made: list[Path] = []
    with contextlib.suppress(OSError):
        for number in range(10_000):
            made.append(folder / f"filler-{number}")
            made[-1].touch()
    return made[:-1]


def test_no_room_in_the_state_folder_for_the_copy_of_a_database(ground: Ground) -> None:
    site = ground.site
    with mounted(site.root / "state", "size=8m"):
        assert site.run().exit_code == 0
        before = ground.lasting()
        fill(site.home / "kanban.db", 60_000)
        status = site.run()
        ground.check_failed(status, 5, "HB-DISK-FULL", "sqlite", before)
        assert status.error is not None
        assert str(site.folder) in status.error.where
        (site.home / "kanban.db").unlink()
        ground.check_next()


def test_a_state_folder_that_is_full_to_the_last_byte(ground: Ground) -> None:
    site = ground.site
    with mounted(site.root / "state", "size=2m"):
        assert site.run().exit_code == 0
        before = ground.lasting()
        filler = site.root / "state" / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        ended = ground.end(ground.start())
        assert ended.code == 5, ended
        assert "HB-DISK-FULL" in ended.out + ended.err
        assert "Traceback" not in ended.err
        assert ground.lasting() == before
        ground.check_clean()
        filler.unlink()
        ground.check_next()


def test_a_state_folder_without_inodes(ground: Ground) -> None:
    site = ground.site
    with mounted(site.root / "state", "size=8m,nr_inodes=80"):
        assert site.run().exit_code == 0
        before = ground.lasting()
        fillers = use_up_inodes(site.root / "state")
        ended = ground.end(ground.start())
        assert ended.code == 5, ended
        assert "HB-DISK-FULL" in ended.out + ended.err
        assert "Traceback" not in ended.err
        assert ground.lasting() == before
        ground.check_clean()
        for path in fillers:
            path.unlink()
        ground.check_next()


def test_a_state_folder_on_a_read_only_file_system(ground: Ground) -> None:
    site = ground.site
    with mounted(site.root / "state", "size=8m"):
        assert site.run().exit_code == 0
        before = ground.lasting()
        remount(site.root / "state", "ro")
        ended = ground.end(ground.start())
        assert (ended.code, "HB-STAGE-FAILED" in ended.err, "Read-only" in ended.err) == (5, True, True), ended
        assert ground.lasting() == before
        remount(site.root / "state", "rw")
        ground.check_next()


@pytest.mark.parametrize("also_remote", [False, True])
def test_no_room_in_the_store(ground: Ground, also_remote: bool) -> None:
    site = ground.site
    stages = site.usual(*([{"push": {"to": [str(site.remote)]}}] if also_remote else []))
    with mounted(site.store, "size=4m"):
        assert site.run(stages).exit_code == 0
        before = ground.lasting()
        add_bulk(site, 12)
        status = site.run(stages)
        assert status.error is not None
        assert str(site.store) in status.error.what
        if also_remote:
            # the remote has its copy, and says so; the store keeps what it had
            assert (status.exit_code, status.error.name) == (5, "HB-DISK-FULL")
            assert f"held by {site.remote}" in status.error.what
            assert status.places == (str(site.remote),)
            after = ground.lasting()
            new = after.keys() - before.keys()
            assert before.items() <= after.items()
            assert len(new) == 3
            assert all(it.startswith("remote/") for it in new)
            ground.check_clean()
            ground.check_whole(site.remote)
        else:
            ground.check_failed(status, 5, "HB-DISK-FULL", "store", before)
        for path in site.home.glob("bulk-*"):
            path.unlink()
        ground.check_next(stages)


def test_no_inodes_in_the_store(ground: Ground) -> None:
    site = ground.site
    with mounted(site.store, "size=8m,nr_inodes=60"):
        assert site.run().exit_code == 0
        before = ground.lasting()
        fillers = use_up_inodes(site.store)
        status = site.run()
        for path in fillers:
            path.unlink()
        ground.check_failed(status, 5, "HB-DISK-FULL", "store", before)
        ground.check_next()


def test_room_for_the_data_but_not_for_what_goes_with_it(ground: Ground) -> None:
    """The data is there already when the index finds no inode: it goes again."""
    site = ground.site
    with mounted(site.store, "size=8m,nr_inodes=60"):
        assert site.run().exit_code == 0
        before = ground.lasting()
        fillers = use_up_inodes(site.store)
        fillers.pop().unlink()
        status = site.run()
        for path in fillers:
            path.unlink()
        ground.check_failed(status, 5, "HB-DISK-FULL", "store", before)
        ground.check_next()


def test_a_store_that_became_read_only(ground: Ground) -> None:
    site = ground.site
    with mounted(site.store, "size=8m"):
        assert site.run().exit_code == 0
        before = ground.lasting()
        remount(site.store, "ro")
        status = site.run()
        ground.check_failed(status, 5, "HB-STAGE-FAILED", "store", before)
        assert status.error is not None
        assert "read-only" in status.error.what
        remount(site.store, "rw")
        ground.check_next()


def test_no_room_at_a_remote(ground: Ground) -> None:
    site = ground.site
    stages = site.usual({"push": {"to": [str(site.remote)], "attempts": 1}})
    with mounted(site.remote, "size=4m"):
        assert site.run(stages).exit_code == 0
        before = ground.lasting()
        add_bulk(site, 8)
        status = site.run(stages)
        assert status.error is not None
        assert (status.exit_code, status.error.name, status.stage) == (5, "HB-DISK-FULL", "store+push")
        assert "no room left" in status.error.what
        assert str(site.remote) in status.error.what
        assert status.places == (str(site.store),)
        after = ground.lasting()
        assert before.items() <= after.items()
        assert all(it.startswith("store/") for it in after.keys() - before.keys())
        ground.check_clean()
        for path in site.home.glob("bulk-*"):
            path.unlink()
        ground.check_next(stages)


def test_a_home_on_a_read_only_file_system_is_saved_all_the_same(ground: Ground) -> None:
    site = ground.site
    fill(site.home / "state.db", 50)
    with mounted(site.home, f"size={8 * MEGABYTE}"):
        remount(site.home, "ro")
        status = site.run()
        assert (status.state, status.exit_code, status.partial) == ("done", 0, ())
        ground.check_clean()
    ground.check_next()
