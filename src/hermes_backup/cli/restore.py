"""``hermes-backup restore``: a snapshot back into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hermes_backup.cli.opening import INVENTORY, JSON, PIPELINE, SNAPSHOT, SOURCE, open_host
from hermes_backup.cli.progress import Narrator, progress_bar


def restore(
    inventory: Annotated[str, INVENTORY],
    host: Annotated[str, typer.Argument(help="The host whose home it was.")],
    snapshot: Annotated[str, SNAPSHOT] = "latest",
    to: Annotated[Path, typer.Option("--to", help="The folder to make; it must not hold anything yet.")] = ...,  # type: ignore[assignment]  # typer's way to say required
    paths: Annotated[
        list[str] | None, typer.Option("--path", help="Only this file or folder; may be repeated.")
    ] = None,
    pipeline: Annotated[str, PIPELINE] = "",
    source: Annotated[str, SOURCE] = "",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Bring a home back into a folder: proven before it is decrypted, checked before it is placed."""
    import time

    from hermes_backup.cli.screen import console, print_json
    from hermes_backup.errors import PIPELINE_MISSING, Fault
    from hermes_backup.pipeline.amounts import show_seconds, show_size
    from hermes_backup.pipeline.choosing import choose
    from hermes_backup.pipeline.places import backups, pinned_key
    from hermes_backup.pipeline.restoring import restore as bring_back
    from hermes_backup.pipeline.unpacking import Source

    started = time.monotonic()
    config, pins = open_host(inventory, host)
    made = backups(config, pipeline)
    if not made:
        raise Fault(PIPELINE_MISSING, f"no pipeline of host {config.host} makes snapshots")
    with pinned_key(pins, config.host) as pinned, progress_bar(quiet=as_json) as tell:
        chosen = choose(config, made[0], snapshot, source, pinned)
        narrator = Narrator(tell)
        done = bring_back(Source(config, made[0], chosen, pinned), to, narrator, paths or ())
    findings = [{"what": it.what, "evidence": it.evidence} for it in done.report.findings]
    partial = [{"path": it.path, "reason": it.reason} for it in done.manifest.partial]
    seconds = time.monotonic() - started
    if as_json:
        told = {"snapshot": str(done.manifest.name), "from": done.source, "to": str(done.target)}
        counts = {"files": done.files, "bytes": done.size, "seconds": round(seconds, 3)}
        print_json({**told, **counts, "databases": findings, "partial": partial, "warnings": narrator.warnings})
        return
    screen = console()
    size = show_size(done.size)
    screen.print(
        f"restored {done.manifest.name} of {config.host} from {done.source} to {done.target}: "
        f"{done.files} files, {size}, in {show_seconds(seconds)}",
        style="green",
        markup=False,
    )
    for it in done.report.findings:
        screen.print(f"  {it.what}: {it.evidence}", markup=False)
    lacking = [f"partial since the backup: {it['path']}: {it['reason']}" for it in partial]
    for warning in [*narrator.warnings, *lacking]:
        screen.print(f"warning: {warning}", style="yellow", markup=False)
