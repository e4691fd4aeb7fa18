"""What a source says of a home, before anybody looked whether it is there; and the file system that it speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class Telling(IntEnum):
    """How telling a source is: of several that name the same home, the first speaks for it."""

    SERVICE = 0
    CONTAINER = 1
    FOLDER = 2


@dataclass(frozen=True)
class Account:
    """A user of the host; ``home`` is an absolute path, and ``lent`` are the numbers that its containers may use."""

    name: str
    uid: int
    home: str
    lent: tuple[range, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A source's word that a home lies at ``path``, which is absolute.

    ``how`` says it in words. ``by`` is the user who can write the source; None for root. ``named``: the source says
    the path, so an empty folder there is a home, too; else it is only where one would be. ``beneath`` is a folder
    that the path may not lead out of, by a link.
    """

    path: str
    how: str
    telling: Telling
    by: Account | None = None
    named: bool = True
    beneath: str = ""
    unit: str = ""
    """The service of systemd that says so: of ``by``'s own manager, or the system's."""


@dataclass(frozen=True)
class Host:
    """A host's file system; ``root`` is elsewhere than ``/`` in tests. Links are followed as they are here."""

    root: Path
    accounts: tuple[Account, ...] = ()

    def at(self, path: str) -> Path:
        """Return where a path of the host is reached from here."""
        return self.root / path.lstrip("/")
