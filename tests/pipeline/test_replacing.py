"""A home brought back in place: exchanged whole or not at all, whatever ends the process."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_backup.errors import Fault
from hermes_backup.home import swapping
from hermes_backup.pipeline.replacing import NOTE
from hermes_backup.pipeline.swaps import Note, Swap, settle
from tests.pipeline.handing import Sent, asides, held_open, picture, sent, spoil
from tests.site import Site, fill, messages_in


def test_everything_is_as_it_was_and_the_old_home_lies_beside_it(site: Site) -> None:
    site.run()
    before = picture(site.home)
    spoil(site)
    (site.home / "state.db-wal").write_bytes(b"a log that belongs to another database")
    spoilt = picture(site.home)
    done, _ = sent(site).put()
    assert picture(site.home) == before
    assert not (site.home / "state.db-wal").exists()
    (aside,) = asides(site)
    assert picture(aside) == spoilt
    assert done.aside == (str(aside),)
    assert (aside / "state.db-wal").exists()
    assert stat.S_IMODE(site.home.stat().st_mode) == 0o700
    assert not [it for it in site.root.iterdir() if it.name.startswith(".hermes-restore")]


def test_what_no_backup_holds_is_carried_over(site: Site) -> None:
    for name in ("hermes-agent/.venv/bin", "profiles/research/logs", "models"):
        (site.home / name).mkdir(parents=True)
    (site.home / "hermes-agent" / ".venv" / "bin" / "hermes").write_text("#!/bin/sh\n")
    (site.home / "profiles" / "research" / "SOUL.md").write_text("I research.\n")
    (site.home / "profiles" / "research" / "logs" / "a.log").write_text("line\n")
    no_text = os.fsdecode(b"caf\xe9.pyc")
    (site.home / no_text).write_text("a name that is no text")
    site.run()
    (site.home / "gateway.pid").write_text("1")
    spoil(site)
    sent(site).put()
    assert (site.home / "hermes-agent" / ".venv" / "bin" / "hermes").exists()
    assert (site.home / "profiles" / "research" / "logs" / "a.log").read_text() == "line\n"
    assert (site.home / "logs" / "agent.log").exists()
    assert (site.home / "models").is_dir()
    assert (site.home / no_text).exists()
    (aside,) = asides(site)
    assert (aside / "gateway.pid").exists()
    assert not (aside / "hermes-agent").exists()


def test_a_database_gets_its_own_log_back_where_a_later_step_fails(site: Site) -> None:
    old, new, aside = (site.root / name for name in ("old.db", "new.db", "aside.db"))
    for path, rows in ((old, 600), (new, 70)):
        fill(path, rows)
    writing = (
        'import sqlite3, sys, os\nd = sqlite3.connect(sys.argv[1])\nd.execute("INSERT INTO messages (content) '
        "VALUES ('in the log')\")\nd.commit()\nos._exit(0)"
    )  # as a killed process ends: the log stays

    def write() -> None:
        subprocess.run([sys.executable, "-c", writing, old], check=True)
        assert Path(f"{old}-wal").stat().st_size

    write()
    one = Swap(new, old, aside, old, aside)
    one.apply()
    write()
    one.undo()
    assert messages_in(old) == 601


@pytest.mark.parametrize("there", [True, False])
def test_where_a_file_system_cannot_exchange(site: Site, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    real = swapping._rename

    def cannot(old: Path, new: Path, flags: int) -> None:  # what NFS answers
        if flags:
            raise OSError(errno.EINVAL, "Invalid argument")
        real(old, new, flags)

    site.run()
    before = picture(site.home)
    spoil(site)
    spoilt = picture(site.home)
    if not there:
        subprocess.run(["rm", "-rf", site.home], check=True)
    monkeypatch.setattr(swapping, "_rename", cannot)
    sent(site).put()
    assert picture(site.home) == before
    assert [picture(it) for it in asides(site)] == ([spoilt] if there else [])


def test_somebody_s_mount_below_the_home(site: Site) -> None:
    site.run()
    sending = sent(site)
    subprocess.run(["mount", "-t", "tmpfs", "none", site.home / "memories"], check=True)
    try:
        with pytest.raises(Fault, match=r"memories is a mount point") as caught:
            sending.put()
    finally:
        subprocess.run(["umount", site.home / "memories"], check=True)
    assert caught.value.kind.name == "HB-HOME-MOUNTED"


def test_a_home_that_is_gone_comes_back(site: Site) -> None:
    site.run()
    before = picture(site.home)
    subprocess.run(["rm", "-rf", site.home], check=True)
    done, _ = sent(site).put()
    assert picture(site.home) == before
    assert (done.aside, asides(site)) == ((), [])


def test_who_has_the_home_open_is_named_and_nothing_is_changed(site: Site) -> None:
    site.run()
    spoil(site)
    spoilt = picture(site.home)
    with (
        held_open(site.home / "state.db") as holder,
        pytest.raises(Fault, match=rf"sleep \({holder}\) has .*state\.db open") as caught,
    ):
        sent(site).put()
    assert (caught.value.kind.name, caught.value.kind.exit_code) == ("HB-HOME-HELD", 5)
    assert (picture(site.home), asides(site)) == (spoilt, [])
    sent(site).put()
    assert picture(site.home) != spoilt


@pytest.mark.parametrize("keep", [0.5, 0.999])
def test_a_pipe_that_breaks_changes_nothing(site: Site, keep: float) -> None:
    site.run()
    spoil(site)
    spoilt = picture(site.home)
    whole = sent(site).data
    with pytest.raises(Fault) as caught:
        Sent(whole[: int(len(whole) * keep)]).put()
    assert caught.value.kind.name == "HB-DATA-DAMAGED"
    assert (picture(site.home), asides(site)) == (spoilt, [])


def test_a_home_that_is_a_mount_point(site: Site) -> None:
    site.run()
    sending = sent(site)
    subprocess.run(["mount", "--bind", site.home, site.home], check=True)
    try:
        with pytest.raises(Fault) as caught:
            sending.put()
    finally:
        subprocess.run(["umount", site.home], check=True)
    assert caught.value.kind.name == "HB-HOME-MOUNTED"


def test_another_user_gets_what_was_the_owner_s(site: Site) -> None:
    site.run()
    os.chown(site.home, 4711, 4712)
    sent(site).put()
    came = [it for it in site.home.rglob("*") if "logs" not in it.parts]  # those were the old home's
    found = {(it.lstat().st_uid, it.lstat().st_gid) for it in [site.home, *came]}
    assert found == {(4711, 4712)}


def test_while_a_backup_runs_nothing_is_exchanged(site: Site) -> None:
    site.run()
    sending = sent(site)
    slow = site.start([{"command": {"before": ["sleep", "60"]}}, *site.usual()])
    try:
        while not (site.folder / "lock").exists() or site.status().stage != "command":
            assert slow.poll() is None, slow.stderr and slow.stderr.read()
        with pytest.raises(Fault) as caught:
            sending.put()
    finally:
        slow.terminate()
        slow.communicate()
    assert caught.value.kind.name == "HB-LOCKED"


def test_killed_at_any_step_it_leaves_the_old_home_or_the_new_one_and_a_second_run_ends_well(site: Site) -> None:
    site.run()
    new = picture(site.home)
    spoil(site)
    old = picture(site.home)
    sending = sent(site)
    seen = set()
    warned = ""
    for step in range(1, 200):
        done = sending.run(step)
        now = picture(site.home)
        assert now in (old, new), f"step {step}"
        seen.add("new" if now == new else "old")
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        again = sending.run(0)
        assert again.returncode == 0, again.stdout + again.stderr
        assert picture(site.home) == new
        assert (site.home / "logs" / "agent.log").exists()
        warned += again.stdout.decode()
        assert not (site.root / "state" / "vps1" / NOTE).exists()
        assert not [it for it in site.root.iterdir() if it.name.startswith(".hermes-restore")]
        assert all(picture(it) in (old, new) for it in asides(site))
        subprocess.run(["rm", "-rf", site.home], check=True)
        for it in asides(site)[1:]:
            subprocess.run(["rm", "-rf", it], check=True)
        kept = next(it for it in asides(site) if picture(it) == old)
        kept.rename(site.home)
        (site.home / "logs").mkdir(exist_ok=True)
        (site.home / "logs" / "agent.log").write_text("what no backup holds\n")
    else:
        raise AssertionError("it never ended")
    assert seen == {"old", "new"}
    assert "carried over what no backup holds (1)" in warned
    assert json.loads(done.stdout.splitlines()[-1])["replaced"]["home"] == str(site.home)


def test_what_a_killed_restore_cannot_carry_over_any_more_is_named(site: Site) -> None:
    one = Swap(*(site.root / it for it in ("new", "target", "aside", "target", "aside")))
    for folder, names in ((one.new, ["logs"]), (one.target, ["logs", "models", os.fsdecode(b"caf\xe9")])):
        for name in names:
            (folder / name).mkdir(parents=True)
    note = site.root / NOTE
    Note.of([one], [], ["logs", "models", os.fsdecode(b"caf\xe9"), "gone"], start=True).write(note)
    one.apply()
    told = settle(note)
    assert sorted(os.listdir(os.fsencode(one.target))) == [b"caf\xe9", b"logs", b"models"]
    assert f"{one.aside}/logs, which no backup holds, could not be carried over: File exists" in told
    assert f"carried over what no backup holds (2), which a killed restore had left in {one.aside}" in told
    assert settle(note) == ()


def test_what_would_change_is_told_and_nothing_is_changed(site: Site) -> None:
    site.run()
    spoil(site)
    before = picture(site.home)
    seen = sent(site, purpose="compare").compared()
    assert (seen.added, seen.removed) == (("memories/MEMORY.md",), ("skills/new.md",))
    assert set(seen.changed) == {"SOUL.md", "state.db"}
    assert [(it.database, it.table, it.live, it.then) for it in seen.rows] == [("state.db", "messages", 150, 200)]
    assert picture(site.home) == before


@pytest.mark.parametrize(
    "spoiling", [lambda data: data[:4], lambda data: b"\0" * 8 + data, lambda data: data[:8] + b"x" + data[9:]]
)
def test_what_is_no_handover_is_refused(site: Site, spoiling: Callable[[bytes], bytes]) -> None:
    site.run()
    with pytest.raises(Fault) as caught:
        Sent(spoiling(sent(site).data)).put()
    assert caught.value.kind.name == "HB-DATA-DAMAGED"
