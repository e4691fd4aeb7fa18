"""``hermes-backup leave``: a last snapshot, and the home taken away from a machine that goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hermes_backup.cli.mount_latest import CONFIG, HOST, PIPELINE, here
from hermes_backup.cli.speaking import Speaker, say


def leave(
    pipeline: Annotated[str, PIPELINE] = "snapshot",
    host: Annotated[str, HOST] = "",
    config: Annotated[Path | None, CONFIG] = None,
    run_id: Annotated[str, typer.Option(hidden=True)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Take a last snapshot of the home that was brought, take the home away, and give it free for other machines.

    Ends with the snapshot's exit status; with 4 where something was written while it was made. Where no remote took
    it, it is kept on this machine, and so is everything that was written to the home: the next start goes on with both.
    """
    import secrets

    from hermes_backup.cli.screen import print_json
    from hermes_backup.errors import ExitCode
    from hermes_backup.pipeline.agent import Options, run_pipeline
    from hermes_backup.pipeline.lock import locked
    from hermes_backup.pipeline.preparing import supervised
    from hermes_backup.pipeline.roaming.attaching import detach

    chosen = here(config, host)
    with locked(supervised(chosen, pipeline)):
        status = run_pipeline(chosen, pipeline, Options(run_id or secrets.token_hex(16), keep=True))
        saved = status.started if status.exit_code == ExitCode.OK else None
        in_time = detach(chosen, pipeline, saved=saved, follower=Speaker())
    if status.error is not None:
        say(f"warning: no last snapshot: {status.error.what} [{status.error.name}] {status.error.mend}")
    elif not as_json:
        said = f"nothing has changed since {status.snapshot}" if status.state == "unchanged" else status.snapshot
        say(f"the last snapshot: {said}")
    if as_json:
        print_json(status.model_dump(mode="json"))
    code = ExitCode.BUG if status.exit_code is None else status.exit_code
    raise typer.Exit(code or (ExitCode.OK if in_time else ExitCode.PARTIAL))
