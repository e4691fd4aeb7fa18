"""Which snapshots to keep: a pure decision by rules, with reasons.

The order is that of the sequence numbers, never of the clock. Before snapshots are put into hours, days and so on,
their times are made to rise along the sequence: one that claims to be older than its predecessor counts as of its
predecessor's time. So a clock set back, or a flood of back-dated snapshots, fills one bucket instead of pushing
honest ones out of theirs.

The rules are asked twice: of all snapshots that count, and of those that came as the schedule makes them
(:mod:`hermes_backup.snapshots.sightings`). What either keeps stays. So nobody who can sign snapshots makes old ones go
sooner than the schedule by itself does, however many there are and whatever dates they have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate

from hermes_backup.snapshots.names import SnapshotName

SKEW = timedelta(minutes=5)
"""Clocks of two machines differ a little, and a snapshot may be pruned against right after it was begun."""

AHEAD = "it is dated in the future"
_UNITS = {"y": 365 * 24, "m": 30 * 24, "w": 7 * 24, "d": 24, "h": 1}
_WITHIN = re.compile(
    r"(?:([0-9]{1,5})y)?(?:([0-9]{1,5})m)?(?:([0-9]{1,5})w)?(?:([0-9]{1,5})d)?(?:([0-9]{1,5})h)?", re.ASCII
)


@dataclass(frozen=True)
class Rules:
    """How many to keep of each sort; ``keep_within`` keeps all that are at most so much older than the newest."""

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within: timedelta | None = None

    @property
    def empty(self) -> bool:
        """Whether there is no rule, which keeps everything."""
        return not (self.keep_last > 0 or self.by_time)

    @property
    def by_time(self) -> bool:
        """Whether a rule goes by time."""
        return any(count > 0 for count in (*self._counts(), int(bool(self.keep_within))))

    def _counts(self) -> tuple[int, ...]:
        return (self.keep_hourly, self.keep_daily, self.keep_weekly, self.keep_monthly, self.keep_yearly)


@dataclass(frozen=True)
class Candidate:
    """A snapshot that may go.

    Attributes:
        verified: its bytes were seen to be right where it lies.
        base: the one that it needs, as a delta.
        first: when it was first seen; it counts as no newer than that. None where nobody keeps that in mind.
        regular: it came as the schedule makes them; the newest of these never give way to others.
        doubt: why it does not count; empty for one that does.
        bound: why it stays, whatever the rules say.
    """

    name: SnapshotName
    verified: bool
    base: SnapshotName | None = None
    bound: str = ""
    first: datetime | None = None
    regular: bool = True
    doubt: str = ""

    @property
    def time(self) -> datetime:
        """The time by which it is kept."""
        return self.name.time if self.first is None else min(self.name.time, self.first)


@dataclass(frozen=True)
class Decision:
    """Whether a snapshot stays, and why; there is no reason for one that goes. A ``suspect`` stays, and counts not."""

    name: SnapshotName
    keep: bool
    reasons: tuple[str, ...]
    suspect: bool = False


def decide(snapshots: Sequence[Candidate], rules: Rules, now: datetime) -> tuple[Decision, ...]:
    """Return a decision for each snapshot, oldest first; the newest and the last verified one always stay.

    What a delta that stays was made against stays, too. One that lies in the future does not count until then.

    As in restic, the newest of each hour, day, ISO week, month or year (UTC) stands for it.
    """
    ordered = sorted((_doubted(one, now) for one in snapshots), key=lambda one: one.name)
    counted = [one for one in ordered if not one.doubt]
    suspects = {one.name: [one.doubt] for one in ordered if one.doubt}
    if rules.empty:
        reasons = {one.name: ["no rule: everything is kept"] for one in counted} | suspects
    else:
        reasons = _kept(counted, [one for one in counted if one.regular], rules, suspects)
        for one in ordered:
            if one.bound:
                reasons.setdefault(one.name, []).append(one.bound)
        _complete(ordered, counted, reasons, by_time=rules.by_time)
    return tuple(
        Decision(one.name, one.name in reasons, tuple(reasons.get(one.name, ())), bool(one.doubt)) for one in ordered
    )


def is_ahead(name: SnapshotName, now: datetime) -> bool:
    """Whether a snapshot is dated later than clocks differ."""
    return name.time > now + SKEW


def parse_within(text: str) -> timedelta:
    """Read a span such as ``30d``, ``12h`` or ``1y6m``: years of 365 days, months of 30, weeks, days, hours.

    Raises:
        ValueError: it is none, or nothing.
    """
    match = _WITHIN.fullmatch(text)
    hours = sum(int(n) * u for n, u in zip(match.groups(), _UNITS.values(), strict=True) if n) if match else 0
    if not hours:
        raise ValueError(f"not a span of time such as 30d, 12h or 1y6m: {text[:40]!r}")
    return timedelta(hours=hours)


def _doubted(one: Candidate, now: datetime) -> Candidate:
    return replace(one, doubt=AHEAD) if not one.doubt and is_ahead(one.name, now) else one


def _kept(
    counted: Sequence[Candidate], regular: Sequence[Candidate], rules: Rules, suspects: Mapping[SnapshotName, list[str]]
) -> dict[SnapshotName, list[str]]:
    """Return what the rules keep, with reasons, and the suspects with theirs."""
    reasons = {name: list(given) for name, given in suspects.items()}
    for name, reason in _by_pool(counted, rules):
        reasons.setdefault(name, []).append(reason)
    for name, reason in _by_pool(regular, rules):
        if name not in reasons:
            reasons[name] = [f"{reason} of the schedule"]
    return reasons


def _by_pool(ordered: Sequence[Candidate], rules: Rules) -> Iterator[tuple[SnapshotName, str]]:
    for index, reason in _by_both_clocks([one.time for one in ordered], rules) if ordered else ():
        yield ordered[index].name, reason
    verified = [one.name for one in ordered if one.verified]
    if verified:
        yield verified[-1], "last verified"


def _complete(
    ordered: Sequence[Candidate],
    counted: Sequence[Candidate],
    reasons: dict[SnapshotName, list[str]],
    *,
    by_time: bool,
) -> None:
    """Add what those that stay need beside them: a base needs its witness, and a witness that is a delta its base."""
    pools = (counted, [one for one in counted if one.regular]) if by_time else ()
    while True:
        needed = {one.base: one.name for one in ordered if one.name in reasons and one.base is not None}
        found = [(one.name, f"base of {needed[one.name]}") for one in ordered if one.name in needed]
        found += [(name, "tells the time of later ones") for pool in pools for name in _witnesses(pool, reasons)]
        lacking = [(name, reason) for name, reason in found if reason not in reasons.get(name, ())]
        if not lacking:
            return
        for name, reason in dict.fromkeys(lacking):
            reasons.setdefault(name, []).append(reason)


def _by_both_clocks(times: Sequence[datetime], rules: Rules) -> list[tuple[int, str]]:
    """Keep what the rules keep by either reading of times that do not follow the numbers.

    A snapshot dated too early may count as late as any before it, one dated too late as early as any after it:
    whoever can sign one snapshot with a wrong date must not push the others out of their days and weeks.
    """
    late = tuple(accumulate(times, max))
    early = tuple(accumulate(reversed(times), min))[::-1]
    kept = _by_rules(late, rules)
    return kept + [one for one in _by_rules(early, rules) if one not in kept]


def _by_rules(times: Sequence[datetime], rules: Rules) -> list[tuple[int, str]]:
    newest_first = range(len(times) - 1, -1, -1)
    kept = [(index, f"last {place}") for place, index in enumerate(newest_first, 1) if place <= rules.keep_last]
    for label, count, bucket in _buckets(rules):
        seen: set[str] = set()
        for index in newest_first:
            key = bucket(times[index])
            if key not in seen and len(seen) < count:
                seen.add(key)
                kept.append((index, f"{label} {key}"))
    if rules.keep_within:
        start = times[-1] - rules.keep_within
        kept += [(index, f"within {rules.keep_within} of the newest") for index, t in enumerate(times) if t >= start]
    return kept


def _buckets(rules: Rules) -> tuple[tuple[str, int, Callable[[datetime], str]], ...]:
    return (
        ("hourly", rules.keep_hourly, lambda t: f"{t:%Y-%m-%dT%H}"),
        ("daily", rules.keep_daily, lambda t: f"{t:%Y-%m-%d}"),
        ("weekly", rules.keep_weekly, lambda t: "{}-W{:02d}".format(*t.isocalendar())),
        ("monthly", rules.keep_monthly, lambda t: f"{t:%Y-%m}"),
        ("yearly", rules.keep_yearly, lambda t: f"{t:%Y}"),
    )


def _witnesses(ordered: Sequence[Candidate], kept: Collection[SnapshotName]) -> list[SnapshotName]:
    """Return what a kept snapshot got its time from: without it the next decision would be another one."""

    def later(held: int, index: int) -> int:
        return index if ordered[index].time >= ordered[held].time else held

    source = list(accumulate(range(len(ordered)), later))
    wanted = {ordered[source[index]].name for index, one in enumerate(ordered) if one.name in kept}
    return sorted(wanted - set(kept))
