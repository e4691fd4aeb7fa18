"""``hermes-backup mount-latest``: the home brought back to a machine that comes and goes."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_backup.cli.speaking import Speaker, say
from hermes_backup.stages.units import parse_duration

if TYPE_CHECKING:
    from hermes_backup.pipeline.config import HostConfig
    from hermes_backup.pipeline.roaming.attaching import Attached


class Way(str, enum.Enum):
    """How a home may be brought."""

    auto = "auto"
    overlay = "overlay"
    fuse = "fuse"
    unpack = "unpack"


def seconds(text: str) -> float:
    """Read a duration of the command line."""
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


PIPELINE = typer.Option(help="The pipeline whose snapshots they are.")
METHOD = typer.Option(help="overlay and fuse mount the image, unpack does not; auto takes the first that works here.")
LEASE = typer.Option(
    help="How long after its last word this machine counts as the home's writer.", parser=seconds, metavar="DURATION"
)
START_EMPTY = typer.Option("--start-empty", help="Begin with an empty home where no snapshot can be brought.")
KEEP_HOME = typer.Option("--keep-home", help="Go on with the home that lies there, whatever the remotes hold.")
HOST = typer.Option(help="Which of the homes declared here; needed if there are several.")
CONFIG = typer.Option(help="Folder of rendered configurations.")


def mount_latest(
    pipeline: Annotated[str, PIPELINE] = "snapshot",
    method: Annotated[Way, METHOD] = Way.auto,
    lease: Annotated[float, LEASE] = "5m",  # type: ignore[assignment]  # typer parses the default, too
    start_empty: Annotated[bool, START_EMPTY] = False,
    keep_home: Annotated[bool, KEEP_HOME] = False,
    host: Annotated[str, HOST] = "",
    config: Annotated[Path | None, CONFIG] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Bring this machine's home back from its newest whole snapshot: proven, then mounted under local writes."""
    from hermes_backup.cli.screen import print_json
    from hermes_backup.pipeline.lock import locked
    from hermes_backup.pipeline.preparing import supervised
    from hermes_backup.pipeline.roaming.attaching import Wanted, attach

    chosen = here(config, host)
    wanted = Wanted(method.value, lease, start_empty, keep_home)
    with locked(supervised(chosen, pipeline)):
        attached = attach(chosen, pipeline, wanted, Speaker())
    if as_json:
        said = str(attached.snapshot) if attached.snapshot else None
        told = {"at": str(attached.at), "snapshot": said, "way": attached.way, "resumed": attached.resumed}
        print_json({**told, "passed_over": list(attached.passed)})
    else:
        say(sentence(attached))
    tell_passed(chosen, pipeline, attached)


def here(config: Path | None, host: str) -> HostConfig:
    """Return the configuration of this machine's home, its credentials being found."""
    import os

    from hermes_backup.pipeline.hosts import config_folder, configured, credentials_folder
    from hermes_backup.stages.credentials import use_credentials_of

    os.umask(0o077)
    chosen = configured(config, host)
    use_credentials_of(credentials_folder(config or config_folder(), chosen.host))
    return chosen


def tell_passed(config: HostConfig, pipeline: str, attached: Attached) -> None:
    """Tell whom hermes_backup_notify names that the home is older than its newest snapshot; it is there anyway."""
    from hermes_backup.errors import Fault
    from hermes_backup.pipeline import notifying

    if not attached.passed:
        return
    say(f"warning: what is newer than {attached.snapshot} is damaged: what the agent learned since is missing")
    try:
        message = notifying.passed_over(config.host, pipeline, str(attached.snapshot), attached.passed)
        if addresses := notifying.addresses():
            notifying.notify(addresses, *message)
    except (Fault, OSError, ValueError) as error:
        say(f"warning: nobody was told of it: {error}")


def sentence(attached: Attached) -> str:
    """Say how a home came to be there."""
    if attached.resumed:
        return f"the home at {attached.at} goes on where this machine left it"
    if attached.way == "empty":
        return f"the home at {attached.at} begins empty: no snapshot of it is anywhere"
    if attached.way == "kept":
        return f"the home at {attached.at} was there, and is used as it is"
    how = "unpacked" if attached.way == "unpack" else f"mounted ({attached.way})"
    return f"snapshot {attached.snapshot} is the home at {attached.at}, {how}"
