"""``hermes-backup list`` and ``hermes-backup verify``: which snapshots there are, and whether they are whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_backup.cli.opening import INVENTORY, JSON, LIMIT, PIPELINE, SOURCE, open_hosts
from hermes_backup.cli.progress import progress_bar
from hermes_backup.errors import ExitCode, Fault

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hermes_backup.pipeline.verifying import Verdict, Verified
    from hermes_backup.snapshots.catalog import Listed
    from hermes_backup.snapshots.names import SnapshotName

_PLAIN = "not encrypted"


def list_snapshots(
    inventory: Annotated[str, INVENTORY] = "demo",
    limit: Annotated[list[str] | None, LIMIT] = None,
    pipeline: Annotated[str, PIPELINE] = "",
    source: Annotated[str, SOURCE] = "",
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Only so many of the newest; 0 is all.")] = 0,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """List the snapshots of every host and who holds them. It trusts names; verify proves them."""
    from hermes_backup.cli.screen import console, described, print_json, tell
    from hermes_backup.pipeline.overview import overview
    from hermes_backup.pipeline.places import backups
    from hermes_backup.pipeline.rollback import Records

    hosts, opened = open_hosts(inventory, limit or ())
    groups = []
    faults: list[Fault] = []
    warnings: list[Fault] = []
    for config in hosts:
        for one in backups(config, pipeline):
            seen = overview(Records(config, one, opened.pins, opened.drills), source, last)
            groups.append(_Group(config.host, one.name, seen.held, frozenset(seen.unread), last))
            faults += seen.unreachable
            warnings += (*seen.unread.values(), *seen.lost)
    if as_json:
        rows = [row for it in groups for row in it.rows()]
        told = {"errors": [described(it) for it in faults], "warnings": [described(it) for it in warnings]}
        print_json({"snapshots": rows, **told})
    else:
        for it in groups:
            console().print(it.table())
        for fault in (*warnings, *faults):
            tell(fault)
    raise typer.Exit(int(faults[0].kind.exit_code) if faults else 0)


@dataclass(frozen=True)
class _Group:
    """The snapshots of one pipeline of one host, place by place."""

    host: str
    pipeline: str
    held: Mapping[str, tuple[Listed, ...]]
    unread: Set[tuple[str, SnapshotName]]
    last: int

    def names(self) -> list[SnapshotName]:
        """Every snapshot that any place shows, oldest first."""
        return sorted({one.name for listed in self.held.values() for one in listed})[-self.last :]

    def rows(self) -> Iterator[dict[str, object]]:
        """A row for each snapshot in each place."""
        wanted = set(self.names())
        for place, listed in self.held.items():
            for one in listed:
                if one.name in wanted:
                    yield {"host": self.host, "pipeline": self.pipeline, "snapshot": str(one.name), "place": place,
                           "time": one.name.time.isoformat(), "state": self._state(place, one), "size": one.size,
                           "kind": "delta" if one.delta else "full", "encrypted": one.encrypted}  # fmt: skip

    def _state(self, place: str, one: Listed) -> str:
        return "unreadable" if (place, one.name) in self.unread else one.state

    def _shown(self, place: str, one: Listed | None) -> str:
        if one is None:
            return "-"
        state = self._state(place, one)
        said = ("delta" if one.delta else "yes") if state == "complete" else state
        return said if one.encrypted else f"{said}, {_PLAIN}"

    def table(self) -> RenderableType:
        """A row for each snapshot, and a column for each place, which the lines below name."""
        from rich.console import Group
        from rich.text import Text

        from hermes_backup.cli.columns import columns
        from hermes_backup.pipeline.amounts import show_age, show_size

        head = Text.assemble((f"{self.host}/{self.pipeline}", "bold"))
        names = self.names()
        if not names:
            return Group(head, "  no snapshots yet", "")
        headings = ("snapshot", ">age", ">stored", *map(str, range(1, len(self.held) + 1)))
        by_place = {place: {one.name: one for one in listed} for place, listed in self.held.items()}
        rows = []
        now = datetime.now(timezone.utc)
        for name in names:
            found = {place: listed.get(name) for place, listed in by_place.items()}
            size = max(one.size for one in found.values() if one is not None)
            states = (self._shown(place, one) for place, one in found.items())
            rows.append((str(name), show_age(now - name.time), show_size(size), *states))
        legend = [Text(f"  {number}: {place}", style="dim") for number, place in enumerate(self.held, 1)]
        table = columns(headings, rows)
        table.highlight_words(("incomplete", "broken", "unreadable", _PLAIN), "red")
        return Group(head, table, *legend, "")


def verify(
    inventory: Annotated[str, INVENTORY] = "demo",
    host: Annotated[str, typer.Argument(help="Only this host.")] = "",
    snapshot: Annotated[str, typer.Argument(help="Only this snapshot: latest, a number, or a name.")] = "",
    pipeline: Annotated[str, PIPELINE] = "",
    source: Annotated[str, SOURCE] = "",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Prove snapshots as far as no private key is needed: signature, chain, size, hash, packets. Reads every byte."""
    from hermes_backup.cli.screen import print_json
    from hermes_backup.pipeline.places import backups, catalogs, pinned_key, places_of
    from hermes_backup.pipeline.rollback import Records
    from hermes_backup.pipeline.verifying import behind
    from hermes_backup.pipeline.verifying import verify as verify_place

    hosts, opened = open_hosts(inventory, [host] if host else ())
    results: list[tuple[str, str, Verified]] = []
    faults: list[Fault] = []
    with progress_bar(quiet=as_json) as progress:
        for config in hosts:
            for one in backups(config, pipeline):
                try:
                    records = Records(config, one, opened.pins, opened.drills)
                    known = {it.label: records.of(it.label) for it in places_of(config, one, source)}
                    with pinned_key(opened.pins, config.host) as pinned:
                        for place, catalog in catalogs(config, one, source):
                            if isinstance(catalog, Fault):
                                faults.append(Fault(catalog.kind, catalog.what, where=place.label, mend=catalog.mend))
                                continue
                            done = verify_place(
                                config, one, place, catalog, pinned,
                                wanted=snapshot, records=known[place.label], progress=progress,
                            )  # fmt: skip
                            results.append((config.host, one.name, done))
                except Fault as fault:
                    faults.append(fault)
    if not snapshot:
        for whose in dict.fromkeys((one[0], one[1]) for one in results):
            faults += behind([it[2] for it in results if it[:2] == whose])
    bad = [it.fault for _, _, done in results for it in done.verdicts if it.fault]
    bad += [it for _, _, done in results for it in done.chain]
    code = ExitCode.VERIFY if bad else faults[0].kind.exit_code if faults else ExitCode.OK
    if as_json:
        print_json(_as_data(results, faults, code))
    else:
        _print(results, faults)
    raise typer.Exit(int(code))


