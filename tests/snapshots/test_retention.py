from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.errors import REMOTE_UNREACHABLE, Fault
from hermes_backup.snapshots.catalog import Known, Listed, load_manifests, read_catalog
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.place import Place, StoredFile
from hermes_backup.snapshots.prune import Pruned
from hermes_backup.snapshots.prune import prune as delete
from hermes_backup.snapshots.prune_journal import PruneJournal
from hermes_backup.snapshots.retention import Candidate, Decision, Rules, decide, parse_within
from hermes_backup.snapshots.signing import HostKey, Pinned
from hermes_backup.stages.expire import bound_by_unread
from tests.snapshots.made import HOST, PIPELINE, START, manifest_of, name_of, store
from tests.snapshots.places import FOLDER, Cold, Made
from tests.thinning import thin

LATER = datetime(2040, 1, 1, tzinfo=timezone.utc)
hours = st.integers(0, 24 * 800)


def flood(given: Sequence[tuple[int, bool, int | None]]) -> list[Candidate]:
    """Snapshots of these hours; the number of one that is a delta picks its base among the full ones before it."""
    made: list[Candidate] = []
    for index, (hour, verified, pick) in enumerate(given, 1):
        full = [one.name for one in made if one.base is None]
        base = full[pick % len(full)] if full and pick is not None else None
        made.append(Candidate(SnapshotName(index, START + timedelta(hours=hour)), verified, base))
    return made


floods = st.lists(st.tuples(hours, st.booleans(), st.none() | st.integers(0, 40)), min_size=1, max_size=40).map(flood)
few = st.integers(0, 4)
rules = st.builds(
    Rules, few, few, few, few, few, few, st.none() | st.integers(1, 24 * 60).map(lambda h: timedelta(hours=h))
).filter(lambda rules: not rules.empty)


def kept(candidates: list[Candidate], chosen: Rules) -> set[SnapshotName]:
    return {one.name for one in decide(candidates, chosen, LATER) if one.keep}


def daily(count: int, verified: bool = False) -> list[Candidate]:
    return [Candidate(name_of(number), verified) for number in range(1, count + 1)]


@given(floods, rules)
def test_what_was_kept_is_kept_again(candidates: list[Candidate], chosen: Rules) -> None:
    once = kept(candidates, chosen)
    assert kept([one for one in candidates if one.name in once], chosen) == once


@given(floods, rules)
def test_the_newest_and_the_last_verified_always_stay(candidates: list[Candidate], chosen: Rules) -> None:
    stay = kept(candidates, chosen)
    assert candidates[-1].name in stay
    verified = [one.name for one in candidates if one.verified]
    assert not verified or verified[-1] in stay


@given(floods, st.integers(1, 50))
def test_keep_last_keeps_the_newest_by_sequence(candidates: list[Candidate], count: int) -> None:
    alone = [replace(one, verified=False, base=None) for one in candidates]
    assert kept(alone, Rules(keep_last=count)) == {one.name for one in candidates[-count:]}


@given(floods, rules, st.sampled_from([field.name for field in fields(Rules) if field.name != "keep_within"]))
def test_a_larger_rule_keeps_no_less(candidates: list[Candidate], chosen: Rules, field: str) -> None:
    more = replace(chosen, **{field: getattr(chosen, field) + 1})
    assert kept(candidates, chosen) <= kept(candidates, more)


@given(floods, rules, st.randoms())
def test_the_order_of_asking_does_not_matter(candidates: list[Candidate], chosen: Rules, random: object) -> None:
    mixed = list(candidates)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert decide(mixed, chosen, LATER) == decide(candidates, chosen, LATER)


@given(floods, rules)
def test_what_a_delta_that_stays_needs_stays(candidates: list[Candidate], chosen: Rules) -> None:
    stay = kept(candidates, chosen)
    assert {one.base for one in candidates if one.name in stay and one.base is not None} <= stay


