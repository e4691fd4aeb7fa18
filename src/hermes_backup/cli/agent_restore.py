"""``hermes-backup agent restore``: what the trusted machine calls on a host to bring its home back."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from hermes_backup.pipeline.handover import Handover, Line
    from hermes_backup.snapshots.manifest import Manifest

_PAUSE = 0.2  # seconds between two words about progress


def restore() -> None:
    """Put a snapshot in the place of a home: `hermes-backup restore --in-place` sends it to standard input."""
    import os

    from hermes_backup.errors import Fault
    from hermes_backup.pipeline.handover import Line, read_head
    from hermes_backup.pipeline.status import Trouble

    os.umask(0o077)
    try:
        answer = _done(read_head(sys.stdin.buffer))
    except Fault as fault:
        say(Line(error=Trouble.of(fault)))
        raise typer.Exit(int(fault.kind.exit_code)) from None
    say(answer)


def _done(handover: Handover) -> Line:
    from hermes_backup.pipeline.comparing import compare
    from hermes_backup.pipeline.handover import Line
    from hermes_backup.pipeline.replacing import replace

    if handover.wanted.purpose == "compare":
        return Line(compared=compare(handover))
    return Line(replaced=replace(handover, sys.stdin.buffer, Teller()))


def say(line: Line) -> None:
    """Print a line; whoever listened may be gone, and what is under way ends all the same."""
    with suppress(BrokenPipeError):
        typer.echo(line.model_dump_json(exclude_defaults=True))


class Teller:
    """Follows a restore, and tells the trusted machine how far it is."""

    def __init__(self) -> None:
        self._said = 0.0

    def stage(self, name: str) -> None:
        """A stage begins."""
        self._tell(name, 0, 0)

    def progress(self, stage: str, done: int, total: int) -> None:
        """So much is done; not every time is worth a word."""
        if time.monotonic() - self._said >= _PAUSE:
            self._tell(stage, done, total)

    def warn(self, stage: str, text: str) -> None:
        """Pass a warning on."""
        from hermes_backup.pipeline.handover import Line

        say(Line(stage=stage, warning=text))

    def note(self, stage: str, text: str) -> None:
        """What was seen is in the outcome."""

    def published(self, manifest: Manifest, places: tuple[str, ...]) -> None:
        """Nothing is published by a restore."""

    def _tell(self, stage: str, done: int, total: int) -> None:
        from hermes_backup.pipeline.handover import Line

        self._said = time.monotonic()
        say(Line(stage=stage, done=done, total=total))
