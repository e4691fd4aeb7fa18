"""What a killed restore left half done, and what somebody else did since: nothing is put where it does not belong."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermes_backup.home import swapping
from hermes_backup.pipeline.replacing import NOTE
from hermes_backup.pipeline.swaps import Note, Swap, settle
from tests.pipeline.forge import Witness
from tests.pipeline.ground import needs_root
from tests.pipeline.handing import sent, spoil
from tests.site import Site, fill, messages_in

_WRITING = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.executemany("INSERT INTO messages (content) VALUES (?)", [("in the log " * 20,)] * 100)
database.commit()
os._exit(0)
"""  # as a killed process ends: the log stays


def write_and_die(path: Path) -> None:
    subprocess.run([sys.executable, "-c", _WRITING, path], check=True)
    assert Path(f"{path}-wal").stat().st_size


def begun(folder: Path) -> Swap:
    """A database with a log beside it, and another that is to take its place; the note of it is written."""
    place = folder / "place"
    place.mkdir()
    target, aside = place / "state.db", place / "state.db.before"
    one = Swap(folder / "new.db", target, aside, target, aside)
    fill(one.new, 7)
    fill(one.target, 200)
    write_and_die(one.target)
    Note.of([one], [], [], start=True).write(folder / NOTE)
    return one


def put_logs_aside(one: Swap, *sides: str) -> None:
    """Do the first step of an exchange, and no other."""
    for side in sides or ("-wal", "-shm"):
        one.target.with_name(f"state.db{side}").rename(one.aside.with_name(f"state.db.before{side}"))


def by_hand(place: Path, rows: int = 50) -> None:
    """An operator puts another database there."""
    hand = place.with_name("hand.db")
    fill(hand, rows)
    hand.replace(place)


@pytest.mark.parametrize("applied", [True, False])
def test_no_log_is_put_beside_a_database_that_somebody_put_there_since(tmp_path: Path, applied: bool) -> None:
    one = begun(tmp_path)
    if applied:
        one.apply()
    else:
        put_logs_aside(one)
    by_hand(one.target)
    (told,) = settle(tmp_path / NOTE)
    assert str(one.target) in told
    assert str(one.aside) in told
    assert messages_in(one.target) == 50
    assert one.aside.with_name("state.db.before-wal").stat().st_size
    assert settle(tmp_path / NOTE) == ()


def test_nor_beside_the_old_one_where_it_was_written_to_since(tmp_path: Path) -> None:
    one = begun(tmp_path)
    put_logs_aside(one)
    fill(one.target, 30)  # as a service does that starts at boot
    (told,) = settle(tmp_path / NOTE)
    assert f"stays where it is: {one.aside}-wal" in told
    assert messages_in(one.target) == 230


@pytest.mark.parametrize("moved", [("-wal",), ("-wal", "-shm")])
def test_the_old_one_gets_its_log_back(tmp_path: Path, moved: tuple[str, ...]) -> None:
    one = begun(tmp_path)
    put_logs_aside(one, *moved)
    (told,) = settle(tmp_path / NOTE)
    assert "put back what lay beside" in told
    assert messages_in(one.target) == 300
    assert not list(tmp_path.glob("place/*.before*"))


def test_what_was_to_be_put_there_stays_where_the_old_one_is_another(tmp_path: Path) -> None:
    one = begun(tmp_path)
    one.apply()
    one.target.rename(tmp_path / "kept.db")
    one.aside.rename(one.target)
    (tmp_path / "kept.db").rename(one.aside)  # old and new have changed places again, as midway
    by_hand(one.target)
    (told,) = settle(tmp_path / NOTE)
    assert str(one.aside) in told
    assert (one.target.exists(), one.aside.exists(), messages_in(one.target)) == (True, True, 50)


