"""Which snapshots to keep: a pure decision by rules, with reasons.

The order is that of the sequence numbers, never of the clock. Before snapshots are put into hours, days and so on,
their times are made to rise along the sequence: one that claims to be older than its predecessor counts as of its
predecessor's time. So a clock set back, or a flood of back-dated snapshots, fills one bucket instead of pushing
honest ones out of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from hermes_backup.errors import PRUNE_CLOCK, Fault
from hermes_backup.snapshots.names import SnapshotName

# clocks of two machines differ a little, and a snapshot may be pruned against right after it was begun
_SKEW = timedelta(minutes=5)
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
        bound: why it stays, whatever the rules say.
    """

    name: SnapshotName
    verified: bool
    base: SnapshotName | None = None
    bound: str = ""


@dataclass(frozen=True)
class Decision:
    """Whether a snapshot stays, and why; there is no reason for one that goes."""

    name: SnapshotName
    keep: bool
    reasons: tuple[str, ...]


def decide(snapshots: Sequence[Candidate], rules: Rules, now: datetime) -> tuple[Decision, ...]:
    """Return a decision for each snapshot, oldest first; the newest and the last verified one always stay.

    What a delta that stays was made against stays, too.

    As in restic, the newest of each hour, day, ISO week, month or year (UTC) stands for it.

    Raises:
        Fault: PRUNE_CLOCK when ``now`` lies before the newest snapshot.
    """
    ordered = sorted(snapshots, key=lambda one: one.name)
    if not ordered:
        return ()
    latest = max(one.name.time for one in ordered)
    if now + _SKEW < latest:
        raise Fault(PRUNE_CLOCK, f"the clock says {now:%Y-%m-%d %H:%M} UTC, a snapshot {latest:%Y-%m-%d %H:%M}")
    if rules.empty:
        return tuple(Decision(one.name, True, ("no rule: everything is kept",)) for one in ordered)
    reasons: list[list[str]] = [[] for _ in ordered]
    for index, reason in _by_both_clocks([one.name.time for one in ordered], rules):
        reasons[index].append(reason)
    for index, one in enumerate(ordered):
        if one.bound:
            reasons[index].append(one.bound)
    verified = [index for index, one in enumerate(ordered) if one.verified]
    if verified:
        reasons[verified[-1]].append("last verified")
    # a base needs its witness, and a witness that is a delta its base
    while lacking := _lacking(ordered, reasons, by_time=rules.by_time):
        for index, reason in lacking:
            reasons[index].append(reason)
    return tuple(Decision(one.name, bool(given), tuple(given)) for one, given in zip(ordered, reasons, strict=True))


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


def _lacking(ordered: Sequence[Candidate], reasons: Sequence[Sequence[str]], *, by_time: bool) -> list[tuple[int, str]]:
    """Return what those that stay need beside them and has no such reason yet, with that reason."""
    witnesses = _witnesses(ordered, [bool(given) for given in reasons]) if by_time else set()
    needed = {one.base: one.name for one, given in zip(ordered, reasons, strict=True) if given}
    bases = [(index, f"base of {needed[one.name]}") for index, one in enumerate(ordered) if one.name in needed]
    found = [(index, "tells the time of later ones") for index in witnesses] + bases
    return [(index, reason) for index, reason in found if reason not in reasons[index]]


def _witnesses(ordered: Sequence[Candidate], kept: Sequence[bool]) -> set[int]:
    """Return what a kept snapshot got its time from: without it the next decision would be another one."""

    def later(held: int, index: int) -> int:
        return index if ordered[index].name.time >= ordered[held].name.time else held

    source = list(accumulate(range(len(ordered)), later))
    staying = {index for index, keep in enumerate(kept) if keep}
    return {source[index] for index in staying} - staying
