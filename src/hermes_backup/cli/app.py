"""The program ``hermes-backup``: its commands, and how it ends."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from hermes_backup import __version__
from hermes_backup.cli import (
    agent,
    agent_restore,
    bundle,
    deploy,
    diff,
    drill,
    init,
    inside,
    leave,
    logs,
    mount,
    mount_latest,
    prune,
    quarantine,
    restore,
    run,
    schedule,
    snapshots,
    status,
    validate,
    wrap,
)
from hermes_backup.cli.screen import tell
from hermes_backup.errors import BUG, INTERRUPTED, MEANINGS, NO_ROOM, Fault, from_system
from hermes_backup.streams import core_dumps

_OBJECTS_BETWEEN_COLLECTIONS = 50_000
_EPILOG = "Exit codes:\n\n" + "\n\n".join(f"{int(code)}: {meaning}" for code, meaning in MEANINGS.items())

app = typer.Typer(
    name="hermes-backup",
    help="Declarative, encrypted, proven backups of Hermes Agent homes, on one host or many.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_agent = typer.Typer(help="Run pipelines on this host, without Ansible.", no_args_is_help=True)
for agent_command in (agent.run, agent.homes, agent.key, agent.notify, agent.renew, agent_restore.restore):
    _agent.command(agent_command.__name__, epilog=_EPILOG)(agent_command)
for command in (
    run.run, deploy.deploy, deploy.remove, status.status, logs.logs, snapshots.list_snapshots, snapshots.verify,
    restore.restore, inside.ls, inside.find, diff.diff, inside.cat, inside.history, mount.mount,
    mount_latest.mount_latest, leave.leave, wrap.wrap,
    drill.drill, prune.prune, quarantine.quarantine, schedule.schedule, validate.validate, validate.show, init.init,
    bundle.bundle,
):  # fmt: skip
    app.command(command.__name__.removesuffix("_snapshots").replace("_", "-"), epilog=_EPILOG)(command)
app.add_typer(_agent, name="agent")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hermes-backup {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    from hermes_backup.streams import scratch

    del version
    scratch.sweep()  # a decrypted tree that a killed command left must not wait for the next of its kind


def main() -> None:
    """Run the program; its exit code says how it went."""
    core_dumps.forbid()
    _prepare_environment()
    _occupy_standard_streams()
    _collect_rarely()
    signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except Exception as error:  # whatever it is, it has a name and an exit code
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what it left half done is cleaned up now
        code = tell(error if isinstance(error, Fault) else _unforeseen(error), as_json="--json" in sys.argv)
    else:
        return
    gc.collect()  # a block that a signal found half entered is left when the error's frames go
    sys.exit(code)


def _unforeseen(error: Exception) -> Fault:
    """Name what no part of the program did: no room is the machine's fault, all else is ours."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        full = from_system(error, "")
        return Fault(full.kind, full.what, mend="df -h and df -i say which file system is full.")
    traceback.print_exc()
    return Fault(BUG, f"{type(error).__name__}: {error}")


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise Fault(INTERRUPTED, "stopped by a signal")


def _occupy_standard_streams() -> None:
    """Open what was closed: else the next file would have its number, and what is printed would go into that file."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as the program runs


def _collect_rarely() -> None:
    """Let Python look for circles of dead objects less often, and not at its end, when all memory goes anyway.

    Of a run that finds its home unchanged that was a fifth of all processor time (measured).
    """
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    atexit.register(gc.freeze)


def _prepare_environment() -> None:
    """Let nothing in the environment change what rclone does, and let our own rclone and Ansible be found first.

    pydantic looks for plugins in every package that is installed, for a tenth of a second (measured); none is wanted.
    """
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "1"
    for name in [it for it in os.environ if it.startswith(("AWS_", "RCLONE_"))]:
        del os.environ[name]
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
