"""``hermes-backup list`` and ``hermes-backup verify``: which snapshots there are, and whether they are whole."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_backup.cli.opening import INVENTORY, JSON, LIMIT, PIPELINE, SOURCE, open_hosts
from hermes_backup.cli.progress import progress_bar
from hermes_backup.errors import ExitCode, Fault

if TYPE_CHECKING:
    from hermes_backup.pipeline.verifying import Verified

_LONG_AGO = 48 * 3600


def list_snapshots(
    inventory: Annotated[str, INVENTORY] = "demo",
    limit: Annotated[list[str] | None, LIMIT] = None,
    pipeline: Annotated[str, PIPELINE] = "",
    source: Annotated[str, SOURCE] = "",
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Only so many of the newest of each; 0 is all.")] = 0,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """List the snapshots of every host in every place. It trusts names; verify proves them."""
    from rich.table import Table

    from hermes_backup.cli.screen import console, described, print_json, tell
    from hermes_backup.fleet.amounts import show_size
    from hermes_backup.pipeline.places import backups, catalogs

    hosts, _ = open_hosts(inventory, limit or ())
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("host", "pipeline", "snapshot", "age", "stored", "place"):
        table.add_column(heading, justify="right" if heading in ("age", "stored") else "left", overflow="fold")
    rows = []
    faults: list[Fault] = []
    for config in hosts:
        for one in backups(config, pipeline):
            for place, catalog in catalogs(config, one, source):
                if isinstance(catalog, Fault):
                    faults.append(Fault(catalog.kind, catalog.what, where=place.label, mend=catalog.mend))
                    continue
                for listed in catalog.listed[-last:]:
                    note = "" if listed.complete else f"  ({listed.state})"
                    rows.append({"host": config.host, "pipeline": one.name, "snapshot": str(listed.name),
                                 "time": listed.name.time.isoformat(), "state": listed.state, "size": listed.size,
                                 "place": place.label})  # fmt: skip
                    table.add_row(config.host, one.name, f"{listed.name}{note}", show_age(listed.name.time),
                                  show_size(listed.size), place.label)  # fmt: skip
    if as_json:
        print_json({"snapshots": rows, "errors": [described(it) for it in faults]})
    else:
        screen = console()
        screen.print(table if rows else "no snapshots yet")
        for it in faults:
            tell(it)
    raise typer.Exit(int(faults[0].kind.exit_code) if faults else 0)


def show_age(moment: datetime) -> str:
    """Write how long ago something was: ``40 s``, ``12 min``, ``7 h``, ``3 d``."""
    seconds = (datetime.now(timezone.utc) - moment).total_seconds()
    if seconds < 0:
        return "in future"
    for unit, length, bound in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, _LONG_AGO)):
        if seconds < bound:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds // 86400:.0f} d"


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
    from hermes_backup.pipeline.places import backups, catalogs, pinned_key
    from hermes_backup.pipeline.verifying import verify as verify_place

    hosts, pins = open_hosts(inventory, [host] if host else ())
    results: list[tuple[str, str, Verified]] = []
    faults: list[Fault] = []
    with progress_bar(quiet=as_json) as progress:
        for config in hosts:
            for one in backups(config, pipeline):
                with pinned_key(pins, config.host) as pinned:
                    for place, catalog in catalogs(config, one, source):
                        if isinstance(catalog, Fault):
                            faults.append(Fault(catalog.kind, catalog.what, where=place.label, mend=catalog.mend))
                        elif catalog.listed or snapshot:
                            done = verify_place(config, one, place, catalog, pinned, wanted=snapshot, progress=progress)
                            results.append((config.host, one.name, done))
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
                    {"snapshot": str(it.name), "size": it.size, "error": described(it.fault) if it.fault else None}
                    for it in done.verdicts
                ],
            }
            for host, pipeline, done in results
        ],
    }


def _print(results: list[tuple[str, str, Verified]], faults: list[Fault]) -> None:
    from rich.table import Table

    from hermes_backup.cli.screen import console, tell
    from hermes_backup.fleet.amounts import show_size

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("host", "pipeline", "snapshot", "stored", "proven", "place"):
        table.add_column(heading, justify="right" if heading == "stored" else "left", overflow="fold")
    for host, pipeline, done in results:
        for it in done.verdicts:
            said = f"[red]no: {it.fault.kind.name}[/red]" if it.fault else "[green]signature, size, hash[/green]"
            table.add_row(host, pipeline, str(it.name), show_size(it.size), said, done.place)
    screen = console()
    screen.print(table if results else "no snapshots yet")
    for _, _, done in results:
        for fault in [it.fault for it in done.verdicts if it.fault] + list(done.chain):
            tell(Fault(fault.kind, fault.what, where=f"{done.place}: {fault.where}", mend=fault.mend))
        for warning in done.warnings:
            screen.print(f"warning: {done.place}: {warning}", style="yellow", markup=False)
    for fault in faults:
        tell(fault)
