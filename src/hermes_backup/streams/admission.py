"""Which members of an archive may be extracted; the reasons are those of tar's own manual, "Security"."""

from __future__ import annotations

from hermes_backup.errors import RESTORE_REFUSED, Fault
from hermes_backup.streams.members import Member

SPECIAL_BITS = 0o6000  # setuid and setgid


class Doorkeeper:
    """Looks at the members of one archive in their order."""

    def __init__(self) -> None:
        self._names: set[bytes] = set()
        self._files: set[bytes] = set()
        self._links: set[bytes] = set()
        self.outward: list[bytes] = []

    def admit(self, member: Member) -> None:
        """Let a member in, noting which links point outside.

        A symbolic link may point anywhere, as it did on the host; nothing is ever extracted through one.

        Raises:
            Fault: RESTORE_REFUSED.
        """
        why = self._refusal(member)
        if why:
            raise Fault(RESTORE_REFUSED, f"{member.name[:200]!r}: {why}", where="extract")
        self._names.add(member.name)
        if member.kind == "file":
            self._files.add(member.name)
        if member.kind == "link":
            self._links.add(member.name)
            if member.link is not None and _leaves(member.name, member.link):
                self.outward.append(member.name)

    def _refusal(self, member: Member) -> str:
        parts = member.name.split(b"/")
        through = (b"/".join(parts[:end]) for end in range(1, len(parts)))
        reasons = (
            (member.kind == "other", "it is a device, a pipe or of unknown kind"),
            (not _is_inside(member.name), "its name leaves the folder"),
            (member.name in self._names, "it stands in the archive twice"),
            (not self._links.isdisjoint(through), "its path leads through a link"),
            (member.link is not None and (not member.link or b"\0" in member.link), "its target is no name"),
            (
                member.kind == "hardlink" and member.link not in self._files,
                "it is a hard link to something that is not in the archive before it",
            ),
        )
        return next((text for wrong, text in reasons if wrong), "")


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
