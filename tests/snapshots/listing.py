"""Lists of files for tests of what differs: few names and few contents, so that they meet often."""

from __future__ import annotations

from hypothesis import strategies as st

from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.streams.members import Member
from tests.snapshots.made import name_of

NAMES = st.sampled_from([b"SOUL.md", b"skills", b"skills/a", b"skills/b/a", b"memories/M.md", b"\xff\n", b"w/x/y/z"])
CONTENTS = st.sampled_from(["", "one", "two", "three"])


def file(name: bytes, content: str = "one", *, mode: int = 0o644, uid: int = 0, mtime: float = 0.0) -> Member:
    """A file; its content stands for its hash."""
    digest = content.encode().hex().ljust(64, "0")
    return Member(name, "file", len(content), mode, uid, 0, mtime, sha256=digest)


def folder(name: bytes) -> Member:
    return Member(name, "dir", 0, 0o755, 0, 0, 0.0)


def link(name: bytes, target: bytes) -> Member:
    return Member(name, "link", 0, 0o777, 0, 0, 0.0, link=target)


MEMBERS = st.one_of(
    st.builds(file, NAMES, CONTENTS, mode=st.sampled_from([0o644, 0o600]), mtime=st.sampled_from([0.0, 9.5])),
    st.builds(folder, NAMES),
    st.builds(link, NAMES, st.sampled_from([b"a", b"b"])),
)
LISTS = st.lists(MEMBERS, max_size=7, unique_by=lambda it: it.name)


def numbers(*sequences: int) -> tuple[SnapshotName, ...]:
    return tuple(name_of(it) for it in sequences)
