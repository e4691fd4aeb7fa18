"""``hermes-backup schedule``: let the trusted machine do by itself what hosts cannot do."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from hermes_backup.cli.opening import INVENTORY

_CALENDAR = "*-*-* 05:00:00"


def schedule(
    command: Annotated[Literal["prune"], typer.Argument(help="The command that shall run by itself: prune.")],
    inventory: Annotated[str, INVENTORY],
    on_calendar: Annotated[str, typer.Option(help="When, as systemd.time(7) writes it.")] = _CALENDAR,
    remove: Annotated[bool, typer.Option("--remove", help="Let it run by itself no more.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the units; install nothing.")] = False,
) -> None:
    """Run a command for an inventory on this machine by a timer of systemd; as another user than root, by its own."""
    from hermes_backup.cli.screen import console
    from hermes_backup.fleet.inventory import find_inventory
    from hermes_backup.fleet.scheduling import install, scheduled, withdraw

    units = scheduled(find_inventory(inventory), command, on_calendar)
    screen = console()
    if dry_run:
        for name, text in units.files.items():
            screen.print(f"# {units.folder / name}\n{text}", markup=False)
    elif remove:
        said = "runs by itself no more" if withdraw(units) else "did not run by itself"
        screen.print(f"{command} {inventory} {said}", markup=False)
    else:
        following = install(units)
        screen.print(f"{command} {inventory} runs by itself as {units.name}.timer, next {following}", markup=False)
        if units.user:
            screen.print("Also while you are not logged in, after: loginctl enable-linger", markup=False)
