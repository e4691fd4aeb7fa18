"""A progress bar for work on the trusted machine: one line on a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hermes_backup.cli.screen import console

if TYPE_CHECKING:
    from hermes_backup.snapshots.manifest import Manifest


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show what is done of what; call it with a name, bytes done and bytes in all."""
    screen = None if quiet else console(stderr=True)
    if screen is None or not screen.is_terminal:
        yield _nothing
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as bars:
        task = bars.add_task("", total=None)

        def tell(what: str, done: int, total: int) -> None:
            bars.update(task, description=what, completed=done, total=total or None)

        yield tell


def _nothing(what: str, done: int, total: int) -> None:
    del what, done, total


class Narrator:
    """Follows a pipeline on this machine: stages and progress to a bar, warnings and notes kept for afterwards."""

    def __init__(self, tell: Callable[[str, int, int], None]) -> None:
        self._tell = tell
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def stage(self, name: str) -> None:
        """A stage begins."""
        self._tell(name, 0, 0)

    def progress(self, stage: str, done: int, total: int) -> None:
        """So much is done."""
        self._tell(stage, done, total)

    def warn(self, stage: str, text: str) -> None:
        """Keep a warning."""
        self.warnings.append(f"{stage}: {text}")

    def note(self, stage: str, text: str) -> None:
        """Keep a note."""
        self.notes.append(f"{stage}: {text}")

    def published(self, manifest: Manifest, places: tuple[str, ...]) -> None:
        """Nothing is published by what this follows."""
