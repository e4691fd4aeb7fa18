"""``hermes-backup drill``: bring the snapshots of every host back into a scratch folder, and say what that proved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hermes_backup.cli.opening import INVENTORY, JSON, LIMIT, SOURCE, open_hosts

if TYPE_CHECKING:
    from hermes_backup.errors import ExitCode, Fault
    from hermes_backup.fleet.drills import Word
    from hermes_backup.pipeline.config import HostConfig
    from hermes_backup.pipeline.drill_result import Drilled
    from hermes_backup.pipeline.drilling import Job

_FORKS = 2


def drill(
    inventory: Annotated[str, INVENTORY],
    limit: Annotated[list[str] | None, LIMIT] = None,
    snapshot: Annotated[
        str, typer.Option("--snapshot", "-s", help="Only this one: latest, a number, a name, or a time.")
    ] = "",
    source: Annotated[str, SOURCE] = "",
    accept: Annotated[
        bool,
        typer.Option("--accept-rollback", help="With --limit: believe what the places show, whatever was seen before."),
    ] = False,
    forks: Annotated[int, typer.Option("--forks", "-f", min=1, help="So many hosts at a time.")] = _FORKS,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Prove that backups come back: fetch, decrypt, extract and check them, measure, and sign what was seen.

    The newest snapshot of each host, and in turns every other, so that each is brought back once a year. Exit 9 when
    any host fails, 10 when the newest snapshot of one is too old. With --snapshot or --from it leaves evidence, and is
    not what status tells as the last drill.
    """
    from hermes_backup.cli.screen import print_json
    from hermes_backup.fleet.drills import drill_hosts

    if accept and not limit:
        raise typer.BadParameter("name the hosts by --limit", param_hint="--accept-rollback")
    jobs, undrilled = _jobs(inventory, limit or (), snapshot, source, forgiving=accept)
    with _watching(jobs, quiet=as_json) as (told, ended):
        results = drill_hosts(jobs, forks, told, ended)
    results = tuple(_with_page(it) for it in results)
    done = list(zip(jobs, results, strict=True))
    code = _exit_code(results)
    if as_json:
        print_json({"exit_code": int(code), "drills": [_data(job, it) for job, it in done], "undrilled": undrilled})
    else:
        _print(done, undrilled)
    raise typer.Exit(int(code))


def _jobs(
    inventory: str, limit: Sequence[str], snapshot: str, source: str, *, forgiving: bool
) -> tuple[list[Job], list[str]]:
    """Return a job for each drill of each host, and the hosts that declare none.

    Raises:
        Fault: PIPELINE_MISSING where none declares any; HOST_KEY_MISSING and the like are the drill's own to tell.
    """
    import platformdirs

    from hermes_backup import APP
    from hermes_backup.errors import PIPELINE_MISSING, Fault
    from hermes_backup.pipeline.config import pipeline_of
    from hermes_backup.pipeline.drilled import is_drill
    from hermes_backup.pipeline.drilling import Job

    hosts, opened = open_hosts(inventory, limit)
    signing = platformdirs.user_state_path(APP) / "drill-key"
    jobs = [
        Job(config, name, opened.pins, opened.drills, signing, _allowed(config, name), snapshot, source, forgiving)
        for config in hosts
        for name in config.pipelines
        if is_drill(pipeline_of(config, name))
    ]
    drilled = {it.config.host for it in jobs}
    undrilled = [it.host for it in hosts if it.host not in drilled]
    if not jobs:
        what = f"no pipeline is a drill, of {', '.join(undrilled)}"
        mend = "Declare one: fetch, decrypt, extract, check, with runs_on: controller."
        raise Fault(PIPELINE_MISSING, what, mend=mend)
    return jobs, undrilled


