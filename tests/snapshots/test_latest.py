"""What ``latest`` means: the newest, or nothing; and nothing newer goes untold, whatever the places show."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.errors import DATA_DAMAGED, SIGNATURE_BAD, SNAPSHOT_UNREADABLE, Fault, Kind
from hermes_backup.snapshots.latest import Latest, Sighting, decide
from tests.snapshots.made import name_of

PASSING = (DATA_DAMAGED, SIGNATURE_BAD)


def sighting(number: int, place: str = "a", kind: Kind | None = None) -> Sighting:
    return Sighting(name_of(number), place, None if kind is None else Fault(kind, "why"))


SIGHTINGS = st.lists(
    st.builds(
        sighting,
        st.integers(1, 6),
        st.sampled_from("abc"),
        st.sampled_from([None, DATA_DAMAGED, SIGNATURE_BAD, SNAPSHOT_UNREADABLE]),
    ),
    max_size=12,
)


def may_pass(fault: Fault) -> bool:
    return fault.kind in PASSING


def told(latest: Latest) -> list[str]:
    """The names of the newer ones that are told, whether they stop or are passed over."""
    stop = () if latest.stop is None else (latest.stop,)
    return sorted(it.where.partition(": ")[2] for it in (*stop, *latest.passed))


@given(SIGHTINGS)
def test_the_newest_whole_one_is_taken_and_each_newer_one_is_told_once(seen: list[Sighting]) -> None:
    latest = decide(seen, may_pass)
    whole = {it.name for it in seen if it.fault is None}
    assert latest.taken == max(whole, default=None)
    newer = {it.name for it in seen if latest.taken is None or it.name > latest.taken}
    assert told(latest) == sorted(map(str, newer))
    older = {it.name for it in seen if it.name not in whole} - newer
    assert sorted(it.where.partition(": ")[2] for it in latest.older) == sorted(map(str, older))


@given(SIGHTINGS)
def test_it_stops_at_what_may_not_be_passed_over_and_only_there(seen: list[Sighting]) -> None:
    latest = decide(seen, may_pass)
    newer = [it for it in seen if it.fault is not None and (latest.taken is None or it.name > latest.taken)]
    stopping = [it.name for it in newer if it.fault is not None and not may_pass(it.fault)]
    assert (latest.stop is not None) == bool(stopping)
    if latest.stop is not None:
        assert latest.stop.where.endswith(str(max(stopping)))
        assert latest.stop.kind is SNAPSHOT_UNREADABLE
    assert decide(seen, lambda _: True).stop is None
    assert (decide(seen, lambda _: False).stop is None) == (not newer)


@given(SIGHTINGS, st.integers(1, 6), st.sampled_from([DATA_DAMAGED, SNAPSHOT_UNREADABLE]))
def test_what_is_older_or_whole_elsewhere_decides_nothing(seen: list[Sighting], number: int, kind: Kind) -> None:
    before = decide(seen, may_pass)
    if before.taken is None or name_of(number) > before.taken:
        return
    after = decide([*seen, sighting(number, "d", kind)], may_pass)
    assert (after.taken, told(after), after.stop is None) == (before.taken, told(before), before.stop is None)


@given(SIGHTINGS)
def test_the_place_is_named_that_keeps_it_from_being_passed_over(seen: list[Sighting]) -> None:
    latest = decide([*seen, sighting(9, "a", DATA_DAMAGED), sighting(9, "b", SNAPSHOT_UNREADABLE)], may_pass)
    assert latest.stop is not None
    assert latest.stop.where == f"b: {name_of(9)}"
