"""Clocks that are wrong: at the epoch, far ahead, an hour back; for this program and for the tools that it runs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.pipeline.status import Status
from tests.keys import KeyMaker
from tests.pipeline.ground import Ground, ground
from tests.pipeline.test_delta import noisy, stages
from tests.site import fill

__all__ = ["ground"]
_LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
pytestmark = pytest.mark.skipif(_LIBRARY is None, reason="libfaketime is not installed (package faketime)")
_TOOLS = ("gpg", "gpgconf", "tar")
# libfaketime 0.9.10 answers EINVAL to the clock_nanosleep(2) behind Python's own
_SLEEP = "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds)\n"


@dataclass(frozen=True)
class Clock:
    """Runs a pipeline under another clock. The tools get it by wrappers, because children get a clean environment."""

    ground: Ground

    def run(self, shift: int, stages: Any = None, **settings: Any) -> tuple[int, Status]:
        """Run with the clock ``shift`` seconds ahead; return exit code and status."""
        ended = self.ground.end(self.ground.start(stages, env=self._environment(shift), **settings))
        assert "Traceback" not in ended.err, ended
        return ended.code, self.ground.site.status()

    def _environment(self, shift: int) -> Mapping[str, str]:
        fake = {
            "LD_PRELOAD": str(_LIBRARY),
            "FAKETIME": f"{shift:+d}s",
            "NO_FAKE_STAT": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        folder = self.ground.site.root / f"tools{shift}"
        folder.mkdir(exist_ok=True)
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        words = " ".join(f"{key}='{value}'" for key, value in fake.items())
        for name in _TOOLS:
            (folder / name).write_text(f'#!/bin/sh\n{words} exec {shutil.which(name, path=path)} "$@"\n')
            (folder / name).chmod(0o755)
        (folder / "sitecustomize.py").write_text(_SLEEP)
        return {**fake, "PATH": f"{folder}:{path}", "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}


@pytest.fixture
def clock(ground: Ground) -> Clock:
    """Whoever turns the clock."""
    return Clock(ground)


def seconds_to(year: int) -> int:
    """How far ahead noon of the second day of a year is."""
    return int((datetime(year, 1, 2, 12, tzinfo=timezone.utc) - datetime.now(timezone.utc)).total_seconds())


@pytest.mark.parametrize("year", [1970, 2040])
def test_a_clock_that_is_years_off_makes_a_snapshot_in_its_place(clock: Clock, year: int) -> None:
    ground = clock.ground
    site = ground.site
    assert site.run().exit_code == 0
    code, status = clock.run(seconds_to(year))
    assert (code, status.state) == (0, "done"), status
    assert str(status.snapshot).startswith(f"000002-{year}0102T")
    ground.check_clean()
    status = ground.check_next()
    assert str(status.snapshot).startswith("000003-20")
    assert ground.manifest().sequence == 3


@pytest.mark.parametrize("year", [1970, 2040])
def test_the_very_first_run_may_have_a_wrong_clock(clock: Clock, year: int) -> None:
    ground = clock.ground
    code, status = clock.run(seconds_to(year))
    assert (code, status.state) == (0, "done"), status
    assert str(ground.check_next().snapshot).startswith("000002-")


def test_an_hour_back_between_two_runs(clock: Clock) -> None:
    ground = clock.ground
    assert ground.site.run().exit_code == 0
    first = ground.manifest().created
    fill(ground.site.home / "state.db", 5)
    code, status = clock.run(-3600)
    assert (code, status.state) == (0, "done")
    assert str(status.snapshot).startswith("000002-")
    assert ground.manifest().created < first
    ground.check_whole(ground.site.store)
    assert str(ground.check_next().snapshot).startswith("000003-")


def test_an_hour_back_behind_the_last_full_snapshot_makes_a_full_one(clock: Clock) -> None:
    ground = clock.ground
    site = noisy(ground.site)
    assert site.run(stages(site)).exit_code == 0
    first = ground.manifest().name
    fill(site.home / "state.db", 5)
    code, status = clock.run(-3600, stages(site))
    assert (code, status.state) == (0, "done")
    made = ground.manifest()
    assert (made.sequence, made.kind, made.full_because) == (2, "full", f"the clock went back behind {first}")
    fill(site.home / "state.db", 5)
    ground.check_next(stages(site))
    assert ground.manifest().base == str(made.name), "the right clock makes deltas of it"


@pytest.mark.parametrize("back", [-3600, None], ids=["an hour", "the epoch"])
def test_prune_refuses_when_the_clock_stands_before_the_newest_snapshot(clock: Clock, back: int | None) -> None:
    ground = clock.ground
    site = ground.site
    stages = site.usual({"prune": {"keep_last": 1}})
    for _ in range(2):
        assert site.run().exit_code == 0
    before = ground.lasting()
    code, status = clock.run(seconds_to(1970) if back is None else back, stages)
    assert (code, status.state, status.stage) == (5, "failed", "prune")
    assert status.error is not None
    assert status.error.name == "HB-PRUNE-CLOCK"
    assert f"{datetime.now(timezone.utc):%Y-%m}" in status.error.what
    assert before.items() <= ground.lasting().items(), "nothing is pruned"
    assert str(status.snapshot).startswith("000003-"), "but the snapshot is made"
    ground.check_clean()
    ground.check_next(stages)
    assert len([it for it in site.snapshots() if it.endswith(".asc")]) == 1


def test_a_clock_that_was_ahead_keeps_prune_from_its_work(clock: Clock) -> None:
    ground = clock.ground
    site = ground.site
    stages = site.usual({"prune": {"keep_last": 1}})
    assert clock.run(seconds_to(2040))[0] == 0
    before = ground.lasting()
    status = site.run(stages)
    assert status.error is not None
    assert (status.exit_code, status.error.name, status.stage) == (5, "HB-PRUNE-CLOCK", "prune")
    assert "2040-01-02" in status.error.what
    assert before.items() <= ground.lasting().items()


def test_a_key_that_a_wrong_clock_calls_expired_is_told_with_its_date(clock: Clock, key_maker: KeyMaker) -> None:
    ground = clock.ground
    site = ground.site
    key = key_maker.make("future-default", "default", "2y")
    stages = site.usual()
    stages[2] = {"encrypt": {"recipients": [key.fingerprint]}}
    assert site.run(stages, public_keys=[key.public]).exit_code == 0
    before = ground.lasting()
    code, status = clock.run(seconds_to(2040), stages, public_keys=[key.public])
    assert code == 8
    ground.check_failed(status, 8, "HB-KEY-EXPIRED", "", before)
    assert status.error is not None
    assert status.error.where == "encrypt"
    assert f"expired on {datetime.now(timezone.utc).year + 2}-" in status.error.what
    assert "this clock (2040-01-02) is wrong" in status.error.what
    assert site.run(stages, public_keys=[key.public]).exit_code == 0
