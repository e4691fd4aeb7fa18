"""``restore --in-place`` and ``--onto``: through the program itself, on this machine and over SSH."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.fleet.ground import LOCAL, Done, Ground
from tests.fleet.machine import Machine
from tests.home.full_text import CARRYING, hits, make
from tests.site import messages_in

AGENT = Path(sys.executable).parent / "hermes-backup"


@pytest.fixture
def saved(ground: Ground) -> Ground:
    """A home that was backed up and spoilt since."""
    ground.settings(f"hermes_backup_gnupghome: {ground.recipient.gnupghome}")
    ground.back_up()
    spoil(ground)
    return ground


def spoil(ground: Ground) -> None:
    (ground.root / "home" / "SOUL.md").write_text("I am another.\n")
    (ground.root / "home" / "memories" / "MEMORY.md").unlink()
    (ground.root / "home" / "new.md").write_text("new")


def soul(ground: Ground) -> str:
    return (ground.root / "home" / "SOUL.md").read_text()


def restore(ground: Ground, *words: str) -> Done:
    return ground.call("restore", "./prod", "vps1", *words)


def test_in_place_on_this_machine(saved: Ground) -> None:
    would = restore(saved, "--in-place", "--dry-run")
    assert would.code == 0, would.err
    for said in ("add 1:\n    memories/MEMORY.md", "change 1:\n    SOUL.md", "remove 1:\n    new.md"):
        assert said in would.out
    assert soul(saved) == "I am another.\n"
    done = restore(saved, "--in-place")
    assert done.code == 0, done.err
    assert soul(saved) == "I am the test.\n"
    (aside,) = saved.root.glob("home.before-*")
    assert (aside / "new.md").exists()
    assert f"what was there before: {aside}" in done.out
    assert "state.db: whole, 200 rows in 1 tables" in done.out


def test_some_files_and_a_snapshot_by_its_number(saved: Ground) -> None:
    saved.back_up()
    done = restore(saved, "1", "--in-place", "--path", "SOUL.md", "--json")
    assert (done.code, soul(saved)) == (0, "I am the test.\n")
    assert done.data["snapshot"].startswith("000001-")
    assert [Path(it).read_text() for it in done.data["aside"]] == ["I am another.\n"]
    assert (saved.root / "home" / "new.md").exists()


def test_some_files_are_not_told_as_the_whole_home_and_what_was_partial_is(saved: Ground) -> None:
    (saved.root / "home" / "kanban.db").touch()
    assert saved.call("run", "./prod").code == 4
    home, said = saved.root / "home", "partial since the backup: kanban.db: the database has no bytes"
    would = restore(saved, "--in-place", "--path", "SOUL.md", "--path", "kanban.db", "--dry-run")
    assert would.code == 0, would.err
    done = restore(saved, "--in-place", "--path", "SOUL.md", "--path", "kanban.db")
    assert done.code == 0, done.err
    for out, how in ((would.out, "restoring"), (done.out, "restored")):
        words = " ".join(out.split())
        assert f"{how} SOUL.md, kanban.db of 000002-" in words
        assert f" on vps1 in {home}" in words
        assert "in place of" not in words
        assert said in words


@pytest.mark.parametrize("where", [("--in-place",), ("--in-place", "--dry-run"), ("--to", "back")])
def test_a_path_that_is_no_text_is_refused_by_its_name(saved: Ground, where: tuple[str, ...]) -> None:
    done = restore(saved, *where, "--path", os.fsdecode(b"caf\xe9"))
    assert (done.code, soul(saved)) == (2, "I am another.\n")
    assert "--path caf\\xe9 is no UTF-8 text" in " ".join(done.err.replace("│", "").split())
    assert not (saved.root / "back").exists()


@pytest.mark.parametrize("where", [("--in-place",), ("--onto", "vps2")])
def test_indexes_are_made_again_where_the_home_comes_to_or_left_to_hermes(
    saved: Ground, where: tuple[str, ...]
) -> None:
    saved.write("hosts.yml", f"all:\n  vars: {{{LOCAL}}}\n  hosts: {{vps1: {{}}, vps2: {{}}}}\n")
    saved.write("host_vars/vps2.yml", f"hermes_backup_home: {saved.root}/second\n")
    database = saved.root / "home" / "state.db"
    database.unlink()
    make(database, CARRYING)
    found = hits(database, "lighthouse")
    saved.back_up("vps1")
    back = database if where == ("--in-place",) else saved.root / "second" / "state.db"
    made = restore(saved, *where)
    assert (made.code, hits(back, "lighthouse")) == (0, found), made.err
    left = restore(saved, *where, "--leave-indexes-to-hermes")
    assert left.code == 0, left.err
    with pytest.raises(sqlite3.OperationalError, match="no such table: fts"):
        hits(back, "lighthouse")
    assert messages_in(back) == 4


def test_over_ssh(saved: Ground, machine: Machine) -> None:
    saved.write("hosts.yml", "all:\n  hosts:\n    vps1: {}\n")
    settings = machine.variables() + f"ansible_python_interpreter: {sys.executable}\nhermes_backup_agent: {AGENT}\n"
    saved.write("host_vars/vps1.yml", settings)
    would = restore(saved, "--in-place", "--dry-run", "--json")
    assert (would.code, would.data["changed"]) == (0, ["SOUL.md"]), would.out + would.err
    done = restore(saved, "--in-place", "--json")
    assert (done.code, soul(saved)) == (0, "I am the test.\n"), done.out + done.err
    assert done.data["files"] == 5


def test_onto_another_host_warns_of_tokens_and_of_paths_that_are_not_there(saved: Ground) -> None:
    saved.write("hosts.yml", f"all:\n  vars: {{{LOCAL}}}\n  hosts: {{vps1: {{}}, vps2: {{}}}}\n")
    saved.write("host_vars/vps2.yml", f"hermes_backup_home: {saved.root}/second\n")
    (saved.root / "home" / "cron").mkdir()
    (saved.root / "home" / "cron" / "jobs.json").write_text('[{"workdir": "/home/old/work", "name": "/not/a/place"}]')
    saved.back_up("vps1")
    done = restore(saved, "--onto", "vps2")
    assert done.code == 0, done.err
    assert (saved.root / "second" / "SOUL.md").read_text() == "I am another.\n"
    assert "the state names a path that is not on vps2: /home/old/work" in done.out
    assert "/not/a/place" not in done.out
    assert "Two agents with one token fight" in done.out
    assert "\n  .env\n" in done.out


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        ((), 2, ""),
        (("--to", "x", "--in-place"), 2, ""),
        (("--to", "x", "--dry-run"), 2, ""),
        (("--onto", "vps9"), 3, "HB-HOST-MISSING"),
        (("--in-place", "--path", "nothing.md"), 3, "HB-PATH-MISSING"),
        (("1999-01-01", "--in-place"), 3, "HB-SNAPSHOT-MISSING"),
    ],
)
def test_what_cannot_be_restored_changes_nothing(saved: Ground, words: tuple[str, ...], code: int, name: str) -> None:
    done = restore(saved, *words)
    assert (done.code, name in done.err) == (code, True)
    assert soul(saved) == "I am another.\n"
    assert not list(saved.root.glob("home.before-*"))


def test_an_agent_that_is_not_there(saved: Ground) -> None:
    saved.settings(
        f"hermes_backup_gnupghome: {saved.recipient.gnupghome}", f"hermes_backup_agent: {saved.root}/nothing"
    )
    done = restore(saved, "--in-place")
    assert (done.code, soul(saved)) == (6, "I am another.\n")
    assert "[HB-AGENT-MISSING]" in done.err


def test_without_the_private_key_nothing_reaches_the_host(saved: Ground, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o700)
    saved.settings(f"hermes_backup_gnupghome: {tmp_path}/empty")
    done = restore(saved, "--in-place")
    assert (done.code, soul(saved)) == (8, "I am another.\n")
    assert not list(saved.root.glob("home.before-*"))
