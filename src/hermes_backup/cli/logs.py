"""``hermes-backup logs``: what the last run of a pipeline said on its host."""

from __future__ import annotations

from typing import Annotated

import typer

from hermes_backup.cli.opening import INVENTORY, JSON


def logs(
    inventory: Annotated[str, INVENTORY],
    host: Annotated[str, typer.Argument(help="The host; of an inventory with one, that one.")] = "",
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="Of this pipeline.")] = "nightly",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000, help="At most so many, the last.")] = 200,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Print what the last run of a pipeline said: the journal of its unit, or what the agent wrote down."""
    from dataclasses import asdict

    from hermes_backup.cli.screen import console, print_json
    from hermes_backup.fleet.demo import prepared
    from hermes_backup.fleet.inventory import find_inventory
    from hermes_backup.fleet.journal import last_journal
    from hermes_backup.fleet.render import render
    from hermes_backup.pipeline.amounts import harmless

    fleet = render(prepared(find_inventory(inventory)))
    chosen = fleet.host(host)
    fleet.demand_sound([chosen])
    journal = last_journal(fleet, chosen, pipeline, lines)
    if as_json:
        print_json({"host": chosen.name, "pipeline": pipeline, **asdict(journal)})
        return
    screen = console()
    for run_id in journal.silent:
        screen.print(f"run {harmless(run_id)} left nothing; this is the one before:", style="yellow", markup=False)
    screen.print(f"run {harmless(journal.run_id)}, {harmless(journal.source)}", style="bold", markup=False)
    for line in journal.lines:
        screen.print(harmless(line), markup=False, soft_wrap=True)
