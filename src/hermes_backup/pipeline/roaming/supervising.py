"""A command run with snapshots beside it: on a schedule, and a last one when it has ended, whatever ended it.

Written for the first process of a container: it passes signals on, reaps whatever loses its parent, and knows how
long it may take to stop. All signals are blocked and waited for (sigwaitinfo(2)), so none comes in between.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from hermes_backup.streams.core_dumps import started_with
from hermes_backup.streams.guardian import NOT_STARTED, PATIENCE, adopt_orphans, descendants, end_all, guarded

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_PASSED_ON = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)
_HEARD = (*_ENDING, *_PASSED_ON, signal.SIGCHLD)
_SURPLUS = 1.5  # of what the last snapshot took, for the last one
_START = 3.0  # seconds for the last one to begin and to be written down
_UNMEASURED = 0.5  # of the grace, where no snapshot was measured yet
_BY_SIGNAL = 128
_CLEANING = 5.0  # seconds for a snapshot that is ended to clean up
_SHOWING = ("(squashfuse)", "(fuse-overlayfs)")  # they show the home


@dataclass(frozen=True)
class Work:
    """What is run, and when; times in seconds.

    Attributes:
        command: the command; empty: snapshots alone, until a signal.
        environment: of the command; ``umask`` is, too.
        lock: a descriptor of the lock on the home, which is held until the command has ended, however we end.
        snapshot: the argv of a snapshot on schedule; ``last`` of the last one, ``renew`` of what is run in between.
        grace: how long this process has to end after SIGTERM.
    """

    command: Sequence[str]
    environment: Mapping[bytes, bytes]
    umask: int
    lock: int
    snapshot: Sequence[str]
    last: Sequence[str]
    renew: Sequence[str]
    every: float
    renew_every: float
    grace: float


@dataclass(frozen=True)
class Ended:
    """How it ended: the command's status as a shell tells it, None where there was none; the last snapshot's too."""

    command: int | None
    last: int
    skipped: int


def hold_signals() -> None:
    """Keep every signal that a supervisor hears until there is one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)


def patience(grace: float, measured: float | None) -> float:
    """Return for how many seconds the command may take to end, so that a snapshot fits into the grace after it."""
    needed = grace * _UNMEASURED if measured is None else measured * _SURPLUS + _START
    return max(grace - needed, min(grace, 1.0))


def fits(grace: float, measured: float) -> bool:
    """Say whether a snapshot as long as the one measured fits into the grace, a second being left to the command."""
    return measured * _SURPLUS + _START + 1.0 <= grace


