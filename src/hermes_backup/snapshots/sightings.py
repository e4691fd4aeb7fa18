"""When each snapshot of a pipeline was first seen, so that none that appears later makes an older one go.

Whoever holds a host's signing key can sign any number and any date. He cannot change what the machine that prunes has
seen. The first look at a place believes what lies there. From then on a new snapshot

- is a suspect where its number was passed before it was seen, where another one has its number, or where the numbers
  went on further than a schedule makes them: it does not count, stays, and is told;
- is regular as the first in its slot, the time in which the schedule makes one; the rules of retention are also asked
  of the regular ones alone;
- counts as any other where it is neither, such as one that somebody made by hand.

One that is dated in the future is not seen before its time has come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from hermes_backup.errors import PRUNE_CLOCK, Fault, from_system
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.retention import AHEAD, SKEW, is_ahead
from hermes_backup.streams.private import write_private

Shown = tuple[SnapshotName, str]
"""A snapshot, and the SHA-256 of its manifest as signed."""
Standing = Literal["regular", "extra", "suspect"]

PASSED = "later ones were seen before it"
TWICE = "another one has its number"
TOO_MANY = "there are more than the schedule makes"
REPLACED = "it has another manifest than the one that was seen under its name"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TIMES_THE_SCHEDULE = 2
_BY_HAND = 6


@dataclass(frozen=True)
class Pace:
    """How fast snapshots may come.

    Attributes:
        slot: the time in which the schedule makes one; zero where each new one is believed to be regular.
        limited: there is a schedule to judge by how many there may be.
    """

    slot: timedelta
    limited: bool

    def allows(self, elapsed: timedelta) -> int:
        """Return how many may come in a time: twice what the schedule makes, and six by hand.

        Nightly, looked at daily, that is ten; every 15 minutes, 200. It only decides what is told: none of them makes
        an older one go sooner than the schedule does.
        """
        return _TIMES_THE_SCHEDULE * (elapsed // self.slot + 1) + _BY_HAND

    def slot_of(self, time: datetime) -> int:
        """Return the number of the slot that a time lies in."""
        return (time - _EPOCH) // self.slot if self.slot else 0


class Sighting(BaseModel):
    """A snapshot when it was first seen; ``why`` it is a suspect."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest_sha256: str
    first: AwareDatetime
    standing: Standing
    why: str = ""


