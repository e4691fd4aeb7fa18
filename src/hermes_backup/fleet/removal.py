"""hermes-backup taken off hosts again; snapshots stay where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hermes_backup.errors import CONFIG_INVALID, DEPLOY_FAILED, HOST_UNREACHABLE, INTERRUPTED, Fault
from hermes_backup.fleet.declared import CONFIG_DIR, STATE
from hermes_backup.fleet.deploy import Deployed
from hermes_backup.fleet.jobs import for_hosts
from hermes_backup.fleet.outcome import broken
from hermes_backup.fleet.play import Event, interruptible

if TYPE_CHECKING:
    from hermes_backup.fleet.render import Fleet, FleetHost


def remove(fleet: Fleet, hosts: Sequence[FleetHost], forks: int = 0) -> tuple[Deployed, ...]:
    """Remove units, program, configuration, credentials, state and signing key, and return how it went.

    Raises:
        Fault: CONFIG_INVALID when Ansible did not run, FLEET_MISSING; INTERRUPTED.
    """
    changed: dict[str, tuple[str, ...]] = {host.name: () for host in hosts}
    faults: dict[str, Fault] = {}

    def on_event(event: Event) -> None:
        task = event.task.rpartition(" : ")[2]
        if event.kind == "unreachable":
            faults[event.host] = Fault(HOST_UNREACHABLE, str(event.result.get("msg") or "no answer"), where=event.host)
        elif event.kind == "failed":
            faults[event.host] = Fault(
                DEPLOY_FAILED, f"{task}: {broken(event.host, event.result).what}", where=event.host
            )
        elif event.result.get("changed"):
            changed[event.host] = (*changed[event.host], task)

    play = for_hosts(fleet, "remove.yml", {host.name: _job(host) for host in hosts}, on_event, forks=forks)
    with interruptible(play.interrupt):
        outcome = play.run()
    if outcome.interrupted:
        raise Fault(INTERRUPTED, "stopped; removing again goes on where this stopped")
    if outcome.hosts is None:
        raise Fault(CONFIG_INVALID, f"Ansible did not run: {outcome.output}", where=fleet.inventory.name)
    return tuple(Deployed(name, done, fault=faults.get(name)) for name, done in changed.items())


def _job(host: FleetHost) -> Mapping[str, Any]:
    state = host.config.state if host.config is not None else ""
    return {
        "host": host.name,
        "unit": host.means.unit,
        "config_dir": host.means.config_dir or CONFIG_DIR,
        "state": state or STATE,
    }
