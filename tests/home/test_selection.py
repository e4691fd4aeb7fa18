"""What of a home is chosen, and what is left out and told."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermes_backup.errors import CONFIG_INVALID, HOME_EMPTY, HOME_MISSING, HOME_UNREADABLE, Fault
from hermes_backup.home import selection
from hermes_backup.home.layout import DEFAULT_EXCLUDES, is_known_database
from hermes_backup.home.printable import printable
from hermes_backup.home.selection import Partial, Rules, Selection
from hermes_backup.streams.admission import MOST_HOLES
from hermes_backup.streams.directory import Directory
from tests.held import select
from tests.home.making import next_line, running, where_mounting_works

ALL = Rules(patterns=())
TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# made by a cache\n"


def make(root: Path, *names: str | bytes) -> Path:
    """Make files, and folders where a name ends in a slash."""
    for name in names:
        path = root / os.fsdecode(name)
        if os.fsencode(name).endswith(b"/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"content")
    return root


def names(selection: Selection) -> list[bytes]:
    return [entry.name for entry in selection.entries]


def test_entries_are_what_lies_there(tmp_path: Path) -> None:
    make(tmp_path, "SOUL.md", "memories/MEMORY.md", "empty/")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "SOUL.md").chmod(0o600)
    chosen = select(tmp_path, ALL)
    assert names(chosen) == [b"SOUL.md", b"empty", b"link", b"memories", b"memories/MEMORY.md"]
    assert [entry.kind for entry in chosen.entries] == ["file", "dir", "link", "dir", "file"]
    soul, seen = chosen.entries[0], (tmp_path / "SOUL.md").stat()
    assert (soul.size, soul.mode, soul.inode, soul.device, soul.mtime_ns, soul.uid, soul.gid) == (
        7,
        seen.st_mode,
        seen.st_ino,
        seen.st_dev,
        seen.st_mtime_ns,
        os.geteuid(),
        seen.st_gid,
    )
    assert chosen.bytes == 14
    assert (chosen.skipped, chosen.unmatched) == ((), ())


def test_the_defaults_leave_out_what_can_be_made_anew_here_and_in_profiles(tmp_path: Path) -> None:
    kept = ["SOUL.md", "state.db", ".env", "cron/jobs.json", "skills/x/run.sh", "cache/images/a.png", "state/kept"]
    kept += ["workspace/logs/mine.txt", "skills/tools/x", "notes-journal/1.md", "memories/MEMORY.md"]
    left_out = ["logs/agent.log", "cache/http/1", "cache/loose", "hermes-agent/run.py", "gateway.pid", "auth.lock"]
    left_out += ["state.db-wal", "state.db-shm", "cron/ticker_1", "cron/.tick.lock", "model_cache.json"]
    left_out += ["skills/x/node_modules/y/z.js", "skills/x/.git/config", "plugins/a/__pycache__/a.pyc", "old.pyc"]
    left_out += ["memories/MEMORY.md.lock", "kanban/boards/b/kanban.db.init.lock", "state/gateway.heartbeat"]
    for home in ("", "profiles/research/"):
        make(tmp_path, *(home + name for name in kept + left_out))
    chosen = select(tmp_path, Rules())
    files = {entry.name.decode() for entry in chosen.entries if entry.kind == "file"}
    assert files == {home + name for home in ("", "profiles/research/") for name in kept}
    assert chosen.unmatched == ()
    assert chosen.excluded_entries > len(left_out)


def test_every_default_pattern_excludes_or_brings_back_something(tmp_path: Path) -> None:
    for pattern in DEFAULT_EXCLUDES:
        body = pattern.lstrip("!/").replace("*", "x")
        make(tmp_path, body.rstrip("/") + "/inside" if pattern.endswith("/") else body)
    make(tmp_path, "kept")
    chosen = {os.fsdecode(name) for name in names(select(tmp_path, Rules()))}
    for pattern in DEFAULT_EXCLUDES:
        body = pattern.lstrip("!/").replace("*", "x").rstrip("/")
        assert (body in chosen) == pattern.startswith("!"), pattern


def test_an_excluded_folder_is_not_entered(tmp_path: Path) -> None:
    make(tmp_path, "kept", "logs/")
    (tmp_path / "logs").chmod(0)
    chosen = select(tmp_path, Rules())
    (tmp_path / "logs").chmod(0o700)
    assert names(chosen) == [b"kept"]
    assert chosen.skipped == ()
    assert chosen.excluded_entries == 1


def test_a_tagged_cache_keeps_its_folder_and_tag(tmp_path: Path) -> None:
    make(tmp_path, "kept", "c/big", "c/sub/big", "fake/big")
    (tmp_path / "c/CACHEDIR.TAG").write_text(TAG)
    (tmp_path / "fake/CACHEDIR.TAG").write_text("Signature: something else")
    chosen = select(tmp_path, ALL)
    assert names(chosen) == [b"c", b"c/CACHEDIR.TAG", b"fake", b"fake/CACHEDIR.TAG", b"fake/big", b"kept"]
    assert chosen.excluded_entries == 2
    everything = select(tmp_path, Rules(patterns=(), cachedir_tag=False))
    assert b"c/sub/big" in names(everything)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_only_looks_like_a_tag_is_none(tmp_path: Path, kind: str) -> None:
    make(tmp_path, "c/big")
    (tmp_path / "real").write_text(TAG)
    tag = tmp_path / "c/CACHEDIR.TAG"
    if kind == "pipe":
        os.mkfifo(tag)
    elif kind == "link":
        tag.symlink_to("../real")
    else:
        tag.mkdir()
    assert b"c/big" in names(select(tmp_path, ALL))


def test_a_marked_folder_keeps_its_marker(tmp_path: Path) -> None:
    make(tmp_path, "kept", "big/1", "big/.nobackup", "big/sub/2")
    chosen = select(tmp_path, Rules(patterns=(), exclude_if_present=(".nobackup",)))
    assert names(chosen) == [b"big", b"big/.nobackup", b"kept"]


@pytest.mark.parametrize("marker", ["CACHEDIR.TAG", ".nobackup"])
def test_a_home_that_is_marked_itself_is_an_error_and_no_empty_backup(tmp_path: Path, marker: str) -> None:
    make(tmp_path, "SOUL.md")
    (tmp_path / marker).write_text(TAG)
    with pytest.raises(Fault) as caught:
        select(tmp_path, Rules(exclude_if_present=(".nobackup",)))
    assert caught.value.kind is HOME_EMPTY
    assert marker in caught.value.what


def sparse(path: Path, holes: int, content: bytes = b"content") -> None:
    with path.open("wb") as file:
        file.write(content)
        file.truncate(holes)


def test_holes_beyond_all_measure_are_left_out_and_told(tmp_path: Path) -> None:
    make(tmp_path, "SOUL.md")
    sparse(tmp_path / "disk.img", 100 << 30)
    sparse(tmp_path / "vast", 300 << 30)
    sparse(tmp_path / "other", 1 << 30)
    chosen = select(tmp_path, ALL)
    assert names(chosen) == [b"SOUL.md", b"disk.img", b"other"]
    (told,) = chosen.skipped
    assert (told.path, f"and all files together may have {MOST_HOLES}" in told.reason) == ("vast", True)
    assert chosen.bytes == (101 << 30) + 7


def test_holes_of_all_files_together_are_bounded_and_the_most_sparse_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hermes_backup.home.holes.MOST_HOLES", 9 << 20)
    for name, holes in (("a", 5 << 20), ("b", 2 << 20), ("c", 4 << 20), ("d", 0)):
        sparse(tmp_path / name, holes)
    assert [it.path for it in select(tmp_path, ALL).skipped] == ["a"]


def test_what_a_file_system_saves_otherwise_is_no_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it compresses, a file of content alone has few blocks."""
    make(tmp_path, "dense")
    sparse(tmp_path / "holes", 3 << 20)
    monkeypatch.setattr("hermes_backup.home.holes.MOST_HOLES", 1 << 20)
    monkeypatch.setattr("hermes_backup.home.selection.holes_at_most", lambda _: 2 << 20)
    chosen = select(tmp_path, ALL)
    assert ([it.path for it in chosen.skipped], names(chosen)) == (["holes"], [b"dense"])


