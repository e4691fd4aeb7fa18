"""The process between this program and a command: nothing that the command starts outlives this program.

A program that is killed by SIGKILL ends nothing itself. The kernel ends its own children then (prctl(2),
PR_SET_PDEATHSIG), but not what they started. So the parent of a command is a guardian: it adopts every orphan of the
command (PR_SET_CHILD_SUBREAPER), and ends all of them when this program is gone. When the guardian itself is killed,
the kernel ends the command, and what the command started falls to the next subreaper above.

It is started by its path in Python's isolated mode, and imports the standard library alone: 25 ms, 11 MB (measured).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

END = signal.SIGUSR1
"""Tells a guardian to end the command and all that it started."""
PATIENCE = 2.0
"""How many seconds a process has to end after SIGTERM, before SIGKILL."""
NOT_STARTED = 126
"""The exit status where the command cannot be started, as a shell has it."""
_BY_SIGNAL = 128
_PAUSE = 0.05
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PARENT_GONE = signal.SIGUSR2
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_NONE = -1


def guarded(command: Sequence[str], *, report: int = _NONE, held: int = _NONE, core: int | None = None) -> list[str]:
    """Return the argv that starts a command below a guardian of this process; the guardian ends as the command does.

    Must be started from the main thread: the kernel tells of the end of the thread that started it.

    ``report``: a descriptor that gets the command's pid, and where it cannot be started the number of the error, below
    zero; it is closed once the command runs. ``held``: a descriptor, such as a lock's, that stays open as long as the
    guardian lives. Both must be inheritable, and the command gets neither. ``core``: the command's soft limit for core
    dumps, in bytes.
    """
    numbers = [str(it) for it in (os.getpid(), report, held, "" if core is None else core)]
    return [sys.executable, "-I", "-S", __file__, *numbers, "--", *command]


def adopt_orphans() -> None:
    """Become the parent of every orphan below (prctl(2)), as the first process of a container is anyway."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def descendants(pid: int) -> dict[int, str]:
    """Return every living process below one, and its name as /proc/PID/stat has it, in parentheses (proc(5)).

    Where there is none it looks again: a process that was being killed at the first look may have started one.
    """
    return _below(pid) or _below(pid)


def _below(pid: int) -> dict[int, str]:
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            name, mark, rest = (entry / "stat").read_text(errors="replace").rpartition(")")
            state, parent = rest.split()[:2]
            if state != "Z":
                parents[int(entry.name)] = int(parent)
                names[int(entry.name)] = name.partition(" ")[2] + mark
    below = {pid}
    while more := {it for it, parent in parents.items() if parent in below} - below:
        below |= more
    return {it: names[it] for it in below - {pid}}


def end_all(found: Callable[[], Collection[int]], until: float, reap: Callable[[], None]) -> None:
    """End processes: each is asked once, by SIGTERM, and killed when the monotonic clock passes ``until``.

    ``found`` tells which live; ``reap`` takes the status of those that ended. SIGCHLD must be blocked. A process that
    SIGKILL does not end is in a system call that does not return, and writes nothing either: it is left.
    """
    asked: set[int] = set()
    while (left := set(found())) and (now := time.monotonic()) < until + PATIENCE:
        for pid in left if now >= until else left - asked:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL if now >= until else signal.SIGTERM)
        asked |= left
        signal.sigtimedwait((signal.SIGCHLD,), _PAUSE)
        reap()


def original_environment() -> dict[bytes, bytes]:
    """Return the environment that this process was started with (proc(5)), whatever was set since."""
    pairs = (it.partition(b"=") for it in Path("/proc/self/environ").read_bytes().split(b"\0"))
    return {name: value for name, mark, value in pairs if mark}


def main(words: Sequence[str]) -> int:
    """Start the command, wait for its end, and return its exit status; 128 and more for a signal."""
    parent, report, held = map(int, words[:3])
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    for descriptor in (report, held):
        if descriptor != _NONE:
            os.set_inheritable(descriptor, False)
    adopt_orphans()
    _prctl(_PR_SET_PDEATHSIG, _PARENT_GONE)
    command = _started(words[5:], report, words[3])
    while os.getppid() == parent:  # also where it went before the kernel was asked to tell
        if (status := _ended(command)) is not None:
            return status
        if signal.sigwait((signal.SIGCHLD, _PARENT_GONE, END)) == END:
            break
    end_all(lambda: descendants(os.getpid()), time.monotonic() + PATIENCE, lambda: _reap(command))
    return _BY_SIGNAL + signal.SIGKILL


def _started(command: Sequence[str], report: int, core: str) -> int:
    guardian = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _become(command, guardian, core)
        except OSError as error:
            if report == _NONE:
                os.write(2, f"{command[0]} cannot be started: {error.strerror}\n".encode(errors="replace"))
            else:
                os.write(report, f" -{error.errno}".encode())
        finally:
            os._exit(NOT_STARTED)
    if report != _NONE:
        os.write(report, f" {pid}".encode())
        os.close(report)
    return pid


def _become(command: Sequence[str], guardian: int, core: str) -> None:
    """Turn into the command, which finds everything as at a shell: a group of its own, no signal blocked or ignored."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guardian:
        os._exit(NOT_STARTED)
    os.setpgid(0, 0)
    if core:
        resource.setrlimit(resource.RLIMIT_CORE, (int(core), resource.getrlimit(resource.RLIMIT_CORE)[1]))
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execve(command[0], list(command), original_environment())  # noqa: S606 - no shell is wanted


def _ended(command: int) -> int | None:
    """Return the command's exit status once it ended; it is not reaped, so its number stays its own."""
    _reap(command)
    info = os.waitid(os.P_PID, command, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if info is None:
        return None
    return info.si_status if info.si_code == os.CLD_EXITED else _BY_SIGNAL + info.si_status


def _reap(command: int) -> None:
    """Reap the orphans that ended."""
    while (info := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and info.si_pid != command:
        os.waitpid(info.si_pid, 0)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
