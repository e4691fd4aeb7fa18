"""``hermes-backup prune``: thin out what the rules of a pipeline let go, where this machine's credentials reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_backup.cli.opening import INVENTORY, JSON, LIMIT, PIPELINE, SOURCE, open_hosts
from hermes_backup.errors import INTERRUPTED, Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hermes_backup.pipeline.config import HostConfig
    from hermes_backup.pipeline.model import Pipeline
    from hermes_backup.snapshots.prune_journal import PruneJournal
    from hermes_backup.snapshots.retention import Rules
    from hermes_backup.snapshots.signing import Pinned
    from hermes_backup.stages.expire import Thinned


@dataclass
class _Done:
    """What became of every pipeline."""

    inventory: str
    dry_run: bool
    tell: Callable[[str], None]
    places: list[tuple[str, str, Thinned]] = field(default_factory=list)
    unruled: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def every_fault(self) -> list[Fault]:
        """What could not be done, and then the snapshots that do not count."""
        from hermes_backup.cli.quarantine import mend_of

        suspects = [(host, it.suspects) for host, _, it in self.places]
        return self.faults + [
            Fault(it.kind, it.what, where=it.where, mend=mend_of(self.inventory, host))
            for host, it in suspects
            if it is not None
        ]


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
    """Delete snapshots that no rule keeps, once the newest was read back whole, and what killed runs left.

    This machine keeps in mind what it has seen, so that none that appears later makes an older one go. Exit 9 when
    there are snapshots that do not count: hermes-backup quarantine moves them aside.
    """
    from hermes_backup.cli.screen import described, print_json
    from hermes_backup.pipeline.places import backups, pinned_key
    from hermes_backup.stages.prune import rules_of

    say = _silent if as_json else _say
    hosts, opened = open_hosts(inventory, limit or ())
    done = _Done(inventory, dry_run, say)
    for config in hosts:
        for one in backups(config, pipeline):
            rules = rules_of(one.stages)
            if rules is None:
                done.unruled.append(f"{config.host}/{one.name}")
                continue
            with pinned_key(opened.pins, config.host) as pinned:
                _prune(config, one, rules, pinned, opened.history, source, done)
    faults = done.every_fault
    if as_json:
        print_json(
            {"dry_run": dry_run, "errors": [described(it) for it in faults], "notices": done.notices,
             "places": [_data(it) for it in done.places], "without_rules": done.unruled}
        )  # fmt: skip
    else:
        _print(done)
    raise typer.Exit(int(faults[0].kind.exit_code) if faults else 0)


def _prune(
    config: HostConfig, one: Pipeline, rules: Rules, pinned: Pinned, history: Path, source: str, done: _Done
) -> None:
    """Prune every place of a pipeline; what is wrong with one does not stop the others."""
    from hermes_backup.pipeline.observation import observed
    from hermes_backup.stages.expire import thin

    journal = _journal(config.host, one.name)
    now = datetime.now(timezone.utc)
    try:
        with observed(config, one, pinned, history, now, source=source, dry_run=done.dry_run) as it:
            done.faults += it.faults
            if it.notice:
                done.notices.append(f"{config.host}/{one.name}: {it.notice}")
            for stock in it.stocks:
                try:
                    thinned = thin(stock, it.seen, rules, now, journal, dry_run=done.dry_run, tell=done.tell)
                except Fault as fault:
                    _demand_going_on(fault)
                    done.faults.append(Fault(fault.kind, fault.what, where=stock.place.label, mend=fault.mend))
                else:
                    done.places.append((config.host, one.name, thinned))
                    done.faults += thinned.unread
    except Fault as fault:
        _demand_going_on(fault)
        where = fault.where or f"{config.host}/{one.name}"
        done.faults.append(Fault(fault.kind, fault.what, where=where, mend=fault.mend))


def _demand_going_on(fault: Fault) -> None:
    if fault.kind is INTERRUPTED:
        raise fault


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
    decisions = [
        {"snapshot": str(one.name), "keep": one.keep, "reasons": list(one.reasons), "suspect": one.suspect}
        for one in it.decisions
    ]
    deleted = [str(name) for name in it.pruned.deleted]
    unproven = [f"{one.where}: {one.what}" for one in it.unproven]
    return {"host": host, "pipeline": pipeline, "place": it.place, "decisions": decisions, "deleted": deleted,
            "leftovers": list(it.leftovers), "freed": it.pruned.freed, "unproven": unproven}  # fmt: skip


def _print(done: _Done) -> None:
    from hermes_backup.cli.screen import console, tell

    screen = console()
    for host, pipeline, it in done.places:
        _print_place(host, pipeline, it, dry_run=done.dry_run)
    for notice in done.notices:
        screen.print(notice, markup=False)
    for whose in done.unruled:
        screen.print(f"{whose}: nothing goes, for its pipeline has no stage prune", markup=False)
    for fault in done.every_fault:
        tell(fault)


def _print_place(host: str, pipeline: str, it: Thinned, *, dry_run: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from hermes_backup.cli.screen import console
    from hermes_backup.pipeline.amounts import show_size

    screen = console()
    gone = sum(not one.keep for one in it.decisions)
    total = f"{gone} would go" if dry_run else f"{len(it.pruned.deleted)} deleted, {show_size(it.pruned.freed)} freed"
    screen.print(Text.assemble((f"{host}/{pipeline} in {it.place}", "bold"), f": {total}"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2), show_edge=False)
    for one in it.decisions:
        said = "[green]keep[/green]" if one.keep else "[red]delete[/red]" if dry_run else "[red]deleted[/red]"
        said = "[yellow]suspect[/yellow]" if one.suspect else said
        table.add_row(str(one.name), said, ", ".join(one.reasons) or "no rule keeps it")
    screen.print(table)
    for fault in it.unproven:
        screen.print(f"  warning: left alone: {fault.where}: {fault.what}", style="yellow", markup=False)
    screen.print()
