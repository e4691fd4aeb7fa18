"""``hermes-backup schedule``: let the trusted machine do by itself what hosts cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hermes_backup.cli.opening import INVENTORY, open_hosts

_CALENDARS = {"prune": "*-*-* 05:00:00", "drill": "*-01,04,07,10-05 04:00"}


def schedule(
    command: Annotated[Literal["prune", "drill"], typer.Argument(help="The command that shall run by itself.")],
    inventory: Annotated[str, INVENTORY],
    on_calendar: Annotated[
        str | None, typer.Option(help="When, as systemd.time(7) writes it; none given: the command's own time.")
    ] = None,
    passphrase: Annotated[
        Path | None, typer.Option("--passphrase-file", help="For drill: the private key's passphrase, as a credential.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Let it run by itself no more.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the units; install nothing.")] = False,
) -> None:
    """Run a command for an inventory on this machine by a timer of systemd; as another user than root, by its own.

    prune runs every morning, drill as its pipeline is scheduled. A drill that nobody watches needs a private key
    without a passphrase, one that a gpg-agent has unlocked (GNUPGHOME stays as it is now), or --passphrase-file.
    """
    from hermes_backup.cli.screen import console
    from hermes_backup.fleet.inventory import find_inventory
    from hermes_backup.fleet.scheduling import install, scheduled, withdraw

    calendar = _usual(command, inventory, quick=remove) if on_calendar is None else on_calendar
    units = scheduled(find_inventory(inventory), command, calendar, passphrase)
    screen = console()
    if dry_run:
        for name, text in units.files.items():
            screen.print(f"# {units.folder / name}\n{text}", markup=False)
    elif remove:
        said = "runs by itself no more" if withdraw(units) else "did not run by itself"
        screen.print(f"{command} {inventory} {said}", markup=False)
    else:
        done = install(units)
        how = "runs by itself as" if done.changed else "already runs by itself as"
        screen.print(f"{command} {inventory} {how} {units.name}.timer, next {done.following}", markup=False)
        if units.user:
            screen.print("Also while you are not logged in, after: loginctl enable-linger", markup=False)


def _usual(command: str, inventory: str, *, quick: bool) -> str:
    """Return when a command runs unless told otherwise: a drill as its hosts declare it; ``quick``: any time.

    Raises:
        Fault: PIPELINE_MISSING when no host has a drill, CONFIG_INVALID when they declare several times, or what is
            wrong with the inventory.
    """
    from hermes_backup.errors import CONFIG_INVALID, PIPELINE_MISSING, Fault
    from hermes_backup.pipeline.config import pipeline_of
    from hermes_backup.pipeline.drilled import is_drill

    if command != "drill" or quick:
        return _CALENDARS[command]
    hosts, _ = open_hosts(inventory)
    drills = [one for it in hosts for name in it.pipelines if is_drill(one := pipeline_of(it, name))]
    if not drills:
        raise Fault(PIPELINE_MISSING, f"no host of inventory {inventory} declares a drill")
    schedules = (it.schedule for it in drills if it.schedule is not None)
    calendars = dict.fromkeys(it.on_calendar for it in schedules if it.on_calendar)
    if len(calendars) > 1:
        what = f"drills are declared for several times: {'; '.join(calendars)}"
        mend = "One timer runs them all: declare one schedule, or give --on-calendar."
        raise Fault(CONFIG_INVALID, what, where=inventory, mend=mend)
    return next(iter(calendars), _CALENDARS[command])
