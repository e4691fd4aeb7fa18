"""``hermes-backup deploy`` and ``hermes-backup remove``: hosts to their declared state, and back to none."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_backup.cli.opening import FORKS, INVENTORY, JSON, LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermes_backup.fleet.changing import Deployed


def deploy(
    inventory: Annotated[str, INVENTORY],
    limit: Annotated[list[str] | None, LIMIT] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; say what would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show changes of files line by line; secrets never.")] = False,
    forks: Annotated[int, FORKS] = 0,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Bring hosts to their declared state: the agent, its pipelines and credentials, its key, its timers.

    Without --limit, hosts of the group backup_remote are made into remotes that others can add snapshots to.
    """
    from hermes_backup.cli.screen import console
    from hermes_backup.fleet.changing import Options, exit_code
    from hermes_backup.fleet.choice import choose
    from hermes_backup.fleet.demo import prepared
    from hermes_backup.fleet.deploy import Deployment
    from hermes_backup.fleet.inventory import find_inventory
    from hermes_backup.fleet.render import render
    from hermes_backup.fleet.servers import serve

    fleet = render(prepared(find_inventory(inventory)), examine_keys=True)
    hosts = choose(fleet, limit or ())
    fleet.demand_sound(hosts)
    screen = console(stderr=True)
    with screen.status("deploying") if screen.is_terminal and not as_json else nullcontext():
        done = Deployment(
            fleet,
            hosts,
            Options(check, diff, forks),
            lambda text: None if as_json else screen.print(text, style="dim", markup=False),
        ).execute()
        servers = [it for it in fleet.servers if not limit]
        if servers:
            done += serve(fleet, servers, Options(check, diff, forks))
    _print(done, "would change" if check else "changed", as_json=as_json)
    raise typer.Exit(int(exit_code(done)))


def remove(
    inventory: Annotated[str, INVENTORY],
    limit: Annotated[list[str] | None, LIMIT] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    forks: Annotated[int, FORKS] = 0,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Take hermes-backup off hosts: timers, program, configuration, credentials, signing key. Snapshots stay.

    A home that comes and goes is saved, and goes first.
    """
    from hermes_backup.cli.screen import console
    from hermes_backup.errors import CONFIRM, Fault
    from hermes_backup.fleet.changing import exit_code
    from hermes_backup.fleet.choice import choose
    from hermes_backup.fleet.demo import prepared
    from hermes_backup.fleet.inventory import find_inventory
    from hermes_backup.fleet.removal import remove as take_away
    from hermes_backup.fleet.render import render

    fleet = render(prepared(find_inventory(inventory)))
    hosts = choose(fleet, limit or ())
    fleet.demand_sound(hosts)
    if not yes:
        names = ", ".join(it.name for it in hosts)
        if not sys.stdin.isatty():
            raise Fault(CONFIRM, f"this takes hermes-backup off {names}")
        homes = ", ".join(it.name for it in hosts if it.means.agent_unit)
        also = f" The homes of {homes} go too, after a last snapshot." if homes else ""
        typer.confirm(f"Take hermes-backup off {names}?{also} Its signing key goes too; snapshots stay", abort=True)
    done = take_away(fleet, hosts, forks)
    _print(done, "removed", as_json=as_json)
    if not as_json and any(it.changed for it in done):
        what = f"The keys pinned in {fleet.inventory.pins} stay: they prove the snapshots that there are."
        console().print(f"{what} Before a host is deployed to again, move its file away: it will have a new key.",
                        style="dim", markup=False)  # fmt: skip
    raise typer.Exit(int(exit_code(done)))


def _print(done: Sequence[Deployed], heading: str, *, as_json: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from hermes_backup.cli.screen import console, described, print_json, tell
    from hermes_backup.pipeline.amounts import harmless

    if as_json:
        print_json(
            {
                "hosts": {
                    it.host: {
                        "changed": it.changed,
                        "differences": it.differences,
                        "warnings": it.warnings,
                        "error": None if it.fault is None else described(it.fault),
                    }
                    for it in done
                }
            }
        )
        return
    screen = console()
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("host", "result", heading):
        table.add_column(name, overflow="fold")
    for it in done:
        state, style = ("failed", "bold red") if it.fault else ("changed", "yellow") if it.changed else ("ok", "green")
        table.add_row(it.host, Text(state, style=style), "; ".join(it.changed) or "nothing")
    screen.print(table)
    for it in done:
        for difference in it.differences:
            screen.print(Text("\n".join(harmless(line) for line in f"{it.host}\n{difference}".splitlines())))
        for warning in it.warnings:
            screen.print(f"{it.host}: {warning}", style="yellow", markup=False)
        if it.fault is not None:
            tell(it.fault)