@dataclass
class Supervisor:
    """Runs the work once.

    Attributes:
        measured: how many seconds the last snapshot took; None before the first.
        ran: is told the exit status of each snapshot on schedule.
        failed: is told why the command cannot be started.
        skipped: is told of each time at which the snapshot before was still under way.
    """

    work: Work
    measured: Callable[[], float | None]
    ran: Callable[[int], None]
    skipped: Callable[[int], None]
    failed: Callable[[OSError], None]
    _command: int = 0
    _guardian: int = 0
    _status: int | None = None
    _running: dict[int, str] = field(default_factory=dict)
    _deadline: float | None = None
    _skips: int = 0
    _over: bool = False
    _last: int = 0

    def run(self) -> Ended:
        """Run the command to its end, and take the last snapshot."""
        hold_signals()
        adopt_orphans()
        terminal = _terminal()
        try:
            if self.work.command:
                self._begin()
                _give_terminal(terminal, self._command)
            self._watch()
        finally:
            _give_terminal(terminal, os.getpgrp())
        self._over = True
        for pid in self._of("snapshot", "renew"):
            os.kill(pid, signal.SIGTERM)  # it cleans up, and what it would have saved is older
        self._until_gone("snapshot", "renew", patience=_CLEANING)
        self._end_what_is_left()
        self._running[_spawn(self.work.last, os.environ, quiet=True)] = "last"
        return Ended(self._status if self.work.command else None, self._until_gone("last"), self._skips)

    def _begin(self) -> None:
        """Start the command; where that fails, the home is there all the same, and is taken away as after any end."""
        before = os.umask(self.work.umask)
        reader, writer = os.pipe()
        for it in (writer, self.work.lock):
            os.set_inheritable(it, True)
        try:
            argv = guarded(self.work.command, report=writer, held=self.work.lock, core=started_with())
            self._guardian = _spawn(argv, self.work.environment)
        finally:
            for it in (writer, self.work.lock):
                os.set_inheritable(it, False)
            os.close(writer)
            os.umask(before)
        with os.fdopen(reader, "rb") as told:
            numbers = [int(it) for it in told.read().split()]
        for number in numbers:
            if number < 0:
                self._status = NOT_STARTED
                self.failed(OSError(-number, os.strerror(-number)))
            else:
                self._command = number

    def _end_what_is_left(self) -> None:
        """End what the command left running: it would write on after the last snapshot."""
        begun = time.monotonic()
        end_all(self._left, begun + PATIENCE if self._deadline is None else max(self._deadline, begun), self._reap)

    def _left(self) -> set[int]:
        below = descendants(os.getpid())
        return {pid for pid, name in below.items() if name not in _SHOWING} - self._running.keys()

    def _watch(self) -> None:
        begun = time.monotonic()
        tick = begun if self.measured() is None else begun + self.work.every
        renew = begun + self.work.renew_every
        while self._status is None:
            now = time.monotonic()
            if self._deadline is None and now >= tick:
                self._tick()
                tick += self.work.every * (1 + (now - tick) // self.work.every)
            if self._deadline is None and now >= renew:
                renew = now + self.work.renew_every
                if not self._of("renew"):
                    self._running[_spawn(self.work.renew, os.environ, quiet=True)] = "renew"
            until = min(tick, renew) if self._deadline is None else self._deadline
            if self._command and self._deadline is not None and now >= self._deadline:
                with suppress(ProcessLookupError):
                    os.killpg(self._command, signal.SIGKILL)
                until = now + 1.0
            self._hear(min(max(until - time.monotonic(), 0.0), 3600.0))

    def _tick(self) -> None:
        if self._of("snapshot"):
            self._skips += 1
            self.skipped(self._skips)
        else:
            self._running[_spawn(self.work.snapshot, os.environ, quiet=True)] = "snapshot"

    def _hear(self, seconds: float) -> None:
        heard = signal.sigtimedwait(_HEARD, seconds)
        if heard is None:
            return
        if heard.si_signo == signal.SIGCHLD:
            self._reap()
            return
        if heard.si_signo in _ENDING and self._deadline is None:
            self._deadline = time.monotonic() + patience(self.work.grace, self.measured())
            if not self._command:
                self._status = 0
        if self._command and self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self._command, heard.si_signo)

    def _reap(self) -> None:
        """Take the status of everything that ended; of what was not started here, nobody else would."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            code = _BY_SIGNAL - code if code < 0 else code
            if pid == self._guardian:
                self._status = code
            role = self._running.pop(pid, "")
            if role == "snapshot" and not self._over:
                self.ran(code)
            elif role == "last":
                self._last = code

    def _until_gone(self, *roles: str, patience: float = float("inf")) -> int:
        until = time.monotonic() + patience
        while left := self._of(*roles):
            signal.sigtimedwait(_HEARD, 0.5)  # what ends us has been heard
            self._reap()
            if time.monotonic() >= until:
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        return self._last

    def _of(self, *roles: str) -> list[int]:
        return [pid for pid, role in self._running.items() if role in roles]


def _spawn(argv: Sequence[str], environment: Mapping[str, str] | Mapping[bytes, bytes], *, quiet: bool = False) -> int:
    """Start a child in a group of its own, with no signal blocked, as it would find them at a shell."""
    actions = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)] if quiet else []
    return os.posix_spawnp(
        argv[0], list(argv), environment, file_actions=actions, setpgroup=0, setsigmask=(), setsigdef=_HEARD
    )


def _terminal() -> int | None:
    return 0 if os.isatty(0) else None


def _give_terminal(descriptor: int | None, group: int) -> None:
    if descriptor is None:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTTOU,))
    with suppress(OSError):
        os.tcsetpgrp(descriptor, group)