def _as_data(results: list[tuple[str, str, Verified]], faults: list[Fault], code: ExitCode) -> dict[str, object]:
    from hermes_backup.cli.screen import described

    return {
        "exit_code": int(code),
        "errors": [described(it) for it in faults],
        "places": [
            {
                "host": host,
                "pipeline": pipeline,
                "place": done.place,
                "chain": [described(it) for it in done.chain],
                "warnings": list(done.warnings),
                "foreign_files": done.foreign,
                "snapshots": [
                    {"snapshot": str(it.name), "size": it.size, "encrypted": it.encrypted,
                     "error": described(it.fault) if it.fault else None}
                    for it in done.verdicts
                ],
            }
            for host, pipeline, done in results
        ],
    }  # fmt: skip


def _verdict(it: Verdict) -> str:
    if it.fault:
        return f"[red]{it.fault.kind.name}[/red]"
    proven = "[green]signature, size, hash, packets[/green]"
    return proven if it.encrypted else f"[green]signature, size, hash[/green]; [red]{_PLAIN}[/red]"


def _print(results: list[tuple[str, str, Verified]], faults: list[Fault]) -> None:
    from rich.table import Table
    from rich.text import Text

    from hermes_backup.cli.screen import console, tell
    from hermes_backup.pipeline.amounts import show_size

    screen = console()
    if not results:
        screen.print("no snapshots yet")
    for host, pipeline, done in results:
        screen.print(Text(f"{host}/{pipeline} in {done.place}", style="bold"))
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2), show_edge=False)
        for it in done.verdicts:
            table.add_row(str(it.name), show_size(it.size), _verdict(it))
        screen.print(table if done.verdicts else "  no snapshots yet")
        for fault in [it.fault for it in done.verdicts if it.fault] + list(done.chain):
            tell(Fault(fault.kind, fault.what, where=f"{done.place}: {fault.where}", mend=fault.mend))
        for warning in done.warnings:
            screen.print(f"  warning: {warning}", style="yellow", markup=False)
        screen.print()
    for fault in faults:
        tell(fault)
