"""Which snapshot ``latest`` means, and what must be told of the newer ones that it cannot mean: a pure decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.errors import Fault

if TYPE_CHECKING:
    from hermes_backup.snapshots.names import SnapshotName


@dataclass(frozen=True)
class Sighting:
    """A finished snapshot as one place shows it; ``fault`` says why it cannot be restored from there, if it cannot."""

    name: SnapshotName
    place: str
    fault: Fault | None = None


@dataclass(frozen=True)
class Latest:
    """What ``latest`` means.

    Attributes:
        taken: the newest that at least one place gives whole; None where there is none.
        stop: why nothing may be taken without being asked for by name: the newest of those that are newer.
        passed: why the other newer ones are passed over, the newest first. Each must be told.
        older: why older ones cannot be restored, the newest first: that stops nobody.
    """

    taken: SnapshotName | None
    stop: Fault | None
    passed: tuple[Fault, ...]
    older: tuple[Fault, ...]


def decide(sightings: Iterable[Sighting], may_pass: Callable[[Fault], bool]) -> Latest:
    """Decide by what all places show; ``may_pass`` says for which faults an older snapshot may stand in.

    A snapshot that no place gives whole has one fault: that of the first place where it may not be passed over, else of
    the first place. It names both. What is older than the one that is taken decides nothing.
    """
    seen = tuple(sightings)
    whole = {it.name for it in seen if it.fault is None}
    taken = max(whole, default=None)
    faults: dict[SnapshotName, list[Fault]] = {}
    for it in sorted(seen, key=lambda one: one.name, reverse=True):  # sorted() keeps the order of the places
        if it.fault is not None and it.name not in whole:
            where = f"{it.place}: {it.name}"
            faults.setdefault(it.name, []).append(Fault(it.fault.kind, it.fault.what, where=where, mend=it.fault.mend))
    told = {name: next((it for it in each if not may_pass(it)), each[0]) for name, each in faults.items()}
    newer = [it for name, it in told.items() if taken is None or name > taken]
    stop = next((it for it in newer if not may_pass(it)), None)
    older = tuple(it for name, it in told.items() if taken is not None and name < taken)
    return Latest(taken, stop, tuple(it for it in newer if it is not stop), older)
