"""``hermes-backup quarantine``: what a person does with snapshots that do not count: move them aside, or trust them."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_backup.cli.opening import HOST, INVENTORY, JSON, PIPELINE, SOURCE, open_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermes_backup.errors import Fault
    from hermes_backup.pipeline.quarantine import Chosen


def quarantine(
    inventory: Annotated[str, INVENTORY],
    host: Annotated[str, HOST],
    snapshots: Annotated[
        list[str] | None, typer.Argument(help="These, by number or name; without any, all that do not count.")
    ] = None,
    pipeline: Annotated[str, PIPELINE] = "",
    source: Annotated[str, SOURCE] = "",
    trust: Annotated[bool, typer.Option("--trust", help="They are the host's: let them count; move nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before all that do not count are moved.")
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Move snapshots of a host aside that do not count, because no run of its schedule explains them.

    They go below quarantine/TIME/ in their remote, where no command looks. Nothing is deleted.
    """
    from hermes_backup.cli.screen import described, print_json, tell
    from hermes_backup.errors import SNAPSHOT_MISSING, Fault
    from hermes_backup.pipeline.observation import keep, memory_file, observed
    from hermes_backup.pipeline.places import backups, pinned_key
    from hermes_backup.pipeline.quarantine import choose
    from hermes_backup.pipeline.quarantine import move as move_aside
    from hermes_backup.pipeline.quarantine import trust as count_again

    config, opened = open_host(inventory, host)
    now = datetime.now(timezone.utc)
    done: list[Chosen] = []
    faults: list[Fault] = []
    with pinned_key(opened.pins, config.host) as pinned:
        for one in backups(config, pipeline):
            with observed(config, one, pinned, opened.history, now, source=source, dry_run=dry_run) as seen:
                faults += seen.faults
                chosen = choose(seen, snapshots or (), now)
                if not (dry_run or trust or snapshots or yes):
                    _ask(chosen)
                if not dry_run:
                    after = count_again(seen, chosen, now) if trust else move_aside(seen, chosen, now)
                    keep(after, memory_file(opened.history, config.host, one.name))
                done += chosen
    if snapshots and not faults and not any(it.snapshots for it in done):
        raise Fault(SNAPSHOT_MISSING, f"no place shows {', '.join(snapshots)}")
    if as_json:
        print_json(
            {"dry_run": dry_run, "trusted": trust, "errors": [described(it) for it in faults],
             "places": [_data(it, now, trust=trust) for it in done]}
        )  # fmt: skip
    else:
        for it in done:
            _print(it, now, trust=trust, dry_run=dry_run)
        for fault in faults:
            tell(fault)
    raise typer.Exit(int(faults[0].kind.exit_code) if faults else 0)


def _ask(chosen: Sequence[Chosen]) -> None:
    """Ask whether all of these shall be moved: a run by hand too many may be all that is wrong with them."""
    from hermes_backup.errors import CONFIRM, Fault

    found = [
        f"{it.stock.place.label} ({', '.join(str(one.name) for one in it.snapshots)})" for it in chosen if it.snapshots
    ]
    if not found:
        return
    what = f"this moves aside what does not count in {'; '.join(found)}"
    if not sys.stdin.isatty():
        raise Fault(CONFIRM, what, mend="Look at each with --dry-run; those that are the host's count by --trust.")
    typer.confirm(f"{what[0].upper()}{what[1:]}. Do it?", abort=True)


def mend_of(inventory: str, host: str) -> str:
    """Say what to do about snapshots of a host that do not count."""
    from hermes_backup.errors import SNAPSHOT_SUSPECT

    return SNAPSHOT_SUSPECT.mend.replace("INVENTORY", inventory).replace("HOST", host)


def _data(it: Chosen, now: datetime, *, trust: bool) -> dict[str, object]:
    snapshots = [{"snapshot": str(one.name), "why": why} for one, why in zip(it.snapshots, it.reasons, strict=True)]
    moved_to = it.folder_aside(now) if it.snapshots and not trust else None
    return {"host": it.stock.host, "pipeline": it.stock.pipeline, "place": it.stock.place.label,
            "snapshots": snapshots, "moved_to": moved_to}  # fmt: skip


def _print(it: Chosen, now: datetime, *, trust: bool, dry_run: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from hermes_backup.cli.screen import console

    screen = console()
    verb = "would be " if dry_run else ""
    done = f"{verb}trusted" if trust else f"{verb}moved to {it.folder_aside(now)}"
    said = f"{len(it.snapshots)} {done}" if it.snapshots else "every snapshot counts"
    where = f"{it.stock.host}/{it.stock.pipeline} in {it.stock.place.label}"
    screen.print(Text.assemble((where, "bold"), f": {said}"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2), show_edge=False)
    for one, why in zip(it.snapshots, it.reasons, strict=True):
        table.add_row(str(one.name), why or "it counts; it was named")
    screen.print(table)
