"""Which members of an archive may be extracted; the reasons are those of tar's own manual, "Security"."""

from __future__ import annotations

from collections.abc import Sequence

from hermes_backup.errors import RESTORE_REFUSED, Fault
from hermes_backup.streams.members import Member, MemberKind

SPECIAL_BITS = 0o6000  # setuid and setgid
MOST_HOLES = 256 << 30
"""Bytes of holes in the sparse files of an archive: they are hashed like any other bytes, a GB in 0.5 to 2 s."""


_MOST_FOLDERS = 64 << 20  # bytes of names of folders that are no members: this program makes archives without any


class Doorkeeper:
    """Looks at the members of one archive in their order."""

    def __init__(self) -> None:
        self._kinds: dict[bytes, MemberKind] = {}
        self._folders: set[bytes] = set()  # those above members that are no members themselves
        self._room = _MOST_FOLDERS
        self._holes = 0
        self.outward: list[bytes] = []

    def admit(self, member: Member, holes: int = 0) -> None:
        """Let a member in, with so many bytes of holes, noting which links point outside.

        A symbolic link may point anywhere, as it did on the host; nothing is ever extracted through one.

        Raises:
            Fault: RESTORE_REFUSED.
        """
        self._holes += holes
        folders = self._new_folders(member.name)
        self._room -= sum(map(len, folders))
        why = self._refusal(member, folders)
        if why:
            raise Fault(RESTORE_REFUSED, f"{member.name[:200]!r}: {why}", where="extract")
        self._kinds[member.name] = member.kind
        self._folders.update(folders)
        if member.kind == "link" and member.link is not None and _leaves(member.name, member.link):
            self.outward.append(member.name)

    def _refusal(self, member: Member, folders: Sequence[bytes]) -> str:
        below = self._kinds.get(_parent(folders[-1] if folders else member.name), "dir")
        reasons = (
            (member.kind == "other", "it is a device, a pipe or of unknown kind"),
            (not _is_inside(member.name), "its name leaves the folder"),
            (member.name in self._kinds, "it stands in the archive twice"),
            (below == "link", "its path leads through a link"),
            (below != "dir", "its path leads through a file"),
            (member.kind != "dir" and member.name in self._folders, "something in the archive lies below it"),
            (member.link is not None and (not member.link or b"\0" in member.link), "its target is no name"),
            (
                member.kind == "hardlink" and self._kinds.get(member.link or b"") != "file",
                "it is a hard link to something that is not in the archive before it",
            ),
            (self._room < 0, "too many folders stand in the archive by what is in them alone"),
            (self._holes > MOST_HOLES, f"with it, sparse files have {self._holes} bytes of holes, not {MOST_HOLES}"),
        )
        return next((text for wrong, text in reasons if wrong), "")

    def _new_folders(self, name: bytes) -> tuple[bytes, ...]:
        """Return the folders above that nothing told of before, from the innermost up to where one is known."""
        found = []
        while (name := _parent(name)) and name not in self._kinds and name not in self._folders:
            found.append(name)
        return tuple(found)


def _parent(name: bytes) -> bytes:
    return name.rpartition(b"/")[0]


def _is_inside(name: bytes) -> bool:
    return bool(name) and b"\0" not in name and not {b"", b".", b".."} & set(name.split(b"/"))


def _leaves(name: bytes, target: bytes) -> bool:
    depth = name.count(b"/")
    if target.startswith(b"/"):
        return True
    for part in target.split(b"/"):
        depth += {b"..": -1, b".": 0, b"": 0}.get(part, 1)
        if depth < 0:
            return True
    return False
