"""hermes-backup taken off hosts again; snapshots stay where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hermes_backup.fleet.changing import Deployed, Options, change
from hermes_backup.fleet.coming import PIPELINE
from hermes_backup.fleet.declared import CONFIG_DIR, STATE

if TYPE_CHECKING:
    from hermes_backup.fleet.render import Fleet, FleetHost


def remove(fleet: Fleet, hosts: Sequence[FleetHost], forks: int = 0) -> tuple[Deployed, ...]:
    """Remove units, program, configuration, credentials, state and signing key, and return how it went.

    A home that comes and goes is saved and taken away first; where that fails, everything stays.

    Raises:
        Fault: CONFIG_INVALID when Ansible did not run, FLEET_MISSING; INTERRUPTED.
    """
    return change(fleet, "remove.yml", {host.name: _job(host) for host in hosts}, Options(forks=forks))


def _job(host: FleetHost) -> Mapping[str, Any]:
    state = host.config.state if host.config is not None else ""
    return {
        "host": host.name,
        "unit": host.means.unit,
        "pipeline": PIPELINE,
        "config_dir": host.means.config_dir or CONFIG_DIR,
        "state": state or STATE,
    }
