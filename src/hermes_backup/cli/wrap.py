"""``hermes-backup wrap``: a command in its home, with snapshots beside it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_backup.cli.mount_latest import (
    CONFIG,
    HOST,
    KEEP_HOME,
    LEASE,
    METHOD,
    PIPELINE,
    START_EMPTY,
    Way,
    here,
    seconds,
    sentence,
    tell_passed,
)
from hermes_backup.cli.speaking import Speaker, say
from hermes_backup.errors import ExitCode, Fault

if TYPE_CHECKING:
    from hermes_backup.pipeline.config import HostConfig
    from hermes_backup.pipeline.roaming.supervising import Ended, Work


GRACE = typer.Option(
    help="How long the container has to end after SIGTERM; docker and podman give 10s.",
    parser=seconds,
    metavar="DURATION",
)
COMMAND = typer.Argument(metavar="-- COMMAND", help="What runs in the home; none: snapshots alone.")


def wrap(
    command: Annotated[list[str] | None, COMMAND] = None,
    pipeline: Annotated[str, PIPELINE] = "snapshot",
    grace: Annotated[float, GRACE] = "10s",  # type: ignore[assignment]  # typer parses the default, too
    method: Annotated[Way, METHOD] = Way.auto,
    lease: Annotated[float, LEASE] = "5m",  # type: ignore[assignment]  # typer parses the default, too
    start_empty: Annotated[bool, START_EMPTY] = False,
    keep_home: Annotated[bool, KEEP_HOME] = False,
    host: Annotated[str, HOST] = "",
    config: Annotated[Path | None, CONFIG] = None,
) -> None:
    """Bring the home, run a command in it with snapshots beside it, and take a last one when it ends.

    Ends with the command's exit status; with the last snapshot's where that failed and the command did not.
    """
    from hermes_backup.pipeline.lock import locked
    from hermes_backup.pipeline.preparing import supervised
    from hermes_backup.pipeline.roaming.attaching import Wanted, attach, detach
    from hermes_backup.pipeline.roaming.shift import every, saved_until
    from hermes_backup.pipeline.roaming.supervising import hold_signals
    from hermes_backup.streams.process import find

    umask = os.umask(0o077)
    chosen = here(config, host)
    times = (every(chosen, pipeline), lease, grace)
    found = [find(command[0], "wrap"), *command[1:]] if command else []
    with locked(supervised(chosen, pipeline)) as lock:
        wanted = Wanted(method.value, lease, start_empty, keep_home, hold_signals, beside=not command)
        attached = attach(chosen, pipeline, wanted, Speaker())
        say(sentence(attached))
        tell_passed(chosen, pipeline, attached)
        with suppress(OSError):
            os.chdir(os.getcwd())  # noqa: PTH109 - what is mounted there now, if that is the home
        in_time = True
        ended = _run(chosen, pipeline, _work(found, umask, lock, chosen.host, config, pipeline, times))
        os.chdir("/")
        try:
            saved = saved_until(chosen, pipeline, ended.last)
            in_time = detach(chosen, pipeline, saved=saved, follower=Speaker())
        except Fault as fault:  # what was to be saved is; the exit status is the command's
            say(f"warning: the home stays where it is: {fault}")
    raise typer.Exit(ended.command or ended.last or (ExitCode.OK if in_time else ExitCode.PARTIAL))


def _run(config: HostConfig, pipeline: str, work: Work) -> Ended:
    from hermes_backup.pipeline.roaming.shift import Measure
    from hermes_backup.pipeline.roaming.supervising import Supervisor

    measure = Measure(config, pipeline)
    warned = _warn_of(work.grace, measure(), already=False)

    def ran(code: int) -> None:
        nonlocal warned
        _report(config, pipeline, code)
        warned = _warn_of(work.grace, measure(), already=warned)

    ended = Supervisor(work, measure, ran, _skipped, _not_started).run()
    _report(config, pipeline, ended.last)
    measure()
    return ended


def _work(
    command: list[str],
    umask: int,
    lock: int,
    host: str,
    config: Path | None,
    pipeline: str,
    times: tuple[float, float, float],
) -> Work:
    from hermes_backup.pipeline.roaming.supervising import Work
    from hermes_backup.streams.guardian import original_environment
    from hermes_backup.streams.process import bound, python

    every, lease, grace = times
    where = ["--host", host, *(["--config", str(config)] if config else [])]
    # they clean up when this process is killed: SIGTERM
    agent = [*bound("TERM"), *python(), "-m", "hermes_backup", "agent"]
    run = [*agent, "run", pipeline, *where]
    renew = [*agent, "renew", pipeline, *where]
    # an agent runs what it thinks of: it is not shown the way to the passphrase and the signing key
    environment = {name: it for name, it in original_environment().items() if name != b"CREDENTIALS_DIRECTORY"}
    return Work(command, environment, umask, lock, run, [*run, "--keep"], renew, every, lease / 3, grace)


def _not_started(error: OSError) -> None:
    say(f"warning: the command cannot be started: {error.strerror}")


def _warn_of(grace: float, seconds: float | None, *, already: bool) -> bool:
    from hermes_backup.pipeline.roaming.supervising import fits

    if seconds is None or fits(grace, seconds):
        return False
    if not already:
        say(
            f"warning: the last snapshot took {seconds:.1f} s, and a last one may not fit into the grace of "
            f"{grace:.0f} s: give the container a longer one, and say so with --grace"
        )
    return True


def _skipped(count: int) -> None:
    if count & (count - 1):
        return  # told once, and then ever more seldom
    say(f"warning: the snapshot before is still under way, so this one is skipped ({count} so far)")


def _report(config: HostConfig, pipeline: str, code: int) -> None:
    from hermes_backup.pipeline.roaming.shift import last_status

    status = last_status(config, pipeline)
    if status is None or status.finished is None:
        say(f"warning: a snapshot ended with {code}, and left no word")
    elif status.error is not None:
        say(f"warning: no snapshot: {status.error.what} [{status.error.name}] {status.error.mend}")
    elif status.state == "unchanged":
        say(f"nothing has changed since {status.snapshot}")
    else:
        seconds = (status.finished - status.started).total_seconds()
        say(f"snapshot {status.snapshot} of {status.files} files was made in {seconds:.1f} s")
