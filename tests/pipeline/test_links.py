"""A home's user puts links in the place of folders: before a run, during it, before a restore, before the home comes.

Root must neither read nor change what only root may, and no snapshot may be one that nobody can restore.
"""

from __future__ import annotations

import os
import pwd
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from hermes_backup.errors import Fault
from hermes_backup.home.mounts import mounted_at
from hermes_backup.pipeline.roaming.attaching import Wanted, attach
from tests.coming import Cloud, begun, cloud, left, signing
from tests.keys import Recipient
from tests.pipeline.forge import bring_back
from tests.pipeline.ground import Ground, ground
from tests.pipeline.handing import sent
from tests.site import Site, fill, make_home

__all__ = ["begun", "cloud", "ground", "left", "signing"]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may read what its user may not")
AGENT = pwd.getpwnam("nobody")
SECRET = "only root may read this: 4417"
_SWAP = """
import ctypes, os, signal, sys
user, group, *pairs = sys.argv[1:]
os.setgroups([])
os.setgid(int(group))
os.setuid(int(user))
libc = ctypes.CDLL(None, use_errno=True)
names = [tuple(os.fsencode(name) for name in pair.split(":")) for pair in pairs]
swaps = 0
def end(*_):
    print(swaps, flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
print("begun", flush=True)
while True:
    for one, other in names:
        if libc.renameat2(-100, one, -100, other, 2) != 0 and ctypes.get_errno() != 16:  # EBUSY: it is mounted
            sys.exit(os.strerror(ctypes.get_errno()))
    swaps += 1
"""


def give(tree: Path) -> None:
    """Give a tree to the agent's user."""
    for path in (tree, *tree.rglob("*")):
        os.chown(path, AGENT.pw_uid, AGENT.pw_gid, follow_symlinks=False)


@contextmanager
def swapping(folder: Path, *pairs: str) -> Iterator[list[int]]:
    """Let the agent's user exchange pairs of entries as quickly as it can; at the end tell how often it did."""
    argv = [sys.executable, "-c", _SWAP, str(AGENT.pw_uid), str(AGENT.pw_gid), *pairs]
    swaps: list[int] = []
    process = subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "begun\n"
        yield swaps
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        swaps.append(int(process.communicate()[0]))


@pytest.fixture
def rootonly(tmp_path: Path) -> Path:
    """A folder of root's that looks like a part of a home."""
    folder = tmp_path / "rootonly"
    make_home(folder)
    (folder / "MEMORY.md").write_text(SECRET)
    (folder / "SOUL.md").write_text(SECRET)
    (folder / "memories" / "MEMORY.md").write_text(SECRET)
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o600)
    return folder


@dataclass(frozen=True)
class Agents(Site):
    """A site whose home lies in a folder that is the agent's, too."""

    @property
    def around(self) -> Path:
        return self.root / "agent"

    @property
    def home(self) -> Path:
        return self.around / "home"


@pytest.fixture
def agents(tmp_path: Path, recipient: Recipient) -> Agents:
    """A site whose home is the agent's, who may also write in the folder above it."""
    site = Agents(tmp_path, recipient)
    make_home(site.home)
    give(site.around)
    return site


def link_home(site: Agents, to: Path) -> None:
    site.home.rename(site.around / "real")
    site.home.symlink_to(to)
    os.chown(site.home, AGENT.pw_uid, AGENT.pw_gid, follow_symlinks=False)


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(path): (status.st_ino, status.st_uid, status.st_mtime_ns)
        for path in (folder, *folder.rglob("*"))
        if (status := path.lstat())
    }


@pytest.mark.parametrize("owner", ["", "nobody"])
@pytest.mark.parametrize("above", [False, True], ids=["the home", "a folder above it"])
def test_a_home_that_a_link_leads_to_is_not_read(agents: Agents, rootonly: Path, owner: str, above: bool) -> None:
    if above:
        (rootonly / "home").mkdir()
        (rootonly / "home" / "SOUL.md").write_text(SECRET)
        deeper = agents.around / "deeper"
        deeper.symlink_to(rootonly)
        os.chown(deeper, AGENT.pw_uid, AGENT.pw_gid, follow_symlinks=False)
    else:
        link_home(agents, rootonly)
    home = agents.around / "deeper" / "home" if above else agents.home
    status = agents.run(owner=owner, home=str(home))
    assert status.error is not None
    assert (status.exit_code, status.error.name) == (3, "HB-HOME-LINK")
    assert str(rootonly) in status.error.mend
    assert agents.snapshots() == []


def test_a_link_that_root_made_is_followed_and_what_it_leads_to_must_be_the_owners(
    agents: Agents, rootonly: Path
) -> None:
    link = agents.around / "of root"
    link.symlink_to(agents.home)
    assert agents.run(home=str(link), owner="nobody").state == "done"
    link.unlink()
    link.symlink_to(rootonly)
    status = agents.run(home=str(link), owner="nobody")
    assert status.error is not None
    assert (status.exit_code, status.error.name) == (3, "HB-HOME-OWNER")


