"""One playbook run through ansible-runner, and how it is interrupted.

What is known of ansible-runner 2.4 and ansible-core 2.19, and answered here:

- it copies the whole environment to the children and into its artifacts: the environment is replaced by a clean one;
- it writes variables, events and artifacts to disk: they lie in a fresh private folder, in memory where there is
  a tmpfs, and go with the run;
- its return code is unreliable: the outcome is read from the event ``playbook_on_stats``;
- its own cancelling kills ansible-playbook and leaves workers alive: SIGINT first, and the kill after a grace.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hermes_backup.errors import FLEET_MISSING, Fault
from hermes_backup.fleet.inventory import data_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

KILL_AFTER = 10.0
"""Seconds that ansible-playbook gets to end by itself after an interrupt."""
PATIENCE = 120
"""Seconds that a host may take to answer a task, unless ANSIBLE_TASK_TIMEOUT says otherwise."""
_KINDS = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_retry": "retry",
}
_KEPT = ("HOME", "USER", "LOGNAME", "PATH", "TMPDIR", "TZ", "TERM", "KRB5CCNAME")
_KEPT_PREFIXES = ("ANSIBLE_", "SSH_", "XDG_", "LC_")
_OUTPUT_KEPT = 400


@dataclass(frozen=True)
class Event:
    """What a task said of a host: ``kind`` is ok, failed, unreachable or retry."""

    kind: str
    host: str
    task: str
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How a playbook ended.

    Attributes:
        hosts: those that the play reached the end with; None when the play did not even start.
        output: the last lines that Ansible said, for an error that belongs to no host.
    """

    hosts: frozenset[str] | None
    failed: frozenset[str]
    unreachable: frozenset[str]
    interrupted: bool
    output: str


