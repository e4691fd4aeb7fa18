"""Hosts brought to their declared state: probed, given what they lack, and left with a note of what is deployed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from hermes_backup import __version__
from hermes_backup.errors import (
    CONFIG_INVALID,
    DEPLOY_FAILED,
    HOST_UNREACHABLE,
    INTERRUPTED,
    PYTHON_MISSING,
    ExitCode,
    Fault,
)
from hermes_backup.fleet.declared import Declared, declared
from hermes_backup.fleet.differences import differences
from hermes_backup.fleet.jobs import for_hosts
from hermes_backup.fleet.outcome import broken
from hermes_backup.fleet.pins import pin
from hermes_backup.fleet.play import Event, interruptible
from hermes_backup.fleet.probe import Probe
from hermes_backup.fleet.render import Fleet, FleetHost
from hermes_backup.fleet.wheels import Sort, carry

_PUBLIC_KEY = "backup_agent_public_key"
_NO_PYTHON = ("No such file or directory", "not found", "No python interpreters found")


@dataclass(frozen=True)
class Deployed:
    """How a deployment went on one host: what it changed, as the tasks name it, and the fault if it failed."""

    host: str
    changed: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    fault: Fault | None = None


@dataclass(frozen=True)
class Options:
    """``check``: change nothing, only say what would change; ``difference``: show changes of files line by line.

    ``forks``: so many hosts at a time, 0 for all.
    """

    check: bool = False
    difference: bool = False
    forks: int = 0


@dataclass
class Deployment:
    """One deployment to some hosts of a fleet. Use it once.

    Attributes:
        note: is told what happens, in sentences.
    """

    fleet: Fleet
    hosts: Sequence[FleetHost]
    options: Options
    note: Callable[[str], None]
    _probes: dict[str, Probe] = field(default_factory=dict)
    _done: dict[str, Deployed] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)

    def execute(self) -> tuple[Deployed, ...]:
        """Bring every host to its declared state, and return how it went, in the order of the hosts.

        Raises:
            Fault: CONFIG_INVALID before anything is connected to, FLEET_MISSING; INTERRUPTED.
        """
        names = [host.name for host in self.fleet.hosts]
        wanted = {host.name: declared(host, names) for host in self.hosts}
        require_own_units(self.hosts)
        self._done = {name: Deployed(name) for name in wanted}
        self._play("probe.yml", {name: {} for name in wanted})
        ready: dict[str, Mapping[str, Any]] = {}
        for host in self.hosts:
            if host.name in self._probes:
                try:
                    ready[host.name] = self._job(host, wanted[host.name])
                except Fault as fault:
                    self._failed(host.name, fault)
        if ready:
            check = ["--check"] if self.options.check else []
            self._play("deploy.yml", ready, [*check, *(["--diff"] if self.options.difference else [])])
        for name, key in self._keys.items():
            self._pin(name, key)
        return tuple(self._done.values())

    def _play(self, playbook: str, jobs: Mapping[str, Mapping[str, Any]], options: Sequence[str] = ()) -> None:
        play = for_hosts(self.fleet, playbook, jobs, self._on_event, forks=self.options.forks, options=options)
        with interruptible(play.interrupt):
            outcome = play.run()
        if outcome.interrupted:
            raise Fault(INTERRUPTED, "stopped; deploying again goes on where this stopped")
        if outcome.hosts is None:
            raise Fault(CONFIG_INVALID, f"Ansible did not run: {outcome.output}", where=self.fleet.inventory.name)

    def _on_event(self, event: Event) -> None:
        done = self._done[event.host]
        task = event.task.rpartition(" : ")[2]
        if event.kind == "unreachable":
            what = str(event.result.get("msg") or "no answer")
            self._failed(event.host, Fault(HOST_UNREACHABLE, what, where=event.host))
        elif event.kind == "failed":
            self._failed(event.host, _fault(event.host, task, event.result))
        elif task == "Probe":
            self._probed(event.host, event.result)
        elif event.result.get("changed"):
            self._done[event.host] = replace(
                done,
                changed=(*done.changed, task),
                differences=(*done.differences, *differences(event.result)) if self.options.difference else (),
            )
            self.note(f"{event.host}: {task}")
        key = (event.result.get("ansible_facts") or {}).get(_PUBLIC_KEY)
        if isinstance(key, str):
            self._keys[event.host] = key

    def _job(self, host: FleetHost, wanted: Declared) -> Mapping[str, Any]:
        probe = self._probes[host.name]
        python = probe.usable(host.name)
        if not probe.systemd:
            what = "no systemd there, so nothing runs by itself: let its own scheduler call `hermes-backup agent run`"
            self._done[host.name] = replace(self._done[host.name], warnings=(what,))
        release, wheels = __version__, ""
        if host.means.packages == "carried":
            carried = carry(Sort(python.version, probe.machine))
            release, wheels = carried.digest, str(carried.tar)
        return {
            **asdict(wanted),
            "digest": wanted.digest,
            "version": __version__,
            "release": release,
            "wheels": wheels,
            "python": python.path,
            "missing": probe.missing,
            "releases": probe.releases,
            "systemd": probe.systemd,
        }

    def _probed(self, host: str, result: Mapping[str, Any]) -> None:
        try:
            self._probes[host] = Probe.model_validate(result)
        except ValidationError:
            self._failed(host, Fault(DEPLOY_FAILED, "what it says of itself makes no sense", where=host))

    def _failed(self, host: str, fault: Fault) -> None:
        self._done[host] = replace(self._done[host], fault=fault)

    def _pin(self, host: str, key: str) -> None:
        try:
            if pin(self.fleet.inventory.pins, host, key):
                self.note(f"pinned the signing key of {host} in {self.fleet.inventory.pins}")
        except Fault as fault:
            self._failed(host, fault)


def require_own_units(hosts: Sequence[FleetHost]) -> None:
    """Make sure that homes on one machine have units of different names.

    Raises:
        Fault: CONFIG_INVALID.
    """
    taken: dict[tuple[str, str], str] = {}
    for host in hosts:
        other = taken.setdefault((host.address, host.means.unit), host.name)
        if other != host.name:
            what = f"{other} and {host.name} are on one machine, and their units are both called {host.means.unit}"
            mend = f"Set hermes_backup_unit: hermes-backup-{host.name} for {host.name}."
            raise Fault(CONFIG_INVALID, what, where=host.name, mend=mend)


def exit_code(done: Sequence[Deployed]) -> ExitCode:
    """Return the exit code of a deployment: a single host's own; of several, that some failed."""
    faults = [it.fault for it in done if it.fault is not None]
    if not faults:
        return ExitCode.OK
    return faults[0].kind.exit_code if len(done) == 1 else ExitCode.HOSTS


def _fault(host: str, task: str, result: Mapping[str, Any]) -> Fault:
    fault = broken(host, result)
    said = f"{fault.what} {result.get('module_stderr') or ''} {result.get('module_stdout') or ''}"
    if task == "Probe" and "python" in said and any(it in said for it in _NO_PYTHON):
        return Fault(PYTHON_MISSING, "there is no Python on it", where=host)
    if isinstance(result.get("error"), Mapping):
        return fault
    stderr = str(result.get("stderr") or "").strip()
    return Fault(DEPLOY_FAILED, f"{task}: {fault.what}" + (f": {stderr}" if stderr else ""), where=host)
