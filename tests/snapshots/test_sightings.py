"""Whoever holds a host's key makes no old snapshot go: sequences of honest and forged ones, looked at and pruned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_backup.errors import PRUNE_CLOCK, Fault
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.retention import AHEAD, Candidate, Decision, Rules, decide
from hermes_backup.snapshots.sightings import PASSED, REPLACED, TOO_MANY, TWICE, Pace, Shown, Sightings

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
DAY = timedelta(days=1)
DAILY = Pace(DAY, limited=True)
PLACE = "r2:hermes"

few = st.integers(0, 4)
within = st.none() | st.integers(1, 40).map(lambda days: days * DAY)
rules = st.builds(Rules, few, few, few, few, few, few, within).filter(lambda it: not it.empty)


@dataclass
class World:
    """A place that is looked at, and pruned by the rules."""

    rules: Rules
    pace: Pace = DAILY
    there: dict[SnapshotName, str] = field(default_factory=dict)
    seen: Sightings = field(default_factory=lambda: Sightings(fingerprint="F"))
    decided: Sequence[Decision] = ()

    def prune(self, now: datetime) -> None:
        self.seen = self.seen.look({PLACE: list(self.there.items())}, now, self.pace).only([PLACE], self.there)
        self.decided = decide([self.candidate(it, now) for it in self.there.items()], self.rules, now)
        self.there = {it.name: self.there[it.name] for it in self.decided if it.keep}

    def candidate(self, shown: Shown, now: datetime) -> Candidate:
        it = self.seen.of(shown, now)
        regular = it.standing == "regular"
        return Candidate(shown[0], verified=False, first=it.first, regular=regular, doubt=it.why)

    def standing(self, name: SnapshotName) -> str:
        return self.seen.seen[str(name)].standing if str(name) in self.seen.seen else "unseen"


def names_of(numbers: Iterable[int], at: datetime = START) -> dict[SnapshotName, str]:
    return {SnapshotName(it, at): f"manifest {it}" for it in numbers}


def looked(*looks: tuple[Iterable[Shown], float], pace: Pace = DAILY) -> Sightings:
    """What is known after looks at so many days after the start."""
    seen = Sightings(fingerprint="F")
    for shown, days in looks:
        seen = seen.look({PLACE: list(shown)}, START + days * DAY, pace)
    return seen


nights = st.lists(
    st.tuples(st.booleans(), st.integers(0, 86_399), st.booleans()), min_size=1, max_size=70
)  # was there a run, at which second of the day, and is it pruned in the night after


@settings(max_examples=60)
@given(nights, rules)
def test_an_honest_history_is_kept_by_the_declared_rules(history: list[tuple[bool, int, bool]], chosen: Rules) -> None:
    world = World(chosen)
    plain: list[SnapshotName] = []
    number = 0
    for day, (ran, second, pruned) in enumerate(history):
        if ran:
            number += 1
            name = SnapshotName(number, START + day * DAY + timedelta(seconds=second))
            world.there[name] = f"manifest {number}"
            plain.append(name)
        if pruned:
            now = START + (day + 1) * DAY
            world.prune(now)
            plain = [it.name for it in decide([Candidate(it, False) for it in plain], chosen, now) if it.keep]
            assert list(world.there) == plain
            assert not any(it.suspect for it in world.decided)


@dataclass(frozen=True)
class Forgery:
    """What somebody with the host's key writes on a day: which number, counted from the highest, and which date."""

    above: int
    dated: timedelta


forgeries = st.builds(
    Forgery,
    st.integers(-40, 30) | st.just(10**6),
    st.integers(-60 * 24, 24).map(lambda hours: timedelta(hours=hours)) | st.just(timedelta(days=730)),
)
days = st.lists(
    st.tuples(st.lists(forgeries, max_size=12), st.sampled_from(["before", "after", "never"])), min_size=20, max_size=60
)


