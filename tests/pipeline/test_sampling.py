"""Every retained snapshot has its turn within a year, and the newest always."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.pipeline.model import Schedule
from hermes_backup.pipeline.sampling import drills_a_year, sample
from hermes_backup.snapshots.names import SnapshotName

BEGUN = datetime(2026, 1, 1, tzinfo=timezone.utc)
NAMES = st.lists(
    st.integers(1, 100_000).map(lambda it: SnapshotName(it, BEGUN + timedelta(days=it))), unique=True, max_size=60
)


@given(names=NAMES, first=st.integers(0, 10_000), a_year=st.integers(1, 60))
def test_a_years_drills_bring_back_every_snapshot_that_is_kept(
    names: list[SnapshotName], first: int, a_year: int
) -> None:
    samples = [sample(names, turn, a_year) for turn in range(first, first + a_year)]
    assert {it for one in samples for it in one} == set(names)
    for one in samples:
        assert one == tuple(sorted(one, reverse=True))
        assert one[:1] == tuple(sorted(names, reverse=True)[:1])


@given(names=NAMES, others=NAMES, turn=st.integers(0, 10_000), a_year=st.integers(1, 60))
def test_whose_turn_it_is_does_not_hang_on_what_else_there_is(
    names: list[SnapshotName], others: list[SnapshotName], turn: int, a_year: int
) -> None:
    """But for the newest of each, which is always there."""
    alone, together = sample(names, turn, a_year), sample([*{*names, *others}], turn, a_year)
    assert set(alone[1:]) <= set(together)
    assert (set(together[1:]) & set(names)) <= set(alone)


@pytest.mark.parametrize(
    ("calendar", "at_least"),
    [
        ("*-01,04,07,10-05 04:00", 4), ("quarterly", 4), ("monthly", 12), ("weekly", 52), ("daily", 365),
        ("*-*-* 03:30:00", 336), ("03:30", 365), ("Mon *-*-* 05:30", 52), ("Mon..Fri 05:30", 52), ("Sun", 52),
        ("Fri *-*-13", 1), ("*-1/3-05", 4), ("*-01..06-1,15 04:00", 12), ("*-*-31", 1), ("2027-01-05", 1),
        ("*-02~03", 1), ("nonsense", 365), ("semiannually", 2), ("*-*-01/7", 48), ("01-05", 1),
    ],
)  # fmt: skip
def test_how_many_drills_a_calendar_gives(calendar: str, at_least: int) -> None:
    assert drills_a_year(Schedule(on_calendar=calendar)) == at_least


@pytest.mark.parametrize(
    "calendar", ["*-01,04,07,10-05 04:00", "Mon *-*-* 05:30", "*-1/3-05", "*-*-01/7", "Fri *-*-13"]
)
def test_no_more_than_systemd_says(calendar: str) -> None:
    argv = ["systemd-analyze", "calendar", "--base-time=2026-01-01", f"--iterations={400}", "--", calendar]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, env={"TZ": "UTC", "PATH": "/usr/bin:/bin"})
    runs = [line for line in said.stdout.splitlines() if " 2026-" in line and ("Next" in line or "Iter" in line)]
    assert drills_a_year(Schedule(on_calendar=calendar)) <= len(runs)


@pytest.mark.parametrize(("every", "count"), [("30d", 12), ("1h", 365), ("400d", 1)])
def test_an_interval(every: str, count: int) -> None:
    assert drills_a_year(Schedule.model_validate({"every": every})) == count


def test_without_a_schedule_all_are_brought_back() -> None:
    assert drills_a_year(None) == 1
