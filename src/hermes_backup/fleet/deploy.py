"""Hosts brought to their declared state: probed, given what they lack, and left with a note of what is deployed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from hermes_backup import __version__
from hermes_backup.errors import CONFIG_INVALID, DEPLOY_FAILED, Fault
from hermes_backup.fleet.changing import Deployed, Options, change, name_of
from hermes_backup.fleet.declared import Declared, declared, programs
from hermes_backup.fleet.pins import pin
from hermes_backup.fleet.play import Event
from hermes_backup.fleet.probe import Probe
from hermes_backup.fleet.render import Fleet, FleetHost
from hermes_backup.fleet.wheels import Sort, carry

_PUBLIC_KEY = "backup_agent_public_key"
_LITTLE = 60
_NO_SYSTEMD = "no systemd there, so nothing runs by itself: let its own scheduler call `hermes-backup agent run`"


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
    _keys: dict[str, str] = field(default_factory=dict)

    def execute(self) -> tuple[Deployed, ...]:
        """Bring every host to its declared state, and return how it went, in the order of the hosts.

        Raises:
            Fault: CONFIG_INVALID before anything is connected to, FLEET_MISSING; INTERRUPTED.
        """
        names = [host.name for host in self.fleet.hosts]
        wanted = {host.name: declared(host, names) for host in self.hosts}
        require_own_units(self.fleet.hosts)
        asked = {it.name: {"also": programs(it.sound)} for it in self.hosts}
        probed = change(self.fleet, "probe.yml", asked, Options(forks=self.options.forks), self._on_probe)
        done = {it.host: self._judged(it) for it in probed}
        jobs: dict[str, Mapping[str, Any]] = {}
        for host in self.hosts:
            if done[host.name].fault is None:
                try:
                    jobs[host.name] = self._job(host, wanted[host.name])
                except Fault as fault:
                    done[host.name] = replace(done[host.name], fault=fault)
        if jobs:
            patience = max(it.coming.start_timeout + _LITTLE if it.coming else 0 for it in wanted.values())
            changed = change(self.fleet, "deploy.yml", jobs, self.options, self._on_event, patience)
            done |= {it.host: it for it in changed}
        return tuple(self._finished(it) for it in done.values())

    def _on_probe(self, event: Event) -> None:
        if event.kind == "ok":
            try:
                self._probes[event.host] = Probe.model_validate(event.result)
            except ValidationError:
                self._probes.pop(event.host, None)

    def _judged(self, probed: Deployed) -> Deployed:
        fault = probed.fault
        if fault is None and probed.host not in self._probes:
            fault = Fault(DEPLOY_FAILED, "what it says of itself makes no sense", where=probed.host)
        return replace(probed, fault=fault)

    def _on_event(self, event: Event) -> None:
        if event.kind == "ok" and event.result.get("changed"):
            self.note(f"{event.host}: {name_of(event)}")
        key = (event.result.get("ansible_facts") or {}).get(_PUBLIC_KEY)
        if isinstance(key, str):
            self._keys[event.host] = key

    def _job(self, host: FleetHost, wanted: Declared) -> Mapping[str, Any]:
        probe = self._probes[host.name]
        python = probe.usable(host.name)
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

    def _finished(self, done: Deployed) -> Deployed:
        """Pin the key that the host showed, and say what it lacks."""
        probe = self._probes.get(done.host)
        if probe is not None and not probe.systemd:
            done = replace(done, warnings=(_NO_SYSTEMD,))
        try:
            if done.host in self._keys and pin(self.fleet.inventory.pins, done.host, self._keys[done.host]):
                self.note(f"pinned the signing key of {done.host} in {self.fleet.inventory.pins}")
        except Fault as fault:
            return replace(done, fault=fault)
        return done


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
