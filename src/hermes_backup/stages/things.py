"""What travels between stages: a home, a stream, a snapshot, a tree, a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hermes_backup.home.databases.lean import Copied
from hermes_backup.home.selection import Partial, Rules
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.remaking import Remaking
from hermes_backup.streams.coder import Chunks
from hermes_backup.streams.directory import Directory
from hermes_backup.streams.members import Member


def _none() -> tuple[Copied, ...]:
    return ()


@dataclass(frozen=True)
class Home:
    """A Hermes home to read, and what is known of it so far.

    ``opened`` gives its folder, which the first to ask opens, and which then stays the one: a ``command`` may mount it
    before. ``staged`` is a folder that mirrors the home's layout; a file of the
    home named in ``replaced`` is archived from there instead. Names are relative to the root, as bytes, because file
    names need not be text.
    ``copies`` waits for the checks of these copies, and returns what each of them is; or another home, where one is not
    what it should be: an archive of this one is to be made again, of that. ``uncopied`` says why databases lack the
    copies that they were to have; empty where they have them, or were to have none.
    """

    opened: Callable[[], Directory]
    rules: Rules
    staged: Path | None = None
    replaced: frozenset[bytes] = frozenset()
    as_they_lie: frozenset[bytes] = frozenset()
    copies: Callable[[], tuple[Copied, ...] | Home] = _none
    partial: tuple[Partial, ...] = ()
    uncopied: str = ""

    @property
    def root(self) -> Directory:
        """The home's folder, held open.

        Raises:
            Fault: HOME_MISSING, HOME_UNREADABLE, HOME_LINK, HOME_OWNER.
        """
        return self.opened()


@dataclass(frozen=True)
class Snapshot:
    """A finished snapshot: its name, its manifest, and the places that hold it."""

    name: SnapshotName
    manifest: Manifest
    places: tuple[Place, ...]
    unchanged: bool = False


@dataclass(frozen=True)
class Plaintext:
    """A decrypted archive in flight, never to be stored: what it must hold, and how to start it.

    ``packed`` starts the same, compressed as it lies in the snapshot. ``remakings`` tell of what was left out of it.
    """

    manifest: Manifest
    members: tuple[Member, ...]
    chunks: Callable[[], Chunks]
    packed: Callable[[], Chunks]
    remakings: tuple[Remaking, ...] = ()


@dataclass(frozen=True)
class Tree:
    """An extracted home in quarantine: a private folder, what lies in it, and the manifest that it must agree with."""

    root: Path
    manifest: Manifest
    members: tuple[Member, ...]
    warnings: tuple[str, ...] = ()
    remakings: tuple[Remaking, ...] = ()


Verdict = Literal["ok", "failed", "unproven"]
"""``unproven``: it could not be looked at, or what was seen decides nothing; it is told, and is no failure."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and what was seen.

    Attributes:
        what: such as a database; like ``evidence`` it tells counts, and names that the manifest or the
            configuration tell anyway.
        named: the agent's own names and words, for the eyes of the trusted machine alone.
        name: the stable name of the error, where it failed by one of its own.
    """

    what: str
    verdict: Verdict
    evidence: str
    named: tuple[str, ...] = ()
    name: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is proven."""
        return self.verdict == "ok"


@dataclass(frozen=True)
class Report:
    """What was checked of a tree, with evidence."""

    tree: Tree
    findings: tuple[Finding, ...] = ()