@dataclass
class Play:
    """A playbook to be run once.

    Attributes:
        sources: inventory sources, the weakest first.
        variables: extra variables; they override everything.
        files: private files beside them, by name; the folder is the variable ``hermes_run.folder``.
    """

    playbook: Path
    sources: Sequence[Path]
    variables: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    forks: int = 20
    options: Sequence[str] = ()
    """Words for ansible-playbook, such as ``--check``."""
    patience: int = PATIENCE
    on_event: Callable[[Event], None] = lambda _: None
    on_tick: Callable[[], None] = lambda: None
    """Called about five times a second."""
    collect: Callable[[Path], None] = lambda _: None
    """Called with the private folder before it goes."""
    _pid: int = 0
    _playbook: str = ""
    _interrupted_at: float | None = None
    _stats: Mapping[str, Any] | None = None
    _output: list[str] = field(default_factory=list)

    def run(self) -> Outcome:
        """Run the playbook to its end.

        Raises:
            Fault: FLEET_MISSING when Ansible is not installed.
        """
        runner = _runner_module()
        with private_folder() as folder:
            self._write(folder)
            made = runner.init_runner(
                private_data_dir=str(folder),
                project_dir=str(Path.cwd()),
                playbook=str(self.playbook),
                inventory=[str(source) for source in self.sources],
                envvars=environment(folder, self.patience),
                forks=self.forks,
                cmdline=" ".join(self.options) or None,
                quiet=True,
                event_handler=self._on_event,
                cancel_callback=self._tick,
            )
            for name in [it for it in made.config.env if not _kept(it)]:
                del made.config.env[name]
            made.run()
            if self._stats is None:
                _kill_workers(folder)
            self.collect(folder / "private")
        return self._outcome()

    def interrupt(self) -> None:
        """Ask Ansible to end; it is killed when it does not within :data:`KILL_AFTER` seconds."""
        if self._interrupted_at is None:
            self._interrupted_at = time.monotonic()
        if self._pid:
            _signal(self._pid, signal.SIGINT)

    def _write(self, folder: Path) -> None:
        private = folder / "private"
        private.mkdir(mode=0o700)
        for name, text in self.files.items():
            private_file(private / name, text)
        env = folder / "env"
        env.mkdir(mode=0o700)
        (folder / "tmp").mkdir(mode=0o700)
        run = {**self.variables.get("hermes_run", {}), "folder": str(private), "root": os.geteuid() == 0}
        private_file(env / "extravars", json.dumps({**self.variables, "hermes_run": run}))
        private_file(env / "settings", json.dumps({"pexpect_timeout": 0.2, "suppress_output_file": True}))

    def _on_event(self, event: Mapping[str, Any]) -> bool:
        if not self._is_ours(event):
            return False
        if event.get("pid") and not self._pid:
            self._pid = int(event["pid"])
            if self._interrupted_at is not None:
                _signal(self._pid, signal.SIGINT)
        kind, data = str(event.get("event", "")), event.get("event_data") or {}
        if kind == "playbook_on_stats":
            self._stats = data
        elif kind in _KINDS:
            result = data.get("res") or {}
            self.on_event(Event(_KINDS[kind], str(data.get("host", "")), str(data.get("task", "")), result))
        if kind in ("error", "verbose", "warning", "") and event.get("stdout"):
            self._output = [*self._output, str(event["stdout"])][-_OUTPUT_KEPT:]
        return False

    def _is_ours(self, event: Mapping[str, Any]) -> bool:
        """Whether Ansible's callback sent it. The runner reads events off a terminal, where hosts' words stand, too.

        The first event comes before any host is reached, and its random id of the playbook is told to none.
        """
        data = event.get("event_data") or {}
        if event.get("event") == "playbook_on_start" and not self._playbook:
            self._playbook = str(data.get("playbook_uuid") or "")
        if event.get("event") in ("playbook_on_stats", *_KINDS):
            return bool(self._playbook) and data.get("playbook_uuid") == self._playbook
        return True

    def _tick(self) -> bool:
        """Return whether ansible-playbook must be killed: at once while it has not begun anything."""
        self.on_tick()
        if self._interrupted_at is None:
            return False
        return not self._pid or time.monotonic() - self._interrupted_at > KILL_AFTER

    def _outcome(self) -> Outcome:
        stats = self._stats or {}
        hosts = None if self._stats is None else frozenset(stats.get("processed", {}))
        return Outcome(
            hosts=hosts,
            failed=frozenset(stats.get("failures", {})),
            unreachable=frozenset(stats.get("dark", {})),
            interrupted=self._interrupted_at is not None,
            output="\n".join(self._output).strip(),
        )


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """Call ``interrupt`` at SIGINT and SIGTERM instead of dying, as long as the block lasts in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(*_: object) -> None:
        interrupt()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def require_ansible() -> None:
    """Make sure that Ansible is installed beside this program.

    Raises:
        Fault: FLEET_MISSING.
    """
    if importlib.util.find_spec("ansible") is None:
        raise Fault(FLEET_MISSING, "ansible is not installed")


def _runner_module() -> Any:
    require_ansible()
    try:
        from ansible_runner import interface
    except ImportError as error:
        raise Fault(FLEET_MISSING, f"{error.name} is not installed") from None
    return interface


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a private folder, in memory where there is room for shared memory, and remove it afterwards."""
    shared = Path("/dev/shm")  # noqa: S108 - the folder within is private and new
    parent = shared if shared.is_dir() and os.access(shared, os.W_OK | os.X_OK) else None
    with tempfile.TemporaryDirectory(prefix="hermes-backup-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


def private_file(file: Path, text: str) -> None:
    """Write a new file, mode 0600."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:  # noqa: PTH123 - pathlib cannot open a descriptor
        out.write(text)


def environment(folder: Path, patience: int = PATIENCE) -> dict[str, str]:
    """Return the environment of Ansible's programs: what is the user's and harmless, and our own settings."""
    programs = str(Path(sys.executable).parent)
    return {
        **{name: value for name, value in os.environ.items() if _kept(name)},
        "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)]),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_ROLES_PATH": str(data_folder("roles")),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        # a connection that went dead is noticed after a minute; the rest is Ansible's own default
        "ANSIBLE_SSH_ARGS": "-C -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=15 "
        "-o ServerAliveCountMax=4",
        # one that hangs on the host, as a dead NFS does to it, is not
        "ANSIBLE_TASK_TIMEOUT": os.environ.get("ANSIBLE_TASK_TIMEOUT", str(patience)),
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_GATHERING": "explicit",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
        "ANSIBLE_PYTHON_INTERPRETER": os.environ.get("ANSIBLE_PYTHON_INTERPRETER", "auto_silent"),
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
        "ANSIBLE_LOCALHOST_WARNING": "False",
    }


def _kill_workers(folder: Path) -> None:
    """End what a killed ansible-playbook leaves: its workers are sessions of their own, and would write here again."""
    mark = f"AWX_ISOLATED_DATA_DIR={folder}".encode()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # not ours, or gone already
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                _signal(int(entry.name), signal.SIGKILL)


def _kept(name: str) -> bool:
    ours = ("AWX_", "RUNNER_", "LANG")
    return name in _KEPT or name.startswith((*_KEPT_PREFIXES, *ours))


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
