"""What a command starts ends with the program that started the command, however that ends."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_backup.streams.guardian import NOT_STARTED, guarded
from hermes_backup.streams.process import run_guarded
from tests.processes import descendants, processes
from tests.waiting import until

STARTS = """
import os, subprocess, sys
from hermes_backup.streams.guardian import guarded
held = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
import fcntl
fcntl.flock(held, fcntl.LOCK_EX)
os.set_inheritable(held, True)
subprocess.run(guarded(sys.argv[2:], held=held), close_fds=False)
"""
MARK = f"307.{os.getpid()}"  # seconds; other workers have other ones
FAMILY = f"""
trap '' TERM
sleep {MARK} &
setsid sleep {MARK} &
(setsid sh -c 'trap "" TERM; sleep {MARK}; sleep {MARK}' &)
wait
"""


def sleepers() -> list[int]:
    return [it.pid for it in processes() if it.program == "sleep" and MARK.encode() in it.words]


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    yield
    for it in sorted(processes(), key=lambda it: it.program):  # a shell before what it sleeps for
        if it.program in ("sh", "sleep") and MARK.encode() in it.words:
            os.kill(it.pid, signal.SIGKILL)


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that has a command with children in groups and sessions of their own, and an orphan."""
    argv = [sys.executable, "-c", STARTS, str(tmp_path / "lock"), "/bin/sh", "-c", FAMILY]
    with subprocess.Popen(argv) as program:
        until(lambda: len(sleepers()) == 3)
        yield program
        program.kill()


def _is_free(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_all_end_with_a_program_that_is_killed_and_its_lock_is_held_until_then(
    parent: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    below = [it.pid for it in descendants(parent.pid)]
    parent.kill()
    parent.wait()
    time.sleep(0.3)
    assert sleepers(), "what does not listen to SIGTERM has its time"
    assert not _is_free(tmp_path / "lock")
    until(lambda: _is_free(tmp_path / "lock"), 30)
    assert not {it.pid for it in processes()} & set(below)
    assert not sleepers()


def test_a_guardian_that_is_killed_takes_the_command_with_it(parent: subprocess.Popen[bytes]) -> None:
    (guardian,) = [it.pid for it in descendants(parent.pid) if it.parent == parent.pid]
    command = next(it.pid for it in descendants(parent.pid) if it.parent == guardian and it.program == "sh")
    os.kill(guardian, signal.SIGKILL)
    assert parent.wait(30) == 0
    until(lambda: command not in {it.pid for it in processes()}, 30)


def test_a_command_that_takes_too_long_ends_with_all_that_holds_its_output() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run_guarded(["sh", "-c", FAMILY], stage="command", timeout=0.7)
    assert not sleepers()


def test_what_a_command_leaves_running_goes_on() -> None:
    script = f"setsid sleep {MARK} > /dev/null 2>&1 & echo done"
    done = run_guarded(["sh", "-c", script], stage="command", timeout=60)
    assert (done.returncode, done.stdout) == (0, b"done\n")
    time.sleep(0.3)
    assert sleepers()


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", 128 + 9), ("kill -TERM $$", 128 + 15)])
def test_the_exit_status_is_the_commands(script: str, code: int) -> None:
    assert run_guarded(["sh", "-c", script], stage="command", timeout=60).returncode == code


def test_a_command_finds_everything_as_at_a_shell() -> None:
    script = "import os, resource, signal; print(os.getpgrp() == os.getpid(), signal.pthread_sigmask(0, ()),"
    script += " resource.getrlimit(resource.RLIMIT_CORE)[0], sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
    script += "\nprint(open('/proc/self/status').read().split('SigIgn:')[1].split()[0], os.environ)"
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    command = [sys.executable, "-S", "-c", f"import signal; signal.signal(13, signal.SIG_DFL)\n{script}"]
    plain = subprocess.run(command, capture_output=True, check=True, env={"A": "b"}, start_new_session=True)
    below = subprocess.run(guarded(command, core=limits[0]), capture_output=True, check=True, env={"A": "b"})
    assert below.stdout == plain.stdout


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("neither a program nor a script\n")
    script.chmod(0o700)
    done = run_guarded([str(script)], stage="command", timeout=60)
    assert done.returncode == NOT_STARTED
    assert "Exec format error" in done.stderr
