"""A home's user reaches for what root makes: rooms that it unpacks in, pipes that it waits at, holes that it copies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from hermes_backup.errors import Fault
from hermes_backup.pipeline.choosing import choose
from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.pipeline.mounting import shown
from hermes_backup.pipeline.roaming.attaching import Wanted, attach
from hermes_backup.pipeline.unpacking import Source
from tests.coming import Cloud, cloud, settled, signing
from tests.pipeline.forge import Witness, bring_back, pinned
from tests.pipeline.handing import sent
from tests.pipeline.test_links import AGENT, Agents, agents, give, rootonly

__all__ = ["agents", "cloud", "rootonly", "signing"]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may write where its user may not")
_OWN = "root's own"
_TAKES_ROOMS = """
import os, sys
user, group, target, image = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "image"
os.setgroups([]); os.setgid(group); os.setuid(user)
print("begun", flush=True)
taken = set()
while True:
    for name in os.listdir("."):
        if not name.startswith(".hermes-restore-") or name in taken or os.lstat(name).st_uid == user:
            continue
        try:
            os.rename(name, "x" + name)
            os.mkdir(name, 0o777)
        except OSError:
            continue
        taken.add(name)
        print("taken", flush=True)
        if image:
            os.symlink(target, name + "/image.sqsh")
    for name in () if image else taken:
        try:
            os.rename(name + "/tree", name + "/moved")
            os.symlink(target, name + "/tree")
        except OSError:
            pass
"""


@contextmanager
def taking_rooms(folder: Path, target: Path, what: str) -> Iterator[list[str]]:
    """Let the agent's user put folders of its own in the place of root's rooms; at the end tell how many."""
    argv = [sys.executable, "-c", _TAKES_ROOMS, str(AGENT.pw_uid), str(AGENT.pw_gid), str(target), what]
    taken: list[str] = []
    process = subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "begun\n"
        yield taken
    finally:
        process.send_signal(signal.SIGKILL)
        taken += process.communicate()[0].split()


@pytest.mark.parametrize("form", ["tar", "squashfs"])
def test_a_home_is_unpacked_in_a_room_that_stays_roots(cloud: Cloud, rootonly: Path, form: str) -> None:
    cloud.archive = {"format": form}
    settled(cloud)
    own = rootonly / "empty" / "SOUL.md"
    own.write_text(_OWN)
    taken: list[str] = []
    for _ in range(8):
        machine = cloud.machine()
        around = machine.folder / "agent"
        (around / "home").mkdir(parents=True)
        give(around)
        config = machine.config(owner="nobody", home=str(around / "home"))
        target, what = (own, "image") if form == "squashfs" else (own.parent, "tree")
        with taking_rooms(around / "home", target, what) as now, suppress(Fault, OSError):
            attach(config, "snapshot", Wanted(way="unpack", lease=0.1), machine.heard)
        taken += now
        assert own.read_text() == _OWN
        assert os.listdir(own.parent) == ["SOUL.md"]
    assert taken


def test_nothing_is_restored_or_shown_where_others_may_take_the_room(agents: Agents, tmp_path: Path) -> None:
    assert agents.run(owner="nobody").exit_code == 0
    with pytest.raises(Fault) as refused:
        bring_back(agents, target=agents.around / "back")
    assert refused.value.kind.name == "HB-FOLDER-EXPOSED"
    assert "nobody" in refused.value.what
    assert not (agents.around / "back").exists()
    config = agents.config(agents.usual())
    pipeline, follower = pipeline_of(config, "nightly"), Witness()
    with pinned(agents, "") as pin:
        source = Source(config, pipeline, choose(config, pipeline, "latest", "", pin, follower), pin)
        with pytest.raises(Fault) as refused, shown(source, agents.around / "look", tmp_path / "records", follower):
            pass
    assert refused.value.kind.name == "HB-FOLDER-EXPOSED"
    assert not (agents.around / "look").exists()


@pytest.mark.parametrize("side", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_pipe_beside_a_database_hangs_nobody(agents: Agents, mode: str, side: str) -> None:
    path = agents.home / "x.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE t (a)")
    give(agents.home)
    assert agents.run(owner="nobody").exit_code == 0
    handed = sent(agents, owner="nobody")
    os.mkfifo(agents.home / f"x.db{side}")
    give(agents.home)
    for what in (lambda: agents.run(owner="nobody"), handed.compared):
        child = multiprocessing.get_context("fork").Process(target=what)
        child.start()
        child.join(120)
        hung = child.is_alive()
        child.kill()
        child.join()
        assert not hung
    status = agents.run(owner="nobody")
    assert status.exit_code in (0, 4)
    assert {it.path.partition("-")[0] for it in status.partial} <= {"x.db"}


def test_holes_of_a_database_take_no_room(agents: Agents) -> None:
    path = agents.home / "x.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("CREATE TABLE t (a)")
    os.truncate(path, 3 << 30)
    give(agents.home)
    most = 0
    process = agents.start(owner="nobody")
    while process.poll() is None:
        most = max(most, taken_by(agents.root) - taken_by(agents.around))
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    process.communicate()
    assert agents.status().exit_code in (0, 4)
    assert most < 256 << 20


def taken_by(folder: Path) -> int:
    """Bytes on the disk of all that lies in a folder; what goes meanwhile takes none."""
    told = subprocess.run(["du", "--summarize", "--block-size=1", folder], capture_output=True, text=True)
    return int(told.stdout.split()[0])
