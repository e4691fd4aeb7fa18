"""Which data without a manifest are a killed run's: for any history of runs, kills, prunings and stolen manifests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.snapshots.catalog import Known, Listed
from hermes_backup.snapshots.leftovers import GRACE, Leftover, leftovers, may_be_under_way, removable
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.snapshots.names import SnapshotName, manifest_name
from hermes_backup.snapshots.place import StoredFile

_BEGIN = datetime(2026, 3, 1, tzinfo=timezone.utc)
_MANIFEST = Manifest.model_construct()
HISTORIES = st.lists(st.booleans(), min_size=1, max_size=12)
"""For each run whether it came to its end."""


@dataclass(frozen=True)
class History:
    """What lies in a place after some runs."""

    knowns: tuple[Known, ...]
    killed: tuple[Listed, ...]

    @property
    def listed(self) -> tuple[Listed, ...]:
        return tuple(sorted((*(it.listed for it in self.knowns), *self.killed), key=lambda it: it.name))


def files(name: SnapshotName, *, manifest: bool) -> Listed:
    names = [f"{name}.tar.zst.gpg", *([manifest_name(name)] if manifest else [])]
    return Listed(name, tuple(StoredFile(it, 9) for it in names))


def history(runs: Sequence[bool]) -> History:
    """One run an hour; one that is killed before it signs leaves its number to the next."""
    knowns: list[Known] = []
    killed: list[Listed] = []
    for hour, ends in enumerate(runs):
        name = SnapshotName(len(knowns) + 1, _BEGIN + timedelta(hours=hour))
        previous = knowns[-1].manifest_sha256 if knowns else None
        if ends:
            manifest = _MANIFEST.model_copy(update={"previous": previous})
            digest = hashlib.sha256(str(name).encode()).hexdigest()
            knowns.append(Known(files(name, manifest=True), manifest, digest))
        else:
            killed.append(files(name, manifest=False))
    return History(tuple(knowns), tuple(killed))


def names(found: Sequence[Leftover]) -> list[SnapshotName]:
    return [it.name for it in found]


@given(HISTORIES)
def test_what_killed_runs_left_is_known_once_a_later_one_has_ended(runs: list[bool]) -> None:
    seen = history(runs)
    head = max((it.name for it in seen.knowns), default=None)
    assert names(leftovers(seen.listed, seen.knowns)) == [it.name for it in seen.killed if head and it.name < head]


@given(HISTORIES, st.data())
def test_what_shows_it_is_enough_whatever_else_is_pruned(runs: list[bool], data: st.DataObject) -> None:
    seen = history(runs)
    left = leftovers(seen.listed, seen.knowns)
    spared = {name for it in left for name in it.witnesses}
    gone = data.draw(st.sets(st.sampled_from(seen.knowns) if seen.knowns else st.nothing()))
    stay = tuple(it for it in seen.knowns if it.name in spared or it not in gone)
    pruned = History(stay, seen.killed)
    assert names(leftovers(pruned.listed, stay)) == names(left)


@given(HISTORIES.filter(any), st.data())
def test_what_lost_its_manifest_is_no_leftover(runs: list[bool], data: st.DataObject) -> None:
    seen = history(runs)
    victim = data.draw(st.sampled_from(seen.knowns))
    rest = tuple(it for it in seen.knowns if it is not victim)
    robbed = History(rest, (*seen.killed, files(victim.name, manifest=False)))
    assert victim.name not in names(leftovers(robbed.listed, rest))


@given(HISTORIES, st.integers(0, 60), st.integers(0, 60))
def test_only_what_is_old_by_both_clocks_and_below_the_head_goes(runs: list[bool], now: int, written: int) -> None:
    seen = history(runs)
    at = _BEGIN + timedelta(hours=now)
    modified = {file.name: at - timedelta(hours=written) for it in seen.listed for file in it.files}
    left = leftovers(seen.listed, seen.knowns)
    going = removable(left, seen.knowns, at, modified)
    for it in left:
        old = at - it.name.time > GRACE and timedelta(hours=written) > GRACE
        assert (it in going) == (old and it.name.sequence < seen.knowns[-1].name.sequence)
    assert removable(left, seen.knowns, at, {}) == ()


def test_a_push_may_be_under_way_only_above_the_head_and_today() -> None:
    seen = history([True, True])
    now = _BEGIN + timedelta(hours=5)
    above, below = SnapshotName(3, now), SnapshotName(1, now)
    assert may_be_under_way(above, seen.knowns, now)
    assert may_be_under_way(above, (), now)
    assert not may_be_under_way(below, seen.knowns, now)
    assert not may_be_under_way(above, seen.knowns, now + GRACE + timedelta(seconds=1))
    assert not may_be_under_way(SnapshotName(3, now + GRACE + timedelta(seconds=1)), seen.knowns, now)
