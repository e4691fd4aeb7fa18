"""``hermes-backup prune``: thin out what the rules of a pipeline let go, where this machine's credentials reach."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_backup.cli.opening import INVENTORY, JSON, LIMIT, PIPELINE, SOURCE, open_hosts
from hermes_backup.errors import Fault

if TYPE_CHECKING:
    from hermes_backup.snapshots.prune_journal import PruneJournal
    from hermes_backup.stages.prune import Thinned


def prune(
    inventory: Annotated[str, INVENTORY],
    limit: Annotated[list[str] | None, LIMIT] = None,
    pipeline: Annotated[str, PIPELINE] = "",
    source: Annotated[str, SOURCE] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print each snapshot with the rule that keeps it.")
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Delete snapshots that no rule keeps, once the newest was read back whole, and what killed runs left."""
    from hermes_backup.cli.screen import console, described, print_json, tell
    from hermes_backup.pipeline.places import backups, pinned_key, places_of
    from hermes_backup.stages.prune import rules_of, thin

    say = _silent if as_json else _say
    hosts, opened = open_hosts(inventory, limit or ())
    now = datetime.now(timezone.utc)
    done: list[tuple[str, str, Thinned]] = []
    unruled: list[str] = []
    faults: list[Fault] = []
    for config in hosts:
        for one in backups(config, pipeline):
            rules = rules_of(one.stages)
            if rules is None:
                unruled.append(f"{config.host}/{one.name}")
                continue
            with pinned_key(opened.pins, config.host) as pinned:
                for place in places_of(config, one, source):
                    try:
                        of = (config.host, one.name)
                        thinned = thin(place, of, rules, pinned, now, _journal(*of), dry_run=dry_run, tell=say)
                    except Fault as fault:
                        faults.append(Fault(fault.kind, fault.what, where=place.label, mend=fault.mend))
                    else:
                        done.append((config.host, one.name, thinned))
                        faults += thinned.unread
    if as_json:
        print_json(
            {"dry_run": dry_run, "errors": [described(it) for it in faults], "places": [_data(it) for it in done],
             "without_rules": unruled}
        )  # fmt: skip
    else:
        _print(done, dry_run=dry_run)
        for whose in unruled:
            console().print(f"{whose}: nothing goes, for its pipeline has no stage prune", markup=False)
        for it in faults:
            tell(it)
    raise typer.Exit(int(faults[0].kind.exit_code) if faults else 0)


def _journal(host: str, pipeline: str) -> PruneJournal:
    import platformdirs

    from hermes_backup import APP
    from hermes_backup.snapshots.prune_journal import PruneJournal

    return PruneJournal(platformdirs.user_state_path(APP) / "prune" / host / f"{pipeline}.json")


def _say(text: str) -> None:
    from hermes_backup.cli.screen import console

    console().print(text, markup=False, soft_wrap=True)


def _silent(text: str) -> None:
    del text


def _data(item: tuple[str, str, Thinned]) -> dict[str, object]:
    host, pipeline, it = item
    decisions = [{"snapshot": str(one.name), "keep": one.keep, "reasons": list(one.reasons)} for one in it.decisions]
    deleted = [str(name) for name in it.pruned.deleted]
    unproven = [f"{one.where}: {one.what}" for one in it.unproven]
    return {"host": host, "pipeline": pipeline, "place": it.place, "decisions": decisions, "deleted": deleted,
            "leftovers": list(it.leftovers), "freed": it.pruned.freed, "unproven": unproven}  # fmt: skip


def _print(done: list[tuple[str, str, Thinned]], *, dry_run: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from hermes_backup.cli.screen import console
    from hermes_backup.pipeline.amounts import show_size

    screen = console()
    for host, pipeline, it in done:
        gone = sum(not one.keep for one in it.decisions)
        total = (
            f"{gone} would go" if dry_run else f"{len(it.pruned.deleted)} deleted, {show_size(it.pruned.freed)} freed"
        )
        screen.print(Text.assemble((f"{host}/{pipeline} in {it.place}", "bold"), f": {total}"))
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2), show_edge=False)
        for one in it.decisions:
            said = "[green]keep[/green]" if one.keep else "[red]delete[/red]" if dry_run else "[red]deleted[/red]"
            table.add_row(str(one.name), said, ", ".join(one.reasons) or "no rule keeps it")
        screen.print(table)
        for fault in it.unproven:
            screen.print(f"  warning: left alone: {fault.where}: {fault.what}", style="yellow", markup=False)
        screen.print()