@settings(max_examples=40, deadline=None)
@given(days, rules, st.integers(1, 30), st.booleans())
def test_forged_ones_make_none_go_that_the_schedule_keeps(
    history: list[tuple[list[Forgery], str]], chosen: Rules, quiet: int, goes_on: bool
) -> None:
    """Each day has its honest snapshot, and from some day on forged ones, too.

    What is kept is compared with another place, where the rules alone prune the honest ones, at the same times.
    ``goes_on``: the host takes its next number from what lies there, and not from its own ledger.
    """
    world, honest = World(chosen), Honest(chosen)
    seen_in_time: set[int] = set()
    for day, (forged, when) in enumerate(history):
        morning = START + day * DAY
        top = max((it.sequence for it in world.there), default=0)
        honest.names[day] = SnapshotName(top + 1 if goes_on else day + 1, morning)
        world.there[honest.names[day]] = f"honest {day}"
        for half, hour in (("before", 6), ("after", 22)):
            now = morning + timedelta(hours=hour)
            if half == ("before" if day == 0 else when):  # the first look comes before any forgery
                world.prune(now)
                seen_in_time |= {it for it, name in honest.names.items() if world.standing(name) == "regular"}
                kept = honest.kept(now)
                assert not {it for it in kept & seen_in_time if honest.names[it] not in world.there}
                assert all(it.keep for it in world.decided if it.suspect)
            if half == "before" and day >= quiet:
                top = max(it.sequence for it in world.there)
                for index, it in enumerate(forged):
                    time = max(START, now + it.dated)
                    world.there.setdefault(SnapshotName(max(1, top + it.above), time), f"forged {day} {index}")


@dataclass
class Honest:
    """The honest snapshots by day, and what the plain rules leave of them where there is nothing else."""

    rules: Rules
    names: dict[int, SnapshotName] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)

    def kept(self, now: datetime) -> set[int]:
        """Prune, and return the days that are left; the newest forged one may be a day newer than the newest here."""
        span = self.rules.keep_within
        left = [it for it in self.names if it not in self.gone]
        plain = replace(self.rules, keep_within=None if span is None else span - DAY or None)
        decided = decide([Candidate(SnapshotName(it + 1, START + it * DAY), False) for it in left], plain, now)
        kept = {it.name.sequence - 1 for it in decided if it.keep} if not plain.empty else set(left[-1:])
        self.gone |= set(left) - kept
        return kept


def test_the_first_look_believes_and_later_ones_doubt() -> None:
    first = looked((names_of(range(1, 40, 2)).items(), 0))
    assert {it.standing for it in first.seen.values()} == {"regular"}
    assert (first.highest, first.grown) == (39, START)
    (gap,) = names_of([4])
    (next_,) = names_of([40], START + DAY)
    after = first.look({PLACE: [(gap, "x"), (next_, "y")]}, START + DAY, DAILY)
    assert (after.seen[str(gap)].why, after.seen[str(next_)].why) == (PASSED, "")
    assert after.of((next_, "y"), START + DAY).standing == "regular"
    assert after.of((next_, "z"), START + DAY).why == REPLACED
    twice = first.look({PLACE: [(it, "x") for it in (next_, replace(next_, time=START))]}, START + DAY, DAILY)
    assert [it.why for name, it in twice.seen.items() if name.startswith("000040")] == [TWICE, TWICE]


def test_a_place_is_believed_at_its_first_look() -> None:
    first = looked((names_of(range(50, 60)).items(), 0))
    both = {PLACE: list(names_of(range(50, 60)).items()), "nas:": list(names_of(range(1, 60)).items())}
    after = first.look(both, START + DAY, DAILY)
    assert {it.standing for it in after.seen.values()} == {"regular"}
    late = {**both, "nas:": [*both["nas:"], *names_of([3], START + DAY).items()]}
    assert [it.why for it in after.look(late, START + 2 * DAY, DAILY).seen.values() if it.why] == [PASSED]


