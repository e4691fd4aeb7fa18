"""``hermes-backup agent run``: one pipeline on this host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    pipeline: Annotated[str, typer.Argument(help="The pipeline's name.")],
    host: Annotated[str, typer.Option(help="Which of the homes declared here; needed if there are several.")] = "",
    config: Annotated[Path | None, typer.Option(help="Folder of rendered configurations.")] = None,
    inventory: Annotated[str, typer.Option(help="Read this inventory instead; needs Ansible.")] = "",
    only: Annotated[list[str] | None, typer.Option(help="Run only this stage; may be given again.")] = None,
    skip: Annotated[list[str] | None, typer.Option(help="Leave this stage out; may be given again.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Examine everything, change nothing.")] = False,
    if_changed: Annotated[bool, typer.Option("--if-changed", help="End early if the home is as last time.")] = False,
    run_id: Annotated[str, typer.Option(hidden=True)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run one pipeline of this host, without Ansible."""
    import os
    import secrets

    from hermes_backup.cli.live import following, watcher
    from hermes_backup.cli.screen import console, print_json
    from hermes_backup.fleet.outcome import ended
    from hermes_backup.fleet.view import summary
    from hermes_backup.pipeline.agent import Options, run_pipeline, status_path
    from hermes_backup.pipeline.hosts import configured

    if inventory:
        from hermes_backup.fleet.render import host_config

        chosen = host_config(inventory, host)
    else:
        chosen = configured(config, host)
    os.umask(0o077)  # what the host writes is nobody else's, also in a remote that is a folder
    options = Options(run_id or secrets.token_hex(8), tuple(only or ()), tuple(skip or ()), dry_run, if_changed)
    with watcher([chosen.host], quiet=as_json) as seen, following(status_path(chosen, pipeline), seen):
        status = run_pipeline(chosen, pipeline, options)
    if as_json:
        print_json(status.model_dump(mode="json"))
    else:
        screen = console()
        screen.print(summary([ended(status.host, status)], screen.width))
    raise typer.Exit(status.exit_code or 0)
