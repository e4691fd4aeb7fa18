"""What a person does with snapshots that do not count: move them aside in their places, or trust them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hermes_backup.errors import BASE_MISSING, SNAPSHOT_MISSING, SNAPSHOT_SUSPECT, Fault
from hermes_backup.pipeline.observation import Observation
from hermes_backup.snapshots.catalog import Listed
from hermes_backup.snapshots.quarantine import folder_aside, move_aside
from hermes_backup.snapshots.retention import is_ahead
from hermes_backup.snapshots.sightings import Sightings
from hermes_backup.stages.expire import Stock


@dataclass(frozen=True)
class Chosen:
    """Snapshots of one place, and why each does not count; empty for one that does."""

    stock: Stock
    snapshots: tuple[Listed, ...]
    reasons: tuple[str, ...]

    def folder_aside(self, now: datetime) -> str:
        """Return where they are moved to in their place."""
        return folder_aside(self.stock.folder, now)


def choose(seen: Observation, wanted: Sequence[str], now: datetime) -> tuple[Chosen, ...]:
    """Return what is meant in each place: the numbers or names that are wanted, else all that do not count.

    Raises:
        Fault: SNAPSHOT_MISSING, a number that several have; BASE_MISSING, a delta that is not meant needs one of them.
    """
    return tuple(_choose(stock, seen, wanted, now) for stock in seen.stocks)


def move(seen: Observation, chosen: Sequence[Chosen], now: datetime) -> Sightings:
    """Move them aside, and return what is known afterwards.

    Raises:
        Fault: as :func:`move_aside`.
    """
    for it in chosen:
        move_aside(it.stock.place, it.stock.folder, it.snapshots, now)
    if not seen.complete:
        return seen.seen  # what lies elsewhere, too, was seen
    there = {(it.place.label, one.name) for it in seen.stocks for one in it.listed}
    left = there - {(it.stock.place.label, one.name) for it in chosen for one in it.snapshots}
    return seen.seen.without({name for _, name in there} - {name for _, name in left})


def trust(seen: Observation, chosen: Sequence[Chosen], now: datetime) -> Sightings:
    """Return what is known when a person says that these are the host's.

    Raises:
        Fault: SNAPSHOT_SUSPECT, one is dated in the future: nobody knows its time.
    """
    names = {one.name for it in chosen for one in it.snapshots}
    for name in sorted(names):
        if is_ahead(name, now):
            mend = "Name the others, and move this one aside; or wait until that time, if it is the host's."
            raise Fault(SNAPSHOT_SUSPECT, "it is dated in the future", where=str(name), mend=mend)
    shown = [shown for it in chosen for shown in it.stock.shown if shown[0] in names]
    return seen.seen.trusting(shown, now)


def _choose(stock: Stock, seen: Observation, wanted: Sequence[str], now: datetime) -> Chosen:
    doubts = seen.suspects(stock, now)
    if wanted:
        found = [one for word in wanted for one in _meant(stock, word)]
    else:
        found = [one for one in stock.listed if one.name in doubts]
    chosen = tuple(sorted(dict.fromkeys(found), key=lambda one: one.name))
    names = {one.name for one in chosen}
    for it in stock.known:
        if it.base in names and it.name not in names:
            what = f"{it.name} holds what changed since {it.base}"
            raise Fault(BASE_MISSING, what, where=stock.place.label, mend=f"Name {it.name}, too, or leave {it.base}.")
    return Chosen(stock, chosen, tuple(doubts.get(one.name, "") for one in chosen))


def _meant(stock: Stock, word: str) -> list[Listed]:
    number = int(word) if word.isascii() and word.isdigit() else None
    found = [one for one in stock.listed if str(one.name) == word or one.name.sequence == number]
    if len(found) > 1:
        several = ", ".join(str(one.name) for one in found)
        raise Fault(SNAPSHOT_MISSING, f"several have the number {word}: {several}", where=stock.place.label)
    return found
