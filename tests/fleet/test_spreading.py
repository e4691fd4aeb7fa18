"""Each host of a fleet has its own minute, and systemd agrees."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections import Counter
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.fleet.declared import Timer, declared
from hermes_backup.fleet.spreading import minutes, shifted
from tests.fleet.ground import Ground

NAMES = st.sets(st.text("abcdefghij0123456789-", min_size=1, max_size=8), min_size=1, max_size=60)
DAYS = 7


@given(NAMES, st.integers(1, 120))
def test_no_two_share_a_minute_while_there_are_enough(hosts: set[str], window: int) -> None:
    given_ = minutes(hosts, window)
    assert given_.keys() == hosts
    assert all(0 <= it < window for it in given_.values())
    shared = max(Counter(given_.values()).values())
    assert shared == 1 or len(hosts) > window


@given(NAMES, st.text("xyz", min_size=1, max_size=5))
def test_a_new_host_leaves_the_others_where_they_are_when_there_is_room(hosts: set[str], new: str) -> None:
    before, after = minutes(hosts, 100_000), minutes({*hosts, new}, 100_000)
    assert sum(before[it] != after[it] for it in hosts) <= 1


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 300))
def test_a_time_of_day_moves_within_its_day(hour: int, minute: int, second: int, by: int) -> None:
    moved = shifted(f"Mon *-*-* {hour:02d}:{minute:02d}:{second:02d}", by)
    at = hour * 60 + minute + by
    assert moved == (f"Mon *-*-* {at // 60:02d}:{at % 60:02d}:{second:02d}" if at < 24 * 60 else None)


def test_what_is_not_one_time_of_day_is_left_to_systemd() -> None:
    for calendar in ("daily", "*-*-* *:00:00", "*-*-* 03,04:00", "*:0/15", "hourly", "*-*-* 03:00..30:00"):
        assert shifted(calendar, 5) is None
    assert shifted("03:30", 17) == "03:47:00"


def test_a_week_of_fifty_hosts_by_systemd_s_own_reckoning(ground: Ground) -> None:
    """The defaults of the nightly pipeline: no two hosts meet in a minute more than three times."""
    names = [f"vps{number:02d}" for number in range(50)]
    ground.write("hosts.yml", "all: {hosts: {" + ", ".join(f"{it}: " for it in names) + "}}\n")
    fleet = ground.fleet()
    timers = {host.name: _nightly(declared(host, names).timers) for host in fleet.hosts}
    starts = {name: _starts(timer) for name, timer in timers.items()}
    assert {len(it) for it in starts.values()} == {DAYS}
    assert _meetings(starts) == 0


def test_the_check_of_the_week_sees_hosts_that_meet() -> None:
    timer = Timer("nightly", "*-*-* 03:30:00", 0, 0)
    starts = {name: _starts(timer) for name in ("one", "two")}
    assert _meetings(starts) == DAYS


def _nightly(timers: tuple[Timer, ...]) -> Timer:
    (timer,) = [it for it in timers if it.pipeline == "nightly"]
    assert timer.delay == 0  # the minute is the host's own, so systemd adds none
    return timer


def _starts(timer: Timer) -> tuple[str, ...]:
    argv = ["systemd-analyze", "calendar", f"--iterations={DAYS}", "--base-time=2026-01-05 00:00:00", timer.calendar]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC"}).stdout
    found = re.findall(r"(?:elapse|Iter\. #\d+): \w{3} (\d{4}-\d\d-\d\d \d\d:\d\d)", said)
    return tuple(found)


def _meetings(starts: Mapping[str, tuple[str, ...]]) -> int:
    """How often the two hosts meet that meet most often."""
    return max(len({*one} & {*two}) for one, two in itertools.combinations(starts.values(), 2))
