"""An inventory opened for commands that look at snapshots on the trusted machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from hermes_backup.fleet.inventory import Inventory
    from hermes_backup.pipeline.config import HostConfig
    from hermes_backup.pipeline.looking import Shelf

INVENTORY = typer.Argument(help="A path, or a name: ./inventory/NAME, ~/.config/hermes-backup/inventory/NAME, …")
HOST = typer.Argument(help="The host whose home it was.")
PIPELINE = typer.Option("--pipeline", "-p", help="Only this pipeline.")
SNAPSHOT = typer.Argument(help="latest, a sequence number, a name, or a time: 2026-05-05, '3 days ago'.")
LIMIT = typer.Option("--limit", "-l", help="Only these hosts, groups or patterns; !NAME leaves out.")
JSON = typer.Option("--json", help="Print the result as JSON.")
FORKS = typer.Option("--forks", "-f", min=0, help="So many hosts at a time; 0 is all, at most 50.")
SOURCE = typer.Option("--from", help="Only this remote or store.")


def open_hosts(wanted: str, limit: Sequence[str] = ()) -> tuple[tuple[HostConfig, ...], Inventory]:
    """Return the configurations of the chosen hosts, and the inventory that they are from.

    Raises:
        Fault: INVENTORY_MISSING, HOST_MISSING, or what is wrong with these hosts.
    """
    from hermes_backup.fleet.choice import choose
    from hermes_backup.fleet.demo import prepared
    from hermes_backup.fleet.inventory import find_inventory
    from hermes_backup.fleet.remembered import render_for_reading

    inventory = prepared(find_inventory(wanted))
    fleet = render_for_reading(inventory)
    hosts = choose(fleet, limit)
    fleet.demand_sound(hosts)
    return tuple(it.config for it in hosts if it.config is not None), inventory


def open_host(wanted: str, name: str) -> tuple[HostConfig, Inventory]:
    """Return the configuration of exactly this host, and the inventory that it is from.

    Raises:
        Fault: as :func:`open_hosts`; a group or a pattern is no host.
    """
    from hermes_backup.errors import HOST_MISSING, Fault
    from hermes_backup.pipeline.model import nearest

    hosts, opened = open_hosts(wanted)
    for config in hosts:
        if config.host == name:
            return config, opened
    raise Fault(HOST_MISSING, f"there is no host {name!r}", mend=nearest(name, [it.host for it in hosts]))


@contextmanager
def open_shelf(inventory: str, host: str, pipeline: str, source: str) -> Iterator[Shelf]:
    """Open the snapshots of a host's pipeline, the first where none is named, with the key that is pinned for it.

    Raises:
        Fault: as :func:`open_hosts`; PIPELINE_MISSING, HOST_KEY_MISSING, KEY_INVALID, SNAPSHOT_MISSING.
    """
    from hermes_backup.errors import PIPELINE_MISSING, Fault
    from hermes_backup.pipeline.looking import Shelf
    from hermes_backup.pipeline.places import backups, pinned_key

    config, opened = open_host(inventory, host)
    made = backups(config, pipeline)
    if not made:
        raise Fault(PIPELINE_MISSING, f"no pipeline of host {config.host} makes snapshots")
    with pinned_key(opened.pins, config.host) as pinned:
        yield Shelf(config, made[0], pinned, source)
