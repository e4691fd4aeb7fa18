"""How a host is reached for what streams: the command line that Ansible's own connection would run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hermes_backup.errors import CONFIG_INVALID, INTERRUPTED, Fault
from hermes_backup.fleet.jobs import for_hosts
from hermes_backup.fleet.outcome import broken, unreachable
from hermes_backup.fleet.play import Event, interruptible

if TYPE_CHECKING:
    from hermes_backup.fleet.render import Fleet, FleetHost


def door(fleet: Fleet, host: FleetHost, command: Sequence[str]) -> tuple[str, ...]:
    """Return the words that run a command on a host, as whom Ansible would, with this process's own pipes.

    Raises:
        Fault: HOST_UNREACHABLE, PYTHON_MISSING; HOSTS_FAILED for a connection that cannot stream, or wants a password;
            CONFIG_INVALID, FLEET_MISSING, INTERRUPTED.
    """
    if host.is_here:
        return tuple(command)
    found: list[tuple[str, ...]] = []
    faults: list[Fault] = []

    def heard(event: Event) -> None:
        if event.kind == "unreachable":
            faults.append(unreachable(event.host, event.result))
        elif event.kind == "failed":
            faults.append(broken(event.host, event.result))

    def collected(folder: Path) -> None:
        found.extend(tuple(json.loads(it.read_text(encoding="utf-8"))) for it in folder.glob("*.door.json"))

    play = for_hosts(fleet, "door.yml", {host.name: {"command": list(command)}}, heard, collect=collected)
    with interruptible(play.interrupt):
        outcome = play.run()
    if faults:
        raise faults[0]
    if outcome.interrupted:
        raise Fault(INTERRUPTED, "stopped before anything was sent")
    if not found:
        raise Fault(CONFIG_INVALID, f"Ansible did not run: {outcome.output}", where=fleet.inventory.name)
    return found[0]