@pytest.mark.parametrize(("days", "count", "why"), [(1, 10, ""), (1, 11, TOO_MANY), (7, 22, ""), (7, 23, TOO_MANY)])
def test_as_many_are_no_alarm_as_a_person_may_make(days: int, count: int, why: str) -> None:
    """Twice what a nightly schedule makes in the time, and six by hand."""
    new = names_of(range(101, 101 + count), START + days * DAY)
    after = looked((names_of([100]).items(), 0), ((names_of([100]) | new).items(), days))
    assert {after.seen[str(it)].why for it in new} == {why}
    if not why:
        standing = [after.seen[str(it)].standing for it in new]
        assert standing == ["regular", *["extra"] * (count - 1)], "one for the slot"


def test_what_was_too_many_stays_aside_and_the_next_ones_count() -> None:
    flood = names_of(range(101, 140), START + DAY)
    first = (names_of([100]).items(), 0.0)
    after = looked(first, ((names_of([100]) | flood).items(), 1))
    assert after.highest == 100
    next_ = SnapshotName(102, START + 2 * DAY)
    there = names_of([100]) | flood | {next_: "honest"}
    after = after.look({PLACE: list(there.items())}, START + 2 * DAY, DAILY)
    assert (after.seen[str(next_)].standing, after.highest) == ("regular", 102)
    trusted = after.trusting(flood.items(), START + 2 * DAY)
    assert ({it.why for it in trusted.seen.values()}, trusted.highest) == ({""}, 139)
    aside = trusted.without(flood)
    assert (set(aside.seen), aside.highest) == ({str(it) for it in (*names_of([100]), next_)}, 102)


def test_one_of_the_future_is_not_seen_before_its_time() -> None:
    ahead = SnapshotName(2, START + 9 * DAY)
    there = [*names_of([1]).items(), (ahead, "x")]
    after = looked((there, 0), (there, 1))
    assert str(ahead) not in after.seen
    assert after.of((ahead, "x"), START + DAY).why == AHEAD
    assert after.look({PLACE: there}, START + 9 * DAY, DAILY).of((ahead, "x"), START + 9 * DAY).standing == "regular"


def test_what_a_listing_shows_is_doubted_as_a_look_would() -> None:
    before = looked((names_of(range(1, 40, 2)).items(), 0))
    names = [*names_of([1, 3, 4]), SnapshotName(99, START + DAY), SnapshotName(41, START + 9 * DAY)]
    doubts = before.doubts(PLACE, names, START + DAY, DAILY)
    assert {it.sequence: why for it, why in doubts.items()} == {4: PASSED, 99: TOO_MANY, 41: AHEAD}
    assert before.doubts("nas:", names, START + DAY, DAILY).keys() == {names[-1]}, "a place never seen before"


def test_a_clock_that_is_rather_wrong_itself() -> None:
    there = list(names_of([1, 2], START).items())
    seen = looked((there, 1))
    with pytest.raises(Fault) as caught:
        seen.look({PLACE: there}, START + DAY - timedelta(hours=1), DAILY)
    assert caught.value.kind is PRUNE_CLOCK
    just_made = SnapshotName(3, START - 2 * DAY)
    with pytest.raises(Fault) as caught:
        Sightings(fingerprint="F").look({PLACE: [*there, (just_made, "x")]}, just_made.time, DAILY, just_made)
    assert caught.value.kind is PRUNE_CLOCK


def test_the_last_verified_of_the_schedule_stays_beside_that_of_all() -> None:
    name = [SnapshotName(it, START + it * DAY) for it in range(1, 6)]
    there = [Candidate(it, verified=it.sequence in (2, 5), regular=it.sequence < 5) for it in name]
    kept = [it.name.sequence for it in decide(there, Rules(keep_last=1), START + 9 * DAY) if it.keep]
    assert kept == [2, 4, 5]


def test_what_is_kept_is_private_and_of_one_key(tmp_path: Path) -> None:
    path = tmp_path / "history" / "nightly.json"
    seen = looked((names_of([1]).items(), 0))
    seen.write(path)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert Sightings.recall(path, "F") == (seen, "")
    other, notice = Sightings.recall(path, "another key")
    assert (other.seen, "first look" in notice) == ({}, True)
    path.unlink()
    path.mkdir()
    with pytest.raises(Fault, match="Is a directory"):
        Sightings.recall(path, "F")