def test_a_home_that_somebody_put_there_since_is_told_with_the_old_one(site: Site) -> None:
    site.run()
    spoil(site)
    aside = site.root / "home.before"
    new = site.root / "new"
    shutil.copytree(site.home, new, symlinks=True)
    one = Swap(new, site.home, aside, site.home, aside)
    Note.of([one], [], ["logs"], start=True).write(site.root / "state" / "vps1" / NOTE)
    one.apply()
    site.home.rename(site.root / "gone")
    shutil.copytree(aside, site.home, symlinks=True, ignore=shutil.ignore_patterns("logs"))
    _, witness = sent(site, ["SOUL.md"]).put(Witness())
    (told,) = witness.warnings
    assert told.startswith(f"{site.home} is neither")
    assert told.endswith(f"look at it and at {aside}")
    assert (aside / "logs" / "agent.log").exists()


@pytest.mark.parametrize("link", [False, True])
def test_killed_on_its_way_back_it_loses_nothing_that_was_carried_over(tmp_path: Path, link: bool) -> None:
    one = Swap(*(tmp_path / it for it in ("new", "home", "home.before", "home", "home.before")))
    for folder in (one.new / "cache", one.target / "cache" / "tmp"):
        folder.mkdir(parents=True)
    Note.of([one], [], ["cache/tmp"], start=True).write(tmp_path / NOTE)
    one.apply()
    (one.aside / "cache" / "tmp").rename(one.target / "cache" / "tmp")
    if link:
        (one.target / "cache").rename(one.target / "moved")
        (one.target / "cache").symlink_to("moved")
    one.undo(keep=True)
    told = settle(tmp_path / NOTE)
    assert (one.target / "cache" / "tmp").is_dir() != link
    assert (one.aside / "moved" / "tmp").is_dir() == link
    assert one.aside.exists() == link
    assert any(f"{one.aside} is what a restore that was killed was to put" in it for it in told) == link


def test_the_way_back_where_a_file_system_cannot_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = swapping._rename

    def cannot(old: Path, new: Path, flags: int) -> None:  # what NFS answers
        if flags:
            raise OSError(errno.EINVAL, "Invalid argument")
        real(old, new, flags)

    monkeypatch.setattr(swapping, "_rename", cannot)
    one = begun(tmp_path)
    one.apply()
    one.undo(keep=True)
    assert (messages_in(one.target), messages_in(one.aside)) == (300, 7)


def test_killed_at_any_step_one_database_keeps_its_log_or_is_the_new_one(site: Site) -> None:
    site.run()
    live, kept = site.home / "state.db", site.root / "kept"
    fill(live, 50)
    write_and_die(live)
    kept.mkdir()
    for it in site.home.glob("state.db*"):
        shutil.copy2(it, kept)
    database, other = sent(site, ["state.db"]), sent(site, ["SOUL.md"])
    seen = []
    for step in range(1, 200):
        done = database.run(step)
        other.put()
        seen.append(messages_in(live))
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        for it in site.home.glob("state.db*"):
            it.unlink()
        for it in kept.iterdir():
            shutil.copy2(it, site.home)
    assert sorted(set(seen)) == [200, 350]
    assert seen == sorted(seen, reverse=True)  # the old one with its log, and from some step on the new one


@contextmanager
def _mounted(image: Path, folder: Path) -> Iterator[int]:
    """Mount a file system that lies in a file; give the number that its device has this time."""
    folder.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, check=False).returncode:
        pytest.skip("no loop devices here")
    try:
        yield folder.stat().st_dev
    finally:
        subprocess.run(["umount", folder], check=True)


@needs_root
def test_after_a_restart_that_gave_the_device_another_number(tmp_path: Path) -> None:
    images = [tmp_path / name for name in ("one.img", "two.img")]
    for it in images:
        with it.open("wb") as file:
            file.truncate(16 << 20)
        subprocess.run(["mkfs.ext4", "-q", it], check=True)
    folder, note = tmp_path / "mounted", tmp_path / NOTE
    with _mounted(images[0], folder) as before:
        one = Swap(*(folder / it for it in ("new", "home", "home.before", "home", "home.before")))
        for made in (one.new, one.target, one.target / "logs"):
            made.mkdir()
        Note.of([one], [], ["logs"], start=True).write(note)
        one.apply()
    with _mounted(images[1], tmp_path / "other"), _mounted(images[0], folder) as after:
        assert before != after
        told = settle(note)
        assert f"{one.target} is the new one already, put there by a restore that was killed" in told
        assert (os.listdir(one.target), os.listdir(one.aside)) == (["logs"], [])
