"""Where foreign code may look at a restored home: without a network, and where possible without keys and sockets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import platformdirs

from hermes_backup import APP
from hermes_backup.errors import Fault
from hermes_backup.streams.process import Completed, run

_INTERFACES = "/proc/self/net/dev"
_HEADINGS = 2
_TRIAL_SECONDS = 10.0
_STAGE = "check"
_SHARED = ("/run", "/tmp", "/var/tmp", "/etc/hermes-backup", "/var/lib/hermes-backup")  # noqa: S108 - to be hidden
_OF_USERS = ("~/.gnupg", "~/.ssh", "~/.config/rclone", "~/.rclone.conf")
# root keeps its user namespace, or files of a home's owner are nobody's; it keeps what opens them, and cannot unmount
_AS_ROOT = (
    *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try", "--cap-drop", "ALL"),
    *("--cap-add", "CAP_DAC_OVERRIDE", "--cap-add", "CAP_FOWNER", "--cap-add", "CAP_CHOWN"),
)
_AS_USER = ("--unshare-all", "--cap-drop", "ALL")
_BUBBLEWRAP = "bubblewrap: no network, no keys, no sockets of services, nothing written outside the scratch folder"
_UNSHARE = "unshare: no network, but all files can be read and written, keys too, and sockets of services reached"


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
        seen = root.resolve()  # a link on the way to it may lie in what is hidden
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "HOME": str(home),
            "TMPDIR": str(home),
            "HERMES_HOME": str(seen),
            "HERMES_DISABLE_LAZY_INSTALLS": "1",
        }
        return run([*self.words, *argv], stage=_STAGE, env=env, timeout=seconds, cwd=seen)


def sandbox(folder: Path, gnupghome: Path | None = None, python: Path | None = None) -> Sandbox | None:
    """Return the best sandbox that this machine gives, tried out; None where there is none.

    ``folder`` is the run's private one: all that a command may write to, where bubblewrap is installed. There
    ``gnupghome`` is hidden with all else that holds keys, and ``python`` and ours are seen wherever they lie.
    """
    return next((it for it in _ways(folder.resolve(), gnupghome, python) if _isolates(it)), None)


def _ways(folder: Path, gnupghome: Path | None, python: Path | None) -> Iterator[Sandbox]:
    if which("bwrap") is not None:
        alone = _AS_ROOT if os.geteuid() == 0 else _AS_USER
        whole = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", *_view(folder, gnupghome, python))
        yield Sandbox(("bwrap", *alone, "--die-with-parent", "--new-session", *whole, "--"), _BUBBLEWRAP, folder)
    mapped = () if os.geteuid() == 0 else ("--user", "--map-current-user")
    apart = ("--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child")
    yield Sandbox(("unshare", *mapped, *apart, "--mount-proc", "--"), _UNSHARE, folder)
    yield Sandbox(("unshare", *mapped, *apart, "--"), _UNSHARE, folder)


def _view(folder: Path, gnupghome: Path | None, python: Path | None) -> Iterator[str]:
    """Give the mounts over the bare root: the deeper a folder lies, the later, so that each is as it is meant."""
    secret = (*_secret(gnupghome), *_beside(folder))
    hidden = {it.resolve() for it in secret if _is(Path.is_dir, it)}
    files = {it.resolve() for it in secret if _is(Path.is_file, it)}
    needed = {it for it in _prefixes(python) if any(it != over and it.is_relative_to(over) for over in hidden)}
    mounts = [
        *((it, ["--tmpfs", str(it)]) for it in hidden),
        *((it, ["--ro-bind", os.devnull, str(it)]) for it in files),
        *((it, ["--ro-bind", str(it), str(it)]) for it in needed),
        (folder, ["--bind", str(folder), str(folder)]),
    ]
    for _, words in sorted(mounts, key=lambda it: len(it[0].parts)):
        yield from words


def _secret(gnupghome: Path | None) -> Iterator[Path]:
    """Give where keys, credentials and sockets lie: sockets answer also where nothing can be written."""
    yield from map(Path, _SHARED)
    yield from (Path(it).expanduser() for it in _OF_USERS)
    yield platformdirs.user_state_path(APP)  # the key by which evidence is signed
    yield platformdirs.user_config_path(APP)
    yield platformdirs.user_cache_path(APP)
    yield platformdirs.user_config_path("rclone")
    if named := os.environ.get("RCLONE_CONFIG"):
        yield Path(named)
    if gnupghome is not None:
        yield gnupghome


def _beside(folder: Path) -> Iterator[Path]:
    """Give the folder in which the run's own lies, and those of other drills with it."""
    if folder.parent != Path(folder.anchor):
        yield folder.parent


def _prefixes(python: Path | None) -> set[Path]:
    """Give the folders without which an interpreter does not start: its environment's and its own."""
    agents = () if python is None else (python.absolute().parent.parent, python.resolve().parent.parent)
    return {Path(sys.prefix), Path(sys.base_prefix), *agents}


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    try:
        return kind(path)
    except OSError:  # where we cannot look, a command cannot either
        return False


def _isolates(candidate: Sandbox) -> bool:
    """Believe a sandbox only when no interface but the loopback is seen inside."""
    try:
        done = candidate.run(["cat", _INTERFACES], candidate.folder, _TRIAL_SECONDS)
    except (Fault, OSError, subprocess.TimeoutExpired):
        return False
    lines = done.stdout.decode("ascii", "replace").splitlines()[_HEADINGS:]
    return done.returncode == 0 and all(line.partition(":")[0].strip() == "lo" for line in lines)
