"""A machine that comes and goes, and what goes wrong: full disks, kills at any moment, somebody in the home."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from hermes_backup.errors import Fault
from tests.coming import Cloud, Machine, settled
from tests.pipeline.test_faults_disk import mounted, remount
from tests.processes import processes
from tests.site import messages_in

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts are root's")


def test_a_disk_too_small_for_the_image(cloud: Cloud) -> None:
    first = settled(cloud)
    first.come()
    (first.home / "big").write_bytes(random.Random(1).randbytes(6_000_000))
    assert first.save().state == "done"
    first.go()
    machine = cloud.machine()
    machine.state.mkdir(parents=True)
    with mounted(machine.state, "size=4m"):
        with pytest.raises(Fault) as seen:
            machine.come()
        assert seen.value.kind.name == "HB-DISK-FULL", seen.value
        assert not machine.home.exists() or not any(machine.home.iterdir())
        remount(machine.state, "size=40m")
        assert machine.come().way == "overlay"
        assert (machine.home / "big").stat().st_size == 6_000_000
        machine.die()


def test_a_disk_that_fills_up_meanwhile_costs_a_snapshot_and_no_more(begun: Cloud) -> None:
    machine = begun.machine()
    machine.state.mkdir(parents=True)
    with mounted(machine.state, "size=12m"):
        machine.come()
        (machine.home / "big").write_bytes(random.Random(1).randbytes(8_000_000))
        status = machine.save()
        assert status.error is not None
        assert status.error.name == "HB-DISK-FULL"
        assert len(begun.images()) == 1
        remount(machine.state, "size=60m")
        assert machine.save().state == "done"
        assert len(begun.images()) == 2
        machine.die()


@pytest.mark.parametrize("seconds", [0.4, 0.7, 1.0, 1.3, 1.6])
def test_killed_while_it_comes_and_started_again(begun: Cloud, seconds: float) -> None:
    machine = begun.machine()
    process = machine.start(command=("sleep", "60"))
    time.sleep(seconds)
    process.kill()
    process.wait()
    subprocess.run(["pkill", "-9", "-f", str(machine.folder)], check=False)
    process.communicate()
    again = machine.start(command=(sys.executable, "-c", f"open({str(machine.home / 'new')!r}, 'w').write('x')"))
    _, said = again.communicate(timeout=60)
    assert again.returncode == 0, said
    machine.die()
    other = begun.machine()
    other.come()
    assert messages_in(other.home / "state.db") == 200
    assert (other.home / "new").exists()
    assert len(list(begun.images())) == 2


@pytest.mark.parametrize("seconds", [0.1, 0.5, 0.9, 1.3, 1.7])
def test_stopped_at_any_moment_it_ends_well_and_starts_again(begun: Cloud, seconds: float) -> None:
    machine = begun.machine()
    process = machine.start(command=("sleep", "60"))
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (130, 143, -signal.SIGTERM), said
    again = machine.start(command=("test", "-f", str(machine.home / "SOUL.md")))
    _, said = again.communicate(timeout=60)
    assert again.returncode == 0, said


def test_somebody_who_stands_in_the_home_changes_no_exit_status(begun: Cloud) -> None:
    machine = begun.machine()
    up = machine.folder / "up"
    script = f"cd {machine.home} && setsid sleep 30 & sleep 1; echo > {up}; exit 7"
    process = machine.start(command=("sh", "-c", script))
    _wait(process)
    assert process.returncode == 7
    subprocess.run(["pkill", "-f", "setsid sleep 30"], check=False)


def _wait(process: subprocess.Popen[str]) -> None:
    """Wait for the end; a child of the command holds the pipes longer."""
    process.wait(60)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()


def test_nothing_of_the_command_writes_after_the_last_snapshot(begun: Cloud) -> None:
    machine = begun.machine()
    script = f"(while :; do date +%s%N > {machine.home}/left; sleep 0.01; done) & sleep 1; exit 0"
    process = machine.start(command=("sh", "-c", script))
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert not _alive(machine)


def _alive(machine: Machine) -> bool:
    return any(os.fsencode(machine.home) in it.words for it in processes())
