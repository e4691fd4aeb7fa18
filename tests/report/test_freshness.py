"""Whether a snapshot is new enough, whatever the times; and how long the pauses of a schedule are."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.pipeline.cadence import longest_pause, pace, shortest_pause
from hermes_backup.pipeline.model import Schedule
from hermes_backup.report.freshness import Freshness, allowed_age, judge, worst
from hermes_backup.snapshots.retention import SKEW

DAY = timedelta(days=1)
MOMENTS = st.integers(0, 4_000_000_000).map(lambda it: datetime.fromtimestamp(it, timezone.utc))
SPANS = st.timedeltas(timedelta(0), timedelta(days=4000))
STATES: tuple[Freshness, ...] = ("stale", "none", "unknown", "fresh", "not judged")


@given(now=MOMENTS, newest=MOMENTS, allowed=SPANS, blind=st.booleans())
def test_fresh_is_only_what_is_young_and_not_of_the_future(
    now: datetime, newest: datetime, allowed: timedelta, blind: bool
) -> None:
    state = judge(newest, blind=blind, allowed=allowed, now=now)
    assert (state == "fresh") == (-SKEW <= now - newest <= allowed)
    assert state in ("fresh", "unknown" if blind else "stale")


@given(now=MOMENTS, allowed=SPANS, blind=st.booleans())
def test_without_a_snapshot_nothing_is_fresh(now: datetime, allowed: timedelta, blind: bool) -> None:
    assert judge(None, blind=blind, allowed=allowed, now=now) == ("unknown" if blind else "none")


@given(now=MOMENTS, newest=MOMENTS, allowed=SPANS, later=SPANS)
def test_time_alone_never_makes_it_fresh_again(
    now: datetime, newest: datetime, allowed: timedelta, later: timedelta
) -> None:
    if newest <= now and judge(newest, blind=False, allowed=allowed, now=now) == "stale":
        assert judge(newest, blind=False, allowed=allowed, now=now + later) == "stale"


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (timedelta(hours=26), "fresh"),
        (timedelta(hours=26, seconds=1), "stale"),
        (-SKEW, "fresh"),
        (-SKEW - timedelta(seconds=1), "stale"),
    ],
)
def test_the_bounds(age: timedelta, state: str) -> None:
    now = datetime(2026, 11, 21, tzinfo=timezone.utc)
    assert judge(now - age, blind=False, allowed=timedelta(hours=26), now=now) == state


@given(st.lists(st.sampled_from(STATES)))
def test_one_that_is_stale_makes_all_of_them_stale(states: list[Freshness]) -> None:
    said = worst(states)
    assert said == ("not judged" if not states else said)
    if "stale" in states:
        assert said == "stale"
    elif "none" in states:
        assert said == "none"
    elif "unknown" in states:
        assert said == "unknown"


PAUSES = [
    ("*-*-* 03:30:00", 1),
    ("03:30", 1),
    ("*:0/15", 1),
    ("hourly", 1),
    ("daily", 1),
    ("*-*-* 03:30 Europe/Berlin", 1),
    ("Mon..Sun 01:00", 1),
    ("Mon,Thu 03:00:00", 4),
    ("Mon..Fri 03:00", 3),
    ("Sat,Mon..Wed 10:00", 3),
    ("monday", 7),
    ("Mon *-*-* 03:00", 7),
    ("weekly", 7),
    ("monthly", 31),
    ("*-*-01 03:00", 31),
    ("*-*~01 04:00", 31),
    ("quarterly", 92),
    ("*-01,04,07,10-05 04:00", 366),
    ("Sun *-*-01..07 04:00", 35),
    ("Fri *-*-13 04:00", 427),
    ("yearly", 366),
]


@pytest.mark.parametrize(("calendar", "days"), PAUSES)
def test_the_longest_pause_of_a_calendar(calendar: str, days: int) -> None:
    assert longest_pause(Schedule(on_calendar=calendar)) == timedelta(days=days)


@pytest.mark.parametrize("calendar", [it for it, _ in PAUSES])
def test_systemd_pauses_no_longer_than_that_and_no_shorter(calendar: str) -> None:
    """A pause that is taken for too short would be a false alarm every time, and so would one taken for too long."""
    argv = ["systemd-analyze", "calendar", "--iterations=30", "--base-time=2027-01-01", calendar]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin", "TZ": "UTC"})
    words = [line.split(": ", 1)[1].split() for line in done.stdout.splitlines() if ": " in line and " UTC" in line]
    times = sorted({datetime.fromisoformat(" ".join(it[1:3])) for it in words})
    assert len(times) > 20
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert max(pauses) <= longest_pause(Schedule(on_calendar=calendar))
    assert min(pauses) >= shortest_pause(Schedule(on_calendar=calendar)) > timedelta(0)


@pytest.mark.parametrize(
    ("calendar", "minutes"),
    [
        ("*-*-* 03:30:00", 24 * 60),
        ("*:0/15", 15),
        ("*-*-* 0/6:00", 6 * 60),
        ("*-*-* 03,04:00", 60),
        ("*-*-* 09..17/4:30", 4 * 60),
        ("hourly", 60),
        ("minutely", 1),
        ("*:*", 1),
        ("*:*:0/10", 1 / 60),
        ("Mon,Thu 03:00", 3 * 24 * 60),
        ("weekly", 7 * 24 * 60),
        ("*-*-01 03:00", 28 * 24 * 60),
        ("no calendar at all", 24 * 60),
        ("x:y", 1),
    ],
)
def test_the_shortest_pause_of_a_calendar(calendar: str, minutes: float) -> None:
    assert shortest_pause(Schedule(on_calendar=calendar)) == timedelta(minutes=minutes)


@given(st.integers(0, 10**7))
def test_an_interval_is_its_own_pause(seconds: int) -> None:
    schedule = Schedule.model_validate({"every": f"{seconds}s"})
    assert longest_pause(schedule) == shortest_pause(schedule) == timedelta(seconds=seconds)
    assert pace(schedule).allows(DAY) >= 8


def test_a_pipeline_without_a_schedule_is_taken_for_a_daily_one_without_limit() -> None:
    assert (pace(None).slot, pace(None).limited) == (DAY, False)


@given(SPANS, st.integers(0, 10**7))
def test_max_age_is_meant_for_a_daily_backup(max_age: timedelta, seconds: int) -> None:
    assert allowed_age(Schedule(on_calendar="daily"), max_age) == max_age
    assert allowed_age(Schedule(on_calendar="weekly"), max_age) == max_age + 6 * DAY
    assert allowed_age(Schedule.model_validate({"every": f"{seconds}s"}), max_age) >= max(
        max_age, timedelta(seconds=seconds) - DAY
    )
