"""``hermes-backup status``: is every host's newest snapshot new enough, and what needs attention?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from hermes_backup.cli.opening import INVENTORY, JSON, LIMIT, PIPELINE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hermes_backup.fleet.render import Fleet, FleetHost
    from hermes_backup.report.rows import FleetReport

_EVERY = 5.0


def status(
    inventory: Annotated[str, INVENTORY] = "demo",
    limit: Annotated[list[str] | None, LIMIT] = None,
    pipeline: Annotated[str, PIPELINE] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every five seconds, until Ctrl-C.")] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Say how old each host's newest snapshot is, in every place, and what else needs attention.

    Ages are read from the places, so a dead host shows as stale. Exit 10 when a host is stale, or has
    snapshots that do not count; 6 when nobody knows.
    """
    from hermes_backup.cli.screen import console, print_json
    from hermes_backup.fleet.choice import choose
    from hermes_backup.fleet.demo import prepared
    from hermes_backup.fleet.inventory import find_inventory
    from hermes_backup.fleet.render import render
    from hermes_backup.report.data import data
    from hermes_backup.report.table import show

    if watch and as_json:
        raise typer.BadParameter("JSON is printed once: give either --watch or --json")
    fleet = render(prepared(find_inventory(inventory)))
    hosts = choose(fleet, limit or ())
    fleet.demand_sound(hosts)

    def look() -> FleetReport:
        return _look(fleet, hosts, inventory, pipeline)

    if watch:
        _watch(look)
    report = look()
    if as_json:
        print_json(data(report))
    else:
        screen = console()
        screen.print(show(report, screen.width, wrap=screen.is_terminal))
    raise typer.Exit(int(report.exit_code))


def _look(fleet: Fleet, hosts: Sequence[FleetHost], inventory: str, pipeline: str) -> FleetReport:
    """Read the places while the hosts are asked, and put both together."""
    from datetime import datetime, timezone

    from hermes_backup.fleet.recipients import read_keys
    from hermes_backup.fleet.reporting import ask_hosts
    from hermes_backup.pipeline.places import backups
    from hermes_backup.report.drills import last_drill
    from hermes_backup.report.holdings import look
    from hermes_backup.report.keys import key_ends
    from hermes_backup.report.rows import FleetReport, Subject, host_report

    now = datetime.now(timezone.utc)
    configs = [it.config for it in hosts if it.config is not None]
    targets = [(it, one) for it in configs for one in backups(it, pipeline)]
    with look(targets, fleet.inventory.pins, fleet.inventory.drills, fleet.inventory.history, now) as looking:
        keys = read_keys(fleet.inventory.keys, examine=True).by_fingerprint
        names, drills = [it.name for it in fleet.hosts], fleet.inventory.drills
        subjects = [
            Subject(it.config, _digest(it, names), key_ends(it.config, keys, now), last_drill(it.config, drills))
            for it in hosts
            if it.config is not None
        ]
        words = ask_hosts(fleet, hosts)
        seen = looking.results()
    now = datetime.now(timezone.utc)
    made = [
        host_report(it, pipeline, [one for one in seen if one.host == it.config.host], words[it.config.host], now)
        for it in subjects
    ]
    return FleetReport(inventory, now, tuple(made))


def _digest(host: FleetHost, fleet: Sequence[str]) -> str:
    """Return the digest of what is declared; none for what no deployment would take, which deploy says by name."""
    from hermes_backup.errors import Fault
    from hermes_backup.fleet.declared import declared

    try:
        return declared(host, fleet).digest
    except Fault:
        return ""


def _watch(look: Callable[[], FleetReport]) -> NoReturn:
    """Show report after report; it ends by the Fault that an interrupt raises."""
    from rich.live import Live

    from hermes_backup.cli.screen import console
    from hermes_backup.report.table import show, show_live

    screen = console()
    if not screen.is_terminal:
        while True:
            screen.print(show(look(), screen.width, wrap=False))
            screen.print()
            time.sleep(_EVERY)
    with Live("looking …", console=screen, auto_refresh=False) as live:
        while True:
            live.update(show_live(look(), screen.width), refresh=True)
            time.sleep(_EVERY)