@given(floods, rules)
def test_a_reason_is_given_for_what_stays_and_only_for_that(candidates: list[Candidate], chosen: Rules) -> None:
    for one in decide(candidates, chosen, LATER):
        assert one.keep == bool(one.reasons)


@given(floods, st.integers(1, 4))
def test_a_back_dated_flood_takes_one_place_a_bucket(candidates: list[Candidate], count: int) -> None:
    honest = daily(10)
    flood = [replace(one, name=SnapshotName(100 + n, START + timedelta(hours=n))) for n, one in enumerate(candidates)]
    stay = kept([*honest, *flood], Rules(keep_daily=count + 1))
    assert {one.name for one in honest[-count - 1 : -1]} <= stay


def test_each_bucket_keeps_its_newest() -> None:
    candidates = [Candidate(name_of(n, START + timedelta(hours=12 * n)), False) for n in range(1, 11)]
    decisions = decide(candidates, Rules(keep_daily=3), LATER)
    assert [one.name.sequence for one in decisions if one.keep] == [7, 9, 10]
    assert decisions[-1].reasons == ("daily 2026-01-06",)
    assert [d.name.sequence for d in decide(daily(60), Rules(keep_monthly=2), LATER) if d.keep] == [58, 60]
    assert [d.name.sequence for d in decide(daily(20), Rules(keep_weekly=2), LATER) if d.keep] == [17, 20]
    assert [d.name.sequence for d in decide(daily(800), Rules(keep_yearly=9), LATER) if d.keep] == [364, 729, 800]
    assert [d.name.sequence for d in decide(candidates, Rules(keep_hourly=2), LATER) if d.keep] == [9, 10]


def test_within_counts_from_the_newest() -> None:
    assert len(kept(daily(20), Rules(keep_within=timedelta(days=5)))) == 6


def test_all_expired_by_age_still_leaves_one() -> None:
    assert kept(daily(20), Rules(keep_within=timedelta(hours=1))) == {name_of(20)}


def test_the_last_verified_stays() -> None:
    candidates = [replace(one, verified=one.name.sequence in (2, 5)) for one in daily(20)]
    decisions = {one.name.sequence: one for one in decide(candidates, Rules(keep_last=2), LATER)}
    assert [number for number, one in decisions.items() if one.keep] == [5, 19, 20]
    assert decisions[5].reasons == ("last verified",)


def test_without_rules_everything_stays() -> None:
    decisions = decide(daily(5), Rules(), LATER)
    assert all(one.keep and one.reasons == ("no rule: everything is kept",) for one in decisions)
    assert decide((), Rules(keep_last=1), LATER) == ()


def test_a_snapshot_of_the_future_stays_and_does_not_count() -> None:
    now = name_of(5).time + timedelta(minutes=1)
    ahead = Candidate(name_of(6, LATER), True)
    *others, last = decide([*daily(5), ahead], Rules(keep_last=2), now)
    assert [one.keep for one in others] == [False, False, False, True, True]
    assert (last.keep, last.suspect, last.reasons) == (True, True, ("it is dated in the future",))
    assert others == list(decide(daily(5), Rules(keep_last=2), now))


def test_clocks_that_differ_by_seconds_do_not_matter() -> None:
    assert decide(daily(5), Rules(keep_last=1), name_of(5).time - timedelta(seconds=30))


@pytest.mark.parametrize(
    ("text", "days"),
    [("30d", 30), ("12h", 0.5), ("1y6m", 365 + 180), ("2w", 14), ("1y1m1w1d24h", 365 + 30 + 7 + 1 + 1)],
)
def test_spans(text: str, days: float) -> None:
    assert parse_within(text) == timedelta(days=days)