def test_a_file_of_another_user_is_left_out_and_named(ground: Ground, rootonly: Path) -> None:
    """Also under a name that its user gave it: a hard link, where the kernel allows that."""
    site = ground.site
    give(site.home)
    os.link(rootonly / "SOUL.md", site.home / "AGENTS.md")
    fill(site.home / "of-root.db", 3)
    status = site.run(owner="nobody")
    assert (status.state, status.exit_code) == ("partial", 4)
    assert {it.path for it in status.partial} == {"AGENTS.md", "of-root.db"}
    assert all("root" in it.reason for it in status.partial)
    assert not (ground.opened() / "AGENTS.md").exists()


def test_a_home_of_which_no_file_is_its_owners_is_no_snapshot(agents: Agents) -> None:
    (agents.home / "current").unlink(missing_ok=True)
    (agents.home / "current").symlink_to("SOUL.md")
    for path in agents.home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.chown(path, 0, 0)
    status = agents.run(owner="nobody")
    assert status.error is not None
    assert (status.exit_code, status.error.name) == (5, "HB-HOME-UNREADABLE")
    assert agents.snapshots() == []


def test_a_dry_run_tells_that_files_of_another_user_would_be_replaced(agents: Agents) -> None:
    (agents.home / "memories" / "shared.md").write_text("the agent's\n")
    give(agents.home)
    assert agents.run(owner="nobody").exit_code == 0
    handed = sent(agents, owner="nobody")
    (agents.home / "of-root.md").write_text("a note of the operator's\n")
    (agents.home / "memories" / "shared.md").unlink()
    (agents.home / "memories" / "shared.md").write_text("root's\n")
    told = handed.compared()
    assert "of-root.md" in told.removed
    assert ("memories/shared.md" in told.changed, "memories/shared.md" in told.added) == (True, False)


@pytest.mark.parametrize("lacking", ["setuid", "setgid"])
def test_a_root_that_lacks_a_capability_opens_no_database_of_the_homes_user(agents: Agents, lacking: str) -> None:
    """As in a container that dropped all of them: the message says what to give, and everything else is saved."""
    running = agents.start(under=("setpriv", f"--bounding-set=-{lacking}", f"--inh-caps=-{lacking}"), owner="nobody")
    running.communicate()
    status = agents.status()
    assert (running.returncode, status.exit_code) == (4, 4)
    assert {it.path for it in status.partial} == {"state.db"}
    assert all("CAP_SETUID" in it.reason or "CAP_SETGID" in it.reason for it in status.partial)


def test_a_home_swapped_for_a_link_while_it_is_copied(agents: Agents, rootonly: Path) -> None:
    """Each run reads the real home, or refuses: there are thousands of swaps."""
    link_home(agents, rootonly)
    with swapping(agents.around, "home:real") as swaps:
        ends = [agents.run(owner="nobody") for _ in range(8)]
    assert swaps[0] > 1000
    assert {it.error.name for it in ends if it.error is not None} <= {"HB-HOME-LINK"}, [it.error for it in ends]
    check_snapshots(agents)


def test_a_folder_swapped_for_a_link_while_it_is_archived(agents: Agents, rootonly: Path) -> None:
    """Nothing of root's is archived, and what is archived can be restored."""
    for number in range(150):
        (agents.home / "memories" / f"{number:03}.md").write_text("own\n")
        (rootonly / "memories" / f"{number:03}.md").write_text(SECRET)
    (agents.home / "elsewhere").symlink_to(rootonly / "memories")
    give(agents.home)
    with swapping(agents.home, "memories:elsewhere") as swaps:
        ends = [agents.run(owner="nobody") for _ in range(8)]
    assert swaps[0] > 1000
    assert all(it.exit_code in (0, 4) for it in ends), [it.error for it in ends]
    assert agents.run(owner="nobody").exit_code == 0
    check_snapshots(agents)


