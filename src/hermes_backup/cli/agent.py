"""``hermes-backup agent``: what a host does by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hermes_backup.pipeline.agent import Options
    from hermes_backup.pipeline.config import HostConfig
    from hermes_backup.pipeline.status import Status

PIPELINE = typer.Argument(help="The pipeline's name.")
HOST = typer.Option(help="Which of the homes declared here; needed if there are several.")
CONFIG = typer.Option(help="Folder of rendered configurations.")


def run(
    pipeline: Annotated[str, PIPELINE],
    host: Annotated[str, HOST] = "",
    config: Annotated[Path | None, CONFIG] = None,
    inventory: Annotated[str, typer.Option(help="Read this inventory instead; needs Ansible.")] = "",
    only: Annotated[list[str] | None, typer.Option(help="Run only this stage; may be given again.")] = None,
    skip: Annotated[list[str] | None, typer.Option(help="Leave this stage out; may be given again.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Examine everything, change nothing.")] = False,
    if_changed: Annotated[bool, typer.Option("--if-changed", help="End early if the home is as last time.")] = False,
    keep: Annotated[bool, typer.Option("--keep", hidden=True)] = False,
    run_id: Annotated[str, typer.Option(hidden=True)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run one pipeline of this host, without Ansible."""
    import os
    import secrets

    from hermes_backup.cli.screen import print_json
    from hermes_backup.pipeline.agent import Options, run_pipeline
    from hermes_backup.pipeline.hosts import config_folder, configured, credentials_folder
    from hermes_backup.stages.credentials import use_credentials_of

    if inventory:
        from hermes_backup.fleet.render import host_config

        chosen = host_config(inventory, host)
    else:
        chosen = configured(config, host)
        use_credentials_of(credentials_folder(config or config_folder(), chosen.host))
    os.umask(0o077)  # what the host writes is nobody else's, also in a remote that is a folder
    options = Options(run_id or secrets.token_hex(16), tuple(only or ()), tuple(skip or ()), dry_run, if_changed, keep)
    if as_json:
        status = run_pipeline(chosen, pipeline, options)
        print_json(status.model_dump(mode="json"))
    else:
        status = _watched(chosen, pipeline, options)
    raise typer.Exit(status.exit_code or 0)


def _watched(chosen: HostConfig, pipeline: str, options: Options) -> Status:
    """Run a pipeline before the eyes of people."""
    from hermes_backup.cli.live import following, watcher
    from hermes_backup.cli.screen import console
    from hermes_backup.fleet.outcome import ended
    from hermes_backup.fleet.view import summary
    from hermes_backup.pipeline.agent import run_pipeline
    from hermes_backup.pipeline.preparing import status_path

    with watcher([chosen.host]) as seen, following(status_path(chosen, pipeline), seen):
        status = run_pipeline(chosen, pipeline, options)
    screen = console()
    screen.print(summary([ended(status.host, status)], screen.width))
    return status


def key(host: Annotated[str, HOST] = "", config: Annotated[Path | None, CONFIG] = None) -> None:
    """Make this host's signing key if there is none, and print its public half as JSON."""
    from hermes_backup.cli.mount_latest import here
    from hermes_backup.cli.screen import print_json
    from hermes_backup.pipeline.agent import signing_key

    made, public = signing_key(here(config, host))
    print_json({"made": made, "public_key": public})


def renew(
    pipeline: Annotated[str, PIPELINE], host: Annotated[str, HOST] = "", config: Annotated[Path | None, CONFIG] = None
) -> None:
    """Say once more that this machine writes the home that it brought."""
    from hermes_backup.cli.mount_latest import here
    from hermes_backup.cli.speaking import Speaker
    from hermes_backup.pipeline.roaming.shift import renew_lease

    renew_lease(here(config, host), pipeline, Speaker())


def homes(as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False) -> None:
    """Find the Hermes homes of this host: users' folders, services, and containers of Docker and Podman."""
    from rich.text import Text

    from hermes_backup.cli.screen import console, print_json
    from hermes_backup.home.discovery import LOOKED_AT, discover
    from hermes_backup.home.printable import printable

    found = discover()
    if as_json:
        print_json(
            {"homes": [
                {"path": printable(str(it.path)), "uid": it.uid, "user": it.user, "how": it.how,
                 "within": printable(str(it.within)) if it.within else None}
                for it in found
            ]}
        )  # fmt: skip
        return
    screen = console()
    if not found:
        screen.print(f"no Hermes home was found in {LOOKED_AT}")
    for it in found:
        whole = f"; a profile, in the backup of {printable(str(it.within))}" if it.within else ""
        screen.print(Text(printable(str(it.path)), style="bold"), soft_wrap=True)  # to be copied, so never cut
        screen.print(Text(f"    {it.how}; owner {it.user or it.uid}{whole}"), soft_wrap=True)


def notify(
    pipeline: Annotated[str, PIPELINE], host: Annotated[str, HOST] = "", config: Annotated[Path | None, CONFIG] = None
) -> None:
    """Tell those whom hermes_backup_notify names how the last run of a pipeline ended."""
    from hermes_backup.pipeline import notifying
    from hermes_backup.pipeline.hosts import config_folder, configured, credentials_folder
    from hermes_backup.pipeline.preparing import status_path
    from hermes_backup.pipeline.status import Status
    from hermes_backup.stages.credentials import use_credentials_of

    chosen = configured(config, host)
    use_credentials_of(credentials_folder(config or config_folder(), chosen.host))
    path = status_path(chosen, pipeline)
    status = Status.read(path) if path.is_file() else None
    notifying.notify(notifying.addresses(), *notifying.message(chosen.host, pipeline, status))