def test_sockets_pipes_and_devices_are_left_out_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "kept")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        chosen = select(tmp_path, ALL)
    assert names(chosen) == [b"kept"]
    assert (chosen.volatile, chosen.skipped, chosen.excluded_entries) == (2, (), 0)


def test_names_of_any_bytes(tmp_path: Path) -> None:
    odd = [b"caf\xe9", b"two\nlines.pyc", b"two\nlines", b"\xf0\x9f\x97\x84", b"n" * 255, b" ", b"a\\b", b"*"]
    make(tmp_path, *odd)
    assert names(select(tmp_path, ALL)) == sorted(odd)
    # A newline neither hides a name from a pattern nor ends it.
    chosen = select(tmp_path, Rules(patterns=("*.pyc", "two", "caf?")))
    assert names(chosen) == sorted(set(odd) - {b"two\nlines.pyc", b"caf\xe9"})
    assert chosen.unmatched == ("two",)


def test_paths_that_are_too_long_are_told(tmp_path: Path) -> None:
    make(tmp_path, "kept")
    deep = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=deep)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    chosen = select(tmp_path, ALL)
    shutil.rmtree(tmp_path / ("d" * 250))
    assert b"kept" in names(chosen)
    assert [partial.reason for partial in chosen.skipped] == ["file name too long"]


