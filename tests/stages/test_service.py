"""The stage ``service``: a unit stands still while the home is read, and only then, however the run ends.

There is no systemd where these tests run, so ``systemctl`` is a script that keeps a unit's state in a file.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.home import timekeeping
from hermes_backup.pipeline.agent import Options
from tests.pipeline.ground import MEGABYTE, Ground, ground

__all__ = ["ground"]
_SYSTEMCTL = """#!/bin/sh
here="$(dirname "$0")"
unit="$(for last; do :; done; echo "$last")"
echo "$*" >> "$here/calls"
case "$1" in
is-active) if [ -e "$here/$unit" ]; then echo active; else echo inactive; exit 3; fi ;;
start) [ ! -e "$here/broken" ] && touch "$here/$unit" ;;
stop) [ ! -e "$here/stuck" ] && rm -f "$here/$unit" ;;
esac
"""
_UNIT = "hermes-gateway.service"


class Units:
    """The units, as the script sees them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "systemctl").write_text(_SYSTEMCTL)
        (folder / "systemctl").chmod(0o755)
        (folder / _UNIT).touch()

    @property
    def active(self) -> bool:
        return (self.folder / _UNIT).exists()

    @property
    def calls(self) -> list[str]:
        return [line.split()[0] for line in (self.folder / "calls").read_text().splitlines()]


@pytest.fixture
def units(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Units:
    made = Units(ground.site.root / "units")
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    return made


def stages(ground: Ground, *more: Any) -> list[Any]:
    return [{"service": {"unit": _UNIT}}, *ground.site.usual(*more)]


def test_it_is_stopped_for_the_copy_and_started_again(ground: Ground, units: Units) -> None:
    seen = ground.site.root / "seen"
    look = {"command": {"before": ["/bin/sh", "-c", f"ls {units.folder} > {seen}"]}}
    first, *others = stages(ground)
    assert ground.check_next([first, look, *others]).state == "done"
    assert _UNIT not in seen.read_text().split()
    assert units.active
    assert units.calls == ["is-active", "stop", "reset-failed", "start"]


def test_it_is_started_as_soon_as_the_home_is_read_though_the_upload_fails(ground: Ground, units: Units) -> None:
    remote = ground.site.remote
    remote.write_text("a file where the remote's folder should be")
    status = ground.site.run(stages(ground, {"push": {"to": [str(remote)], "attempts": 1}}))
    assert status.exit_code == 5
    assert units.active


def test_one_that_does_not_run_is_not_started(ground: Ground, units: Units) -> None:
    (units.folder / _UNIT).unlink()
    assert ground.site.run(stages(ground)).state == "done"
    assert units.calls == ["is-active"]
    assert not units.active


def test_it_is_started_when_the_run_fails_or_is_stopped(ground: Ground, units: Units) -> None:
    first, *others = stages(ground)
    assert ground.site.run([first, {"command": {"before": ["false"]}}, *others]).exit_code == 5
    assert units.active
    run = ground.start([first, {"command": {"before": ["sleep", "60"]}}, *others])
    ground.wait_for_child(run, "sleep")
    assert not units.active
    run.terminate()
    assert ground.end(run).code == 130
    assert units.active
    ground.check_clean()


def test_a_killed_run_leaves_it_to_the_next_one(ground: Ground, units: Units) -> None:
    first, *others = stages(ground)
    run = ground.start([first, {"command": {"before": ["sleep", "60"]}}, *others])
    ground.wait_for_child(run, "sleep")
    run.send_signal(signal.SIGKILL)
    ground.end(run)
    assert not units.active
    status = ground.check_next(stages(ground))
    assert any("was left stopped" in it for it in status.warnings)
    assert units.active
    assert ground.check_next(stages(ground)).warnings == ()
    (units.folder / _UNIT).unlink()
    assert ground.check_next(stages(ground)).warnings == ()
    assert not units.active, "who stopped it since then has not been overruled"


def test_one_that_does_not_stop_or_start_is_told(ground: Ground, units: Units) -> None:
    (units.folder / "stuck").touch()
    status = ground.site.run(stages(ground))
    ground.check_failed(status, 5, "HB-SERVICE-FAILED", "service", {})
    (units.folder / "stuck").unlink()
    (units.folder / "broken").touch()
    status = ground.site.run(stages(ground))
    assert status.error is not None
    assert (status.exit_code, status.error.name, status.error.where) == (5, "HB-SERVICE-FAILED", "service")
    ground.check_clean()
    (units.folder / "broken").unlink()
    ground.check_next(stages(ground))
    assert units.active


def test_a_unit_stands_still_only_while_the_home_is_read(ground: Ground, units: Units) -> None:
    """A slow upload goes on from what was read; the unit must not wait for it longer than the pipes make it."""
    (ground.site.home / "bulk").write_bytes(os.urandom(2 * MEGABYTE))
    run = ground.start(stages(ground, {"push": {"to": [str(ground.site.remote)], "bandwidth": "1M"}}))
    ground.wait_for_upload(run)
    assert ground.end(run).code == 0
    assert units.active
    assert units.calls.count("start") == 1


def test_a_home_that_has_not_changed_stops_nothing(
    ground: Ground, units: Units, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timekeeping, "SETTLED_NS", 60_000_000)
    quick = Options("t", if_changed=True)
    time.sleep(0.1)
    assert [ground.site.run(stages(ground), options=quick).state for _ in range(2)] == ["done", "unchanged"]
    assert (units.calls.count("is-active"), units.calls.count("stop"), units.active) == (1, 1, True)


def test_a_unit_that_a_killed_run_left_stopped_is_started_though_nothing_has_changed(
    ground: Ground, units: Units, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timekeeping, "SETTLED_NS", 60_000_000)
    time.sleep(0.1)
    assert ground.site.run(stages(ground), options=Options("t", if_changed=True)).state == "done"
    (ground.site.folder / f"stopped-{_UNIT}").touch()
    (units.folder / _UNIT).unlink()
    assert ground.site.run(stages(ground), options=Options("t", if_changed=True)).state == "unchanged"
    assert units.active
