"""``hermes-backup run``: a pipeline on the hosts of an inventory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hermes_backup.cli.opening import FORKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hermes_backup.fleet.outcome import HostRun

_STAGE = "may be given again."


def run(
    inventory: Annotated[
        str, typer.Argument(help="A path, or a name: ./inventory/NAME, ~/.config/hermes-backup/inventory/NAME, …")
    ] = "demo",
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="The pipeline.")] = "nightly",
    limit: Annotated[
        list[str] | None, typer.Option("--limit", "-l", help="Only these hosts, groups or patterns; !NAME leaves out.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"Run only this stage; {_STAGE}")] = None,
    skip: Annotated[list[str] | None, typer.Option(help=f"Leave this stage out; {_STAGE}")] = None,
    forks: Annotated[int, FORKS] = 0,
    serial: Annotated[int, typer.Option(min=0, help="Begin so many hosts, and the next when these are done.")] = 0,
    max_fail: Annotated[
        int, typer.Option(min=0, max=100, help="With --serial: begin no more when over so many percent failed.")
    ] = 100,
    no_deploy: Annotated[bool, typer.Option("--no-deploy", help="Run what is deployed; install nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Examine everything, change nothing.")] = False,
    if_changed: Annotated[bool, typer.Option("--if-changed", help="End early if a home is as last time.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run a pipeline on every host of an inventory, and watch it."""
    from hermes_backup.cli.live import watcher
    from hermes_backup.cli.screen import console
    from hermes_backup.cli.tour import tour
    from hermes_backup.fleet.choice import choose
    from hermes_backup.fleet.demo import is_demo, prepared, without_agent
    from hermes_backup.fleet.inventory import find_inventory
    from hermes_backup.fleet.outcome import exit_code
    from hermes_backup.fleet.play import interruptible
    from hermes_backup.fleet.render import render
    from hermes_backup.fleet.run import Course, Run, new_run_id
    from hermes_backup.pipeline.agent import Options

    fleet = render(prepared(find_inventory(inventory)), examine_keys=True)
    hosts = choose(fleet, limit or ())
    fleet.demand_sound(hosts)
    options = Options(new_run_id(), tuple(only or ()), tuple(skip or ()), dry_run, if_changed)
    with watcher([host.name for host in hosts], quiet=as_json) as seen:
        job = Run(
            fleet, hosts, pipeline, options, seen, Course(forks, serial, max_fail, deploy=not (no_deploy or dry_run))
        )
        with interruptible(job.interrupt):
            runs = job.execute()
    code = exit_code(runs, interrupted=job.interrupted)
    _print(runs, fleet.warnings, {"run_id": options.run_id, "pipeline": pipeline, "exit_code": int(code)}, as_json)
    plain = not (as_json or dry_run or only or skip)
    if plain and code == 0 and is_demo(fleet.inventory) and hosts[0].config is not None:
        with without_agent():
            tour(hosts[0].config, pipeline, fleet.inventory.pins, console())
    raise typer.Exit(int(code))


def _print(runs: Sequence[HostRun], warnings: Sequence[str], about: Mapping[str, Any], as_json: bool) -> None:
    from hermes_backup.cli.screen import console, described, print_json
    from hermes_backup.fleet.view import summary

    if as_json:
        hosts = {
            run.host: {
                "exit_code": int(run.exit_code),
                "status": None if run.status is None else run.status.model_dump(mode="json"),
                "error": None if run.fault is None else described(run.fault),
            }
            for run in runs
        }
        print_json({**about, "warnings": list(warnings), "hosts": hosts})
        return
    screen = console()
    screen.print(summary(runs, screen.width, warnings))
    for warning in warnings:
        screen.print(f"warning: {warning}", style="yellow", markup=False)