def _allowed(config: HostConfig, drill_name: str) -> Any:
    """Return how old the newest snapshot may be, as ``status`` judges it."""
    from hermes_backup.pipeline.config import pipeline_of
    from hermes_backup.pipeline.drilled import drilled
    from hermes_backup.report.freshness import allowed_age

    made = {name: pipeline_of(config, name) for name in config.pipelines}
    backup = made.get(drilled(made[drill_name], made))
    schedule = None if backup is None else backup.schedule
    return config.max_age if schedule is None else allowed_age(schedule, config.max_age)


def _exit_code(results: Sequence[Drilled | Fault]) -> ExitCode:
    from hermes_backup.errors import ExitCode, Fault

    if any(isinstance(it, Fault) or it.result == "failed" for it in results):
        return ExitCode.VERIFY
    stale = any(not isinstance(it, Fault) and it.result == "stale" for it in results)
    return ExitCode.STALE if stale else ExitCode.OK


@contextmanager
def _watching(
    jobs: Sequence[Job], *, quiet: bool
) -> Iterator[tuple[Callable[[Word], None], Callable[[Job, Drilled | Fault], None]]]:
    """Show on a terminal how far each host is; elsewhere a line as each ends."""
    from hermes_backup.cli.screen import console
    from hermes_backup.errors import Fault

    screen = console(stderr=True)
    total = len(jobs)
    over: list[str] = []

    def line(job: Job, result: Drilled | Fault) -> str:
        over.append(job.config.host)
        return f"{len(over)}/{total} {job.config.host}: {'failed' if isinstance(result, Fault) else result.result}"

    if quiet or not screen.is_terminal:

        def say(job: Job, result: Drilled | Fault) -> None:
            if not quiet:
                screen.print(line(job, result), markup=False)

        yield _nothing, say
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def told(word: Word) -> None:
            if not word.total and word.host in tasks:  # a stage begins, and nobody knows yet how much it is
                bars.remove_task(tasks.pop(word.host))
            if word.host not in tasks:
                tasks[word.host] = bars.add_task(word.host, total=None)
            said = f"{word.host} {word.stage}"
            bars.update(tasks[word.host], description=said, completed=word.done, total=word.total or None)

        def ended(job: Job, result: Drilled | Fault) -> None:
            if job.config.host in tasks:
                bars.remove_task(tasks.pop(job.config.host))
            bars.console.print(line(job, result), markup=False)

        yield told, ended


def _nothing(word: Word) -> None:
    del word


def _with_page(result: Drilled | Fault) -> Drilled | Fault:
    """Write the page for people beside the evidence; that it cannot be written is a warning."""
    from dataclasses import replace

    from hermes_backup.errors import Fault
    from hermes_backup.report.drill_page import write_page

    if isinstance(result, Fault) or not result.files:
        return result
    try:
        page = write_page(result)
    except OSError as error:
        return replace(result, warnings=(*result.warnings, f"no page is written: {error.strerror}"))
    return replace(result, files=(*result.files, page))


def _print(done: Sequence[tuple[Job, Drilled | Fault]], undrilled: Sequence[str]) -> None:
    from hermes_backup.cli.screen import console
    from hermes_backup.report.drill_table import show

    screen = console()
    screen.print(show([(job.config.host, it) for job, it in done], undrilled, wrap=screen.is_terminal))


def _data(job: Job, result: Drilled | Fault) -> dict[str, Any]:
    from hermes_backup.cli.screen import described
    from hermes_backup.errors import Fault
    from hermes_backup.pipeline.drill_result import evidence_of

    if isinstance(result, Fault):
        return {"host": job.config.host, "drill": job.drill, "result": "failed", "error": described(result)}
    failures = [
        {"snapshot": None if name is None else str(name), "what": it.what, "evidence": it.evidence,
         "name": it.name, "named": list(it.named)}
        for name, it in result.failures
    ]  # fmt: skip
    kept = {"failures": failures, "warnings": list(result.warnings), "files": list(result.files)}
    rto = result.rto
    return {**evidence_of(result).model_dump(mode="json"), "rto": None if rto is None else rto.total, **kept}