@pytest.mark.parametrize("text", ["", "0d", "30", "d", "-1d", "1d1y", "1 d", "1.5d", "1d\n", "999999999d", "٣d"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(ValueError, match="not a span of time"):
        parse_within(text)


def chain(place: FolderPlace, key: HostKey, count: int) -> None:
    previous = None
    for number in range(1, count + 1):
        previous = store(place, key, name_of(number), previous)


def known_in(place: FolderPlace, pinned: Pinned) -> list[Known]:
    listed = read_catalog(place, HOST, PIPELINE).listed
    return [one for one in load_manifests(place, HOST, PIPELINE, listed, pinned) if isinstance(one, Known)]


def prune(place: Place, root: Path, decisions: Sequence[Decision], knowns: Sequence[Known]) -> Pruned:
    """Delete what is decided against, with a journal of its own."""
    return delete(place, FOLDER, decisions, knowns, PruneJournal(root / "journal.json"))


def go(*names: SnapshotName) -> list[Decision]:
    return [Decision(name, False, ()) for name in names]


def test_prune_deletes_what_goes_and_nothing_else(
    made: Made, host_key: HostKey, pinned: Pinned, tmp_path: Path
) -> None:
    chain(made.place, host_key, 4)  # type: ignore[arg-type]
    made.place.put(f"{FOLDER}/000001-20260102T033000Z.notes", b"mine")
    knowns = known_in(made.place, pinned)  # type: ignore[arg-type]
    candidates = [Candidate(one.name, False) for one in knowns]
    done = prune(made.place, tmp_path, decide(candidates, Rules(keep_last=2), LATER), knowns)
    assert [name.sequence for name in done.deleted] == [1, 2]
    assert done.freed == sum(one.listed.size for one in knowns[:2])
    left = {file.name for file in made.place.list(FOLDER)}
    assert "000001-20260102T033000Z.notes" in left
    assert {name.split("-")[0] for name in left - {"000001-20260102T033000Z.notes"}} == {"000003", "000004"}


def test_prune_never_deletes_all(tmp_path: Path, host_key: HostKey, pinned: Pinned) -> None:
    place = FolderPlace(tmp_path)
    chain(place, host_key, 2)
    assert prune(place, tmp_path, go(name_of(1), name_of(2)), known_in(place, pinned)).deleted == ()


def test_prune_spares_what_has_no_valid_manifest(
    tmp_path: Path, host_key: HostKey, other_key: HostKey, pinned: Pinned
) -> None:
    place = FolderPlace(tmp_path)
    chain(place, host_key, 2)
    store(place, other_key, name_of(3))
    done = prune(place, tmp_path, go(name_of(1), name_of(3)), known_in(place, pinned))
    assert done.deleted == (name_of(1),)
    assert read_catalog(place, HOST, PIPELINE).listed[-1].complete


def test_the_base_of_a_delta_that_stays_stays() -> None:
    there = [Candidate(name_of(1), True), Candidate(name_of(2), False), Candidate(name_of(3), True, name_of(1))]
    first, second, third = decide(there, Rules(keep_last=1), LATER)
    assert (first.keep, first.reasons) == (True, (f"base of {name_of(3)}",))
    assert (second.keep, third.keep) == (False, True)


def test_a_base_keeps_what_tells_its_time_and_that_its_own_base() -> None:
    """Clocks went back twice: without the first two the next prune would take the third for older than it does now."""
    first, second, third = name_of(1), name_of(2, START + timedelta(days=40)), name_of(3)
    fourth = name_of(4, START + timedelta(days=50))
    there = [Candidate(first, False), Candidate(second, False, first), Candidate(third, False)]
    there.append(Candidate(fourth, False, third))
    decisions = decide(there, Rules(keep_daily=1), LATER)
    assert [one.reasons for one in decisions[:3]] == [
        (f"base of {second}",),
        ("tells the time of later ones",),
        (f"base of {fourth}",),
    ]
    assert all(one.keep for one in decisions)


class Watched(FolderPlace):
    """A place that remembers the order in which manifests went."""

    def delete(self, path: str) -> None:
        super().delete(path)
        if path.endswith(".manifest.asc"):
            with (self.root / "order").open("a") as file:
                file.write(f"{int(path.rpartition('/')[2][:6])} ")


def test_a_delta_goes_before_its_base(tmp_path: Path, host_key: HostKey, pinned: Pinned) -> None:
    place = Watched(tmp_path)
    chain(place, host_key, 2)
    store(place, host_key, name_of(3), kind="delta", base=str(name_of(1)))
    store(place, host_key, name_of(4))
    prune(place, tmp_path, go(name_of(1), name_of(2), name_of(3)), known_in(place, pinned))
    assert (tmp_path / "order").read_text() == "3 1 2 "


class Stubborn(FolderPlace):
    """A place that refuses to delete data."""

    def delete(self, path: str) -> None:
        if path.endswith(".tar.zst.gpg"):
            raise Fault(REMOTE_UNREACHABLE, "403")
        super().delete(path)


def test_the_manifest_goes_first(tmp_path: Path, host_key: HostKey, pinned: Pinned) -> None:
    place = Stubborn(tmp_path)
    chain(place, host_key, 2)
    with pytest.raises(Fault, match="403"):
        prune(place, tmp_path, go(name_of(1)), known_in(place, pinned))
    assert [one.state for one in read_catalog(place, HOST, PIPELINE).listed] == ["incomplete", "complete"]


KNOWN = st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=6, unique_by=lambda it: it[0])


@given(KNOWN, st.sets(st.integers(1, 9), max_size=3), st.booleans())
def test_what_an_unread_one_may_need_and_what_needs_it_stays(
    numbers: list[tuple[int, bool]], unread: set[int], delta: bool
) -> None:
    """Deltas of numbers are made against the full one before, whether it can be read or not."""
    there = sorted(numbers)
    known: list[Known] = []
    for number, is_delta in there:
        before = [n for n in sorted({it for it, later in there if not later} | unread) if n < number]
        if number not in unread:
            base = str(name_of(before[-1])) if is_delta and before else None
            known.append(known_of(number, base))
    hidden = [Listed(name_of(it), listed_files(it, delta=delta)) for it in sorted(unread)]
    bound = bound_by_unread(known, hidden)
    for it in known:
        if it.base is not None and it.base.sequence in unread:
            assert it.name in bound
    for it in hidden:
        fulls = [one.name for one in known if one.base is None and one.name < it.name]
        if delta and fulls:
            assert max(fulls) in bound
    candidates = [Candidate(it.name, False, it.base, bound.get(it.name, "")) for it in known]
    kept = {it.name for it in decide(candidates, Rules(keep_last=1), LATER) if it.keep}
    assert kept >= set(bound)
    assert not bound_by_unread(known, [])


def known_of(number: int, base: str | None) -> Known:
    kind = {} if base is None else {"kind": "delta", "base": base}
    return Known(Listed(name_of(number), ()), manifest_of(name_of(number), **kind), "0" * 64)


def listed_files(number: int, *, delta: bool) -> tuple[StoredFile, ...]:
    suffix = ".tar.delta.zst.gpg" if delta else ".tar.zst.gpg"
    return tuple(StoredFile(f"{name_of(number)}{it}", 1) for it in (suffix, ".manifest.asc"))


def test_prune_leaves_what_is_not_given_and_what_needs_it_and_takes_the_rest(
    tmp_path: Path, host_key: HostKey, pinned: Pinned
) -> None:
    place = Cold(tmp_path)
    previous = store(place, host_key, name_of(1))
    previous = store(place, host_key, name_of(2), previous, kind="delta", base=str(name_of(1)))
    for number in (3, 4, 5):
        previous = store(place, host_key, name_of(number), previous)
    place.cold = (str(name_of(1)),)
    journal = PruneJournal(tmp_path / "journal.json")
    done = thin(place, (HOST, PIPELINE), Rules(keep_last=1), pinned, LATER, journal)
    assert done.pruned.deleted == (name_of(3), name_of(4))
    assert [(it.kind.name, str(name_of(1)) in it.where) for it in done.unread] == [("HB-SNAPSHOT-UNREADABLE", True)]
    assert [str(it.name) for it in read_catalog(place, HOST, PIPELINE).listed] == [str(name_of(it)) for it in (1, 2, 5)]
