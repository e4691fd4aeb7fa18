"""Where foreign code may look at a restored home: without a network, and where possible without write access."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from hermes_backup.errors import Fault
from hermes_backup.streams.process import Completed, run

_INTERFACES = "/proc/self/net/dev"
_HEADINGS = 2
_TRIAL_SECONDS = 10.0
_STAGE = "check"


@dataclass(frozen=True)
class Sandbox:
    """What a command's words follow so that it reaches no network; ``how`` says it in words."""

    words: tuple[str, ...]
    how: str
    folder: Path

    def run(self, argv: Sequence[str], root: Path, seconds: float) -> Completed:
        """Run a command in a restored home, with HERMES_HOME set and an empty home folder of its own.

        Raises:
            Fault: TOOL_MISSING; subprocess.TimeoutExpired, the command and its children being killed.
        """
        home = self.folder / "sandbox"
        home.mkdir(mode=0o700, exist_ok=True)
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "HOME": str(home),
            "TMPDIR": str(home),
            "HERMES_HOME": str(root),
            "HERMES_DISABLE_LAZY_INSTALLS": "1",
        }
        return run([*self.words, *argv], stage=_STAGE, env=env, timeout=seconds, cwd=root)


def sandbox(folder: Path) -> Sandbox | None:
    """Return the best sandbox that this machine gives, tried out; None where there is none.

    ``folder`` is the run's private one: all that a command may write to, where bubblewrap is installed.
    """
    return next((it for it in _ways(folder) if _isolates(it)), None)


def _ways(folder: Path) -> Iterator[Sandbox]:
    if which("bwrap") is not None:
        shared = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", str(folder), str(folder))
        words = ("bwrap", "--unshare-all", "--die-with-parent", "--new-session", *shared, "--")
        yield Sandbox(words, "bubblewrap: no network, nothing written outside the scratch folder", folder)
    mapped = () if os.geteuid() == 0 else ("--user", "--map-current-user")
    apart = ("--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child")
    yield Sandbox(("unshare", *mapped, *apart, "--mount-proc", "--"), "unshare: no network", folder)
    yield Sandbox(("unshare", *mapped, *apart, "--"), "unshare: no network", folder)


def _isolates(candidate: Sandbox) -> bool:
    """Believe a sandbox only when no interface but the loopback is seen inside."""
    try:
        done = candidate.run(["cat", _INTERFACES], candidate.folder, _TRIAL_SECONDS)
    except (Fault, OSError, subprocess.TimeoutExpired):
        return False
    lines = done.stdout.decode("ascii", "replace").splitlines()[_HEADINGS:]
    return done.returncode == 0 and all(line.partition(":")[0].strip() == "lo" for line in lines)
