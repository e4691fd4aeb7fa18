"""Data without a manifest: left of a killed run, or of a push under way, or of a snapshot that lost its manifest.

A killed run signs nothing, so the signed chain goes on past its files. Where somebody took a manifest away, the next
one names a predecessor that is not there.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from hermes_backup.snapshots.catalog import Known, Listed
    from hermes_backup.snapshots.names import SnapshotName

GRACE = timedelta(days=1)
"""How long data without a manifest may still be those of a push."""


@dataclass(frozen=True)
class Leftover:
    """An unfinished snapshot that the chain goes on without, and the finished ones that show it."""

    listed: Listed
    witnesses: frozenset[SnapshotName]

    @property
    def name(self) -> SnapshotName:
        """The name that it would have had."""
        return self.listed.name

    def old(self, now: datetime, modified: Mapping[str, datetime]) -> bool:
        """Tell whether it is old by its name, and each of its files by what the place says of it."""
        times = [self.name.time, *(modified.get(file.name, now) for file in self.listed.files)]
        return all(now - it > GRACE for it in times)


def leftovers(listed: Iterable[Listed], knowns: Iterable[Known]) -> tuple[Leftover, ...]:
    """Return the unfinished snapshots without which those after them go on: their runs were ended.

    Signed neighbours follow each other past them, or a later one is signed under their number, which a host gives once
    but after its state was lost. Else the manifest may as well have been taken away.
    """
    ordered = sorted(knowns, key=lambda known: known.name)
    found = ((one, _witnesses(one.name, ordered)) for one in listed if one.state == "incomplete")
    return tuple(Leftover(one, witnesses) for one, witnesses in found if witnesses)


def removable(
    left: Sequence[Leftover], knowns: Iterable[Known], now: datetime, modified: Mapping[str, datetime]
) -> tuple[Leftover, ...]:
    """Return what no push can still be at: it is old, and a signed snapshot has a higher number."""
    head = max((known.name.sequence for known in knowns), default=0)
    return tuple(it for it in left if it.name.sequence < head and it.old(now, modified))


def may_be_under_way(name: SnapshotName, knowns: Iterable[Known], now: datetime) -> bool:
    """Tell whether an unfinished snapshot may be that of a push: it is of today, and no signed one comes after it."""
    return abs(now - name.time) <= GRACE and all(known.name < name for known in knowns)


def _witnesses(name: SnapshotName, ordered: Sequence[Known]) -> frozenset[SnapshotName]:
    """Return the finished snapshots that show that one was never signed; none where nothing shows it."""
    first = ordered[0] if ordered else None
    if first is not None and first.manifest.previous is None and name < first.name:
        return frozenset({first.name})
    for older, newer in itertools.pairwise(ordered):
        if older.name < name < newer.name and newer.manifest.previous == older.manifest_sha256:
            return frozenset({older.name, newer.name})
    again = next((it.name for it in ordered if it.name.sequence == name.sequence and name < it.name), None)
    return frozenset() if again is None else frozenset({again})