def test_links_are_kept_and_not_followed_but_the_root(tmp_path: Path) -> None:
    make(tmp_path, "real/SOUL.md", "elsewhere/secret")
    (tmp_path / "real/out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "real/loop").symlink_to(".")
    (tmp_path / "real/node_modules").symlink_to("nowhere")
    (tmp_path / "home").symlink_to("real")
    chosen = select(tmp_path / "home", Rules())
    assert names(chosen) == [b"SOUL.md", b"loop", b"node_modules", b"out"]
    assert {entry.kind for entry in chosen.entries[1:]} == {"link"}


def test_a_users_pattern_that_matches_nothing_is_told(tmp_path: Path) -> None:
    make(tmp_path, "workspace/a/build/x", "workspace/b", "notes.txt")
    mine = ("/workspace/*/build/", "*.iso", "!/cache/never/", "# a comment", "", "[broken", "*.txt")
    chosen = select(tmp_path, Rules(patterns=(*DEFAULT_EXCLUDES, *mine)))
    assert names(chosen) == [b"workspace", b"workspace/a", b"workspace/b"]
    assert chosen.unmatched == ("[broken", "*.iso", "!/cache/never/")


@pytest.mark.parametrize("pattern", ["trailing\\", "[z-a]"])
def test_a_pattern_that_is_none_is_an_error(tmp_path: Path, pattern: str) -> None:
    make(tmp_path, "kept")
    with pytest.raises(Fault) as caught:
        select(tmp_path, Rules(patterns=(pattern,)))
    assert caught.value.kind is CONFIG_INVALID
    assert repr(pattern) in caught.value.what


@pytest.mark.parametrize("pattern", ["*", "/*", "**", "*.md\n"])
def test_excluding_everything_is_an_error(tmp_path: Path, pattern: str) -> None:
    make(tmp_path, "SOUL.md", "folder/")
    with pytest.raises(Fault) as caught:
        select(tmp_path, Rules(patterns=(pattern,)))
    assert caught.value.kind is HOME_EMPTY
    assert "excluded" in caught.value.what


@pytest.mark.parametrize("what", ["missing", "file", "dangling", "loop"])
def test_no_home(tmp_path: Path, what: str) -> None:
    home = tmp_path / "home"
    if what == "file":
        home.write_text("")
    elif what != "missing":
        home.symlink_to("home" if what == "loop" else "nowhere")
    with pytest.raises(Fault) as caught:
        select(home, ALL)
    assert caught.value.kind is HOME_MISSING


def test_an_empty_home(tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        select(tmp_path, ALL)
    assert caught.value.kind is HOME_EMPTY


_SELECTS = """
import os, sys
from pathlib import Path
from hermes_backup.errors import Fault
from hermes_backup.home.selection import Rules
from tests.held import select
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    chosen = select(Path(sys.argv[1]), Rules(patterns=()))
    print([entry.name for entry in chosen.entries], [(one.path, one.reason) for one in chosen.skipped])
except Fault as fault:
    print(fault.kind.name)
"""


def test_what_cannot_be_read_is_told() -> None:
    base = Path(tempfile.mkdtemp(prefix="hermes-backup-test-", dir="/var/tmp"))
    try:
        base.chmod(0o755)
        home = make(base / "home", "a", "locked/x", "secret", "unlisted/y")
        home.chmod(0o755)
        for name, mode in {"locked": 0o000, "secret": 0o000, "unlisted": 0o744 & ~0o111, "a": 0o644}.items():
            (home / name).chmod(mode)

        def seen() -> str:
            with running(_SELECTS, home) as process:
                return next_line(process)

        assert seen() == (
            "[b'a', b'locked', b'unlisted'] [('locked', 'permission denied'), ('secret', 'permission denied'),"
            " ('unlisted/y', 'permission denied')]"
        )
        (home / "a").chmod(0)
        assert seen() == HOME_UNREADABLE.name
        home.chmod(0)
        assert seen() == HOME_UNREADABLE.name
        base.chmod(0)
        assert seen() == HOME_UNREADABLE.name
    finally:
        for path in (base, home, home / "locked", home / "unlisted"):
            path.chmod(0o700)
        shutil.rmtree(base)


_MOUNTS = """
import subprocess, sys
from pathlib import Path
from hermes_backup.home.selection import Rules
from tests.held import select
home = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", home / "disk"], check=True)
(home / "disk/big").write_text("x")
for one in (True, False):
    chosen = select(home, Rules(patterns=(), one_file_system=one))
    print([entry.name for entry in chosen.entries], chosen.other_file_systems)
"""


def test_what_goes_while_the_home_is_walked_is_not_called_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make(tmp_path, "kept", "gone")
    honest = selection.is_readable

    def late(folder: Directory, name: bytes) -> bool:
        if name == b"gone":
            os.unlink(name, dir_fd=folder.descriptor)
        return honest(folder, name)

    monkeypatch.setattr(selection, "is_readable", late)
    seen = select(home, ALL)
    assert (names(seen), seen.skipped) == ([b"kept"], ())


def test_another_file_system_is_not_entered(tmp_path: Path) -> None:
    make(tmp_path, "a", "disk/")
    with running(_MOUNTS, tmp_path, prefix=where_mounting_works()) as process:
        said = [next_line(process), next_line(process)]
    assert said == ["[b'a', b'disk'] ('disk',)", "[b'a', b'disk', b'disk/big'] ()"]


def test_a_tree_deeper_than_the_stack(tmp_path: Path) -> None:
    folders = ["/".join(["d"] * depth) for depth in range(1, 1501)]
    for folder in folders:
        (tmp_path / folder).mkdir()
    bottom = tmp_path / folders[-1] / "file"
    bottom.touch()
    assert len(select(tmp_path, ALL).entries) == 1501
    bottom.unlink()
    for folder in reversed(folders):
        (tmp_path / folder).rmdir()


def test_100_000_files_take_a_few_times_their_bare_walk(tmp_path: Path) -> None:
    for folder in range(1000):
        there = tmp_path / "workspace" / str(folder % 20) / str(folder)
        there.mkdir(parents=True)
        for number in range(100):
            os.close(os.open(there / f"{folder}-{number}", os.O_CREAT))
    started = time.process_time()  # of this process: other tests run beside it
    walked = sum(1 for folder, _, files in os.walk(tmp_path) for it in files if os.lstat(f"{folder}/{it}"))
    bare = time.process_time() - started
    started = time.process_time()
    chosen = select(tmp_path, Rules(patterns=(*DEFAULT_EXCLUDES, "*.iso", "/workspace/*/build/")))
    took = time.process_time() - started
    assert (walked, len(chosen.entries)) == (100_000, 101_021)
    assert took < 10 * bare  # 3.6 alone, 4.7 under coverage; 1.3 s


_names = st.sampled_from(["a", "b", "ab", "a.b", ".a", "abc"])
_trees = st.sets(st.lists(_names, min_size=1, max_size=4).map("/".join), min_size=1, max_size=12)
_segments = st.sampled_from(["a", "b", "a*", "*", "*b", "?", "a.b", "[ab]", "[!a]", ".a", "**"])
_lines = st.tuples(
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(_segments, min_size=1, max_size=3).map("/".join),
    st.sampled_from(["", "", "/"]),
).map("".join)


def grow(root: Path, paths: set[str]) -> None:
    """Make files; where one path is another's folder, the folder wins."""
    for path in sorted(paths, key=len, reverse=True):
        if not (root / path).exists():
            make(root, path)


def chosen_files(root: Path, patterns: tuple[str, ...]) -> set[bytes]:
    try:
        return {entry.name for entry in select(root, Rules(patterns=patterns)).entries if entry.kind == "file"}
    except Fault as fault:
        if fault.kind is not HOME_EMPTY:
            raise
        return set()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_trees, st.lists(_lines.filter(lambda line: "**" not in line or "/**/" in f"/{line}/"), max_size=5))
def test_patterns_mean_what_they_mean_to_git(paths: set[str], patterns: list[str]) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed, so there is nothing to compare with")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        grow(root, paths)
        (Path(folder) / "patterns").write_text("".join(f"{line}\n" for line in patterns))
        subprocess.run([git, "init", "--quiet", "--bare", f"{folder}/repository"], check=True)
        asked = ("ls-files", "-z", "--others", f"--exclude-from={folder}/patterns")
        listed = subprocess.run(
            [git, f"--git-dir={folder}/repository", f"--work-tree={root}", *asked],
            check=True,
            capture_output=True,
            cwd=root,
        ).stdout
        assert chosen_files(root, tuple(patterns)) == {name for name in listed.split(b"\0") if name}


_byte_names = st.binary(min_size=1, max_size=8).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in {b".", b".."}
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sets(st.lists(_byte_names, min_size=1, max_size=3).map(tuple), min_size=1, max_size=10),
    st.lists(_lines, max_size=4),
)
def test_order_parents_and_what_is_kept_or_not(paths: set[tuple[bytes, ...]], patterns: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path in sorted(paths, key=len, reverse=True):
            if not os.path.lexists(os.fsencode(root) + b"/" + b"/".join(path)):
                make(root, b"/".join(path))
        everything = select(root, ALL)
        whole = names(everything)
        assert whole == sorted(whole)
        on_disk = {
            (base + b"/" + name).removeprefix(os.fsencode(root) + b"/")
            for base, folders, files in os.walk(os.fsencode(root))
            for name in folders + files
        }
        assert set(whole) == on_disk
        try:
            chosen = select(root, Rules(patterns=tuple(patterns)))
        except Fault as fault:
            if fault.kind is not HOME_EMPTY:
                raise
            return
        kept = names(chosen)
        assert kept == sorted(kept)
        assert set(kept) <= on_disk
        for name in kept:
            parent = name.rpartition(b"/")[0]
            assert not parent or kept.index(parent) < kept.index(name)
        assert bool(chosen.excluded_entries) == (set(kept) != on_disk)
        assert chosen.bytes == 7 * sum(entry.kind == "file" for entry in chosen.entries)


@given(st.binary())
def test_printable_names_fit_on_one_line_and_are_text(name: bytes) -> None:
    shown = printable(name)
    assert shown.isprintable()
    shown.encode("utf-8")


def test_printable_leaves_text_alone() -> None:
    assert printable("état 🗄.md") == "état 🗄.md"
    assert printable(b"caf\xe9\n\x1b[31m") == "caf\\xe9\\n\\x1b[31m"
    assert Partial("a", "b") == Partial("a", "b")


def test_known_databases() -> None:
    known = [b"state.db", b"profiles/x/state.db", b"kanban/boards/a b/kanban.db", b"profiles/x/cron/executions.db"]
    assert all(is_known_database(name) for name in known)
    other = [b"mystate.db", b"kanban/boards/a/b/kanban.db", b"profiles/a/b/state.db", b"state.db-wal", b"a\nstate.db"]
    assert not any(is_known_database(name) for name in other)