class Sightings(BaseModel):
    """What was seen of a pipeline of a host, in whatever place.

    Attributes:
        fingerprint: the key by which all of it is signed; a host that was set up anew begins anew.
        places: the labels of those that were ever looked at.
        highest: the highest number that ever counted.
        grown: when that was first seen, or the first look where none was there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    places: tuple[str, ...] = ()
    highest: int = 0
    grown: AwareDatetime | None = None
    seen: dict[str, Sighting] = {}

    @classmethod
    def read(cls, path: Path, fingerprint: str) -> Sightings:
        """Read what was written; nothing before the first look, or where the host has another key now.

        Raises:
            ValueError: it is damaged; OSError: it cannot be read.
        """
        try:
            kept = cls.model_validate_json(path.read_bytes())
            for name in kept.seen:
                SnapshotName.parse(name)
        except FileNotFoundError:
            return cls(fingerprint=fingerprint)
        except ValueError:  # as pydantic's ValidationError is
            raise ValueError(f"{path} is damaged") from None
        return kept if kept.fingerprint == fingerprint else cls(fingerprint=fingerprint)

    def write(self, path: Path) -> None:
        """Replace what was written."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, self.model_dump_json().encode(), durable=True)

    @classmethod
    def recall(cls, path: Path, fingerprint: str) -> tuple[Sightings, str]:
        """Return what was written, and what is to be said where there is nothing to go by.

        Raises:
            Fault: STAGE_FAILED, it cannot be read.
        """
        try:
            kept = cls.read(path, fingerprint)
        except ValueError as error:
            return cls(fingerprint=fingerprint), f"{error}: what lies there now is believed, as at a first look"
        except OSError as error:
            raise from_system(error, str(path)) from None
        return kept, "" if kept.places else "first look from here: what lies there now is believed"

    def look(
        self, shown: Mapping[str, Sequence[Shown]], now: datetime, pace: Pace, made: SnapshotName | None = None
    ) -> Sightings:
        """Return what is known after a look at these places, by label; ``made`` is one that was begun by this clock.

        Raises:
            Fault: PRUNE_CLOCK, ``now`` lies before an earlier look, or before all others: rather the clock is wrong.
        """
        self._demand_clock([name for some in shown.values() for name, _ in some if name != made], now)
        return self._after(shown, now, pace)

    def only(self, places: Collection[str], names: Collection[SnapshotName]) -> Sightings:
        """Return this without what lies in none of the places that there are, and without other places."""
        there = {str(it) for it in names}
        seen = {name: it for name, it in self.seen.items() if name in there}
        return self.model_copy(update={"places": tuple(it for it in self.places if it in places), "seen": seen})

    def without(self, moved: Collection[SnapshotName]) -> Sightings:
        """Return this as if these had never been seen, for they were moved aside."""
        gone = {str(it) for it in moved}
        left = {name: it for name, it in self.seen.items() if name not in gone}
        if self.highest not in {it.sequence for it in moved}:
            return self.model_copy(update={"seen": left})
        counted = {SnapshotName.parse(name).sequence: it.first for name, it in left.items() if it.standing != "suspect"}
        highest = max(counted, default=0)
        return self.model_copy(update={"seen": left, "highest": highest, "grown": counted.get(highest, self.grown)})

    def trusting(self, shown: Iterable[Shown], now: datetime) -> Sightings:
        """Return this with some that count from now on, as they are: a person says that they are the host's."""
        told = {str(name): manifest_sha256 for name, manifest_sha256 in shown if str(name) in self.seen}
        trusted = {
            name: Sighting(manifest_sha256=it, first=self.seen[name].first, standing="regular")
            for name, it in told.items()
        }
        highest = max([self.highest, *(SnapshotName.parse(it).sequence for it in told)])
        grown = now if highest > self.highest else self.grown
        return self.model_copy(update={"seen": {**self.seen, **trusted}, "highest": highest, "grown": grown})

    def of(self, shown: Shown, now: datetime) -> Sighting:
        """Return how a snapshot stands now that a place shows it, after a look at that place."""
        name, manifest_sha256 = shown
        if is_ahead(name, now):
            return Sighting(manifest_sha256=manifest_sha256, first=now, standing="suspect", why=AHEAD)
        seen = self.seen[str(name)]
        if manifest_sha256 == seen.manifest_sha256:
            return seen
        return seen.model_copy(update={"standing": "suspect", "why": REPLACED})

    def doubts(self, place: str, names: Collection[SnapshotName], now: datetime, pace: Pace) -> dict[SnapshotName, str]:
        """Return which of the names that a place lists would not count at a look, each with the reason."""
        unread = Sighting(manifest_sha256="", first=now, standing="extra")
        shown = [(name, self.seen.get(str(name), unread).manifest_sha256) for name in names]
        after = self._after({place: shown}, now, pace)
        found = {it[0]: after.of(it, now) for it in shown}
        return {name: it.why for name, it in found.items() if it.standing == "suspect"}

    def _demand_clock(self, names: Collection[SnapshotName], now: datetime) -> None:
        later = [it.first for it in self.seen.values() if now + SKEW < it.first]
        if later:
            what = f"the clock says {_show(now)}, and snapshots were seen at {_show(max(later))}"
            raise Fault(PRUNE_CLOCK, what)
        if names and all(is_ahead(it, now) for it in names):
            first = min(it.time for it in names)
            what = f"the clock says {_show(now)}, and all snapshots are later, the first {_show(first)}"
            raise Fault(PRUNE_CLOCK, what)

    def _after(self, shown: Mapping[str, Sequence[Shown]], now: datetime, pace: Pace) -> Sightings:
        new: dict[SnapshotName, str] = {}
        believed: dict[SnapshotName, str] = {}
        for place, some in shown.items():
            for name, manifest_sha256 in some:
                if str(name) not in self.seen and not is_ahead(name, now):
                    (new if place in self.places else believed).setdefault(name, manifest_sha256)
        believed = {name: it for name, it in believed.items() if name not in new}
        added = self._judged(new, now, pace) | {
            str(name): Sighting(manifest_sha256=it, first=now, standing="regular") for name, it in believed.items()
        }
        counted = [it.sequence for it in (*new, *believed) if added[str(it)].standing != "suspect"]
        grown = max(counted, default=0) > self.highest
        return self.model_copy(
            update={
                "places": tuple(dict.fromkeys((*self.places, *shown))),
                "seen": {**self.seen, **added},
                "highest": max(counted) if grown else self.highest,
                "grown": now if grown or self.grown is None else self.grown,
            }
        )

    def _judged(self, new: Mapping[SnapshotName, str], now: datetime, pace: Pace) -> dict[str, Sighting]:
        """Say how new ones stand, in the order of their numbers."""
        numbers = Counter(it.sequence for it in new)
        allowed = pace.allows(timedelta(0) if self.grown is None else now - self.grown) if pace.limited else None
        too_many = allowed is not None and max(numbers, default=0) - self.highest > allowed
        regular = [(SnapshotName.parse(name), it.first) for name, it in self.seen.items() if it.standing == "regular"]
        filled = max((pace.slot_of(min(name.time, first)) for name, first in regular), default=-1)
        made: dict[str, Sighting] = {}
        for name in sorted(new):
            passed, twice = name.sequence <= self.highest, numbers[name.sequence] > 1
            why = PASSED if passed else TWICE if twice else TOO_MANY if too_many else ""
            slot = pace.slot_of(min(name.time, now))
            on_time = not pace.slot or slot > filled
            standing: Standing = "suspect" if why else "regular" if on_time else "extra"
            filled = slot if standing == "regular" else filled
            made[str(name)] = Sighting(manifest_sha256=new[name], first=now, standing=standing, why=why)
        return made


def _show(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