def test_folders_of_databases_swapped_while_they_are_opened(agents: Agents, rootonly: Path) -> None:
    """SQLite makes nothing in root's folders, and no database of root's is archived; there are thousands of swaps."""
    for folder in (agents.home / "many", rootonly / "many"):
        folder.mkdir()
        for number in range(60):
            fill(folder / f"a{number:03}", 2 if folder.parent == agents.home else 7)
    target = rootonly / "many"
    for path in target.iterdir():
        path.chmod(0o600)
    (agents.home / "elsewhere").symlink_to(target)
    give(agents.home)
    before = listing(rootonly)
    opened = [sqlite3.connect(agents.home / "many" / f"a{number:03}") for number in range(60)]
    try:
        for connection in opened:  # somebody has them open: SQLite is needed to read them
            connection.execute("SELECT * FROM messages").fetchone()
        give(agents.home)
        with swapping(agents.home, "many:elsewhere") as swaps:
            ends = [agents.run(owner="nobody") for _ in range(4)]
    finally:
        for connection in opened:
            connection.close()
    assert swaps[0] > 1000
    assert all(it.exit_code in (0, 4) for it in ends), [it.error for it in ends]
    assert listing(rootonly) == before, "SQLite made something there"
    for into in check_snapshots(agents):
        for path in (into / "many").glob("a[0-9][0-9][0-9]") if not (into / "many").is_symlink() else ():
            with closing(sqlite3.connect(path)) as connection:
                assert connection.execute("SELECT count(*) FROM messages").fetchone() == (2,)


def check_snapshots(site: Site) -> list[Path]:
    """Bring every snapshot back; none holds anything that only root may read."""
    trees = []
    for name in [it.removesuffix(".tar.zst.gpg") for it in site.snapshots() if it.endswith(".tar.zst.gpg")]:
        into = site.root.parent / f"{site.root.name}-{name}"
        bring_back(site, name, target=into)
        for path in into.rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert SECRET.encode() not in path.read_bytes(), path
        trees.append(into)
    return trees


def test_a_restore_in_place_replaces_nothing_that_a_link_leads_to(agents: Agents, rootonly: Path) -> None:
    assert agents.run(owner="nobody").exit_code == 0
    handed = sent(agents, owner="nobody")
    link_home(agents, rootonly)
    before = listing(rootonly)
    for attempt in (handed.put, handed.compared):
        with pytest.raises(Fault) as refused:
            attempt()
        assert refused.value.kind.name == "HB-HOME-LINK"
    assert listing(rootonly) == before
    assert (agents.home.is_symlink(), (agents.around / "real" / "SOUL.md").exists()) == (True, True)


def test_a_restore_in_place_beside_swaps(agents: Agents, rootonly: Path) -> None:
    assert agents.run(owner="nobody").exit_code == 0
    handed = sent(agents, owner="nobody")
    link_home(agents, rootonly)
    before = listing(rootonly)
    with swapping(agents.around, "home:real") as swaps:
        for _ in range(8):
            with suppress(Fault):
                handed.put()
    assert swaps[0] > 100
    assert listing(rootonly) == before


@pytest.mark.parametrize("way", ["overlay", "fuse", "unpack"])
def test_a_home_does_not_come_to_where_a_link_leads(begun: Cloud, rootonly: Path, way: str) -> None:
    machine = begun.machine()
    empty = rootonly / "empty"
    before = (os.stat(empty), os.listdir(empty))
    machine.folder.mkdir(exist_ok=True)
    machine.home.symlink_to(empty)
    os.chown(machine.home, AGENT.pw_uid, AGENT.pw_gid, follow_symlinks=False)
    with pytest.raises(Fault) as refused:
        machine.come(way=way)
    assert refused.value.kind.name == "HB-HOME-LINK"
    assert (os.stat(empty), os.listdir(empty)) == before
    assert not os.path.ismount(empty)


def test_a_home_that_is_left_is_no_link(begun: Cloud, rootonly: Path) -> None:
    """What lies where a link leads is not saved as this machine's home."""
    machine = begun.machine()
    machine.come(way="unpack")
    taken = len(begun.images())
    machine.home.rename(machine.folder / "real")
    machine.home.symlink_to(rootonly)
    os.chown(machine.home, AGENT.pw_uid, AGENT.pw_gid, follow_symlinks=False)
    status = machine.save(keep=True)
    assert status.error is not None
    assert status.error.name == "HB-HOME-LINK"
    assert len(begun.images()) == taken


@pytest.mark.parametrize("way", ["overlay", "unpack"])
def test_a_home_that_comes_beside_swaps(begun: Cloud, rootonly: Path, way: str) -> None:
    """It comes to the folder that is there, or not at all; nothing is mounted on, made in or given of root's."""
    machine = begun.machine()
    around = machine.folder / "agent"
    (around / "home").mkdir(parents=True)
    target = rootonly / "empty"
    (around / "link").symlink_to(target)
    give(around)
    config = machine.config(owner="nobody", home=str(around / "home"))
    before = (target.stat().st_uid, os.listdir(target))
    with swapping(around, "home:link") as swaps:
        for _ in range(4):
            with suppress(Fault):
                attach(config, "snapshot", Wanted(way=way, lease=0.1), machine.heard)
            assert not os.path.ismount(target)
            assert (target.stat().st_uid, os.listdir(target)) == before
    assert swaps[0] > 1000
    while mounted_at(around / "home") or mounted_at(around / "link"):
        for name in ("home", "link"):
            subprocess.run(["umount", around / name], capture_output=True, check=False)
