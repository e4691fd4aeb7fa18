"""What a long run says on standard error, a line at a time, for the log of a container or a unit."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hermes_backup.snapshots.manifest import Manifest


def say(text: str) -> None:
    """Say a line."""
    from hermes_backup.pipeline.amounts import harmless

    with suppress(OSError):  # who stopped listening shall not keep the last snapshot from being made
        sys.stderr.write(f"hermes-backup: {harmless(text)}\n")
        sys.stderr.flush()


class Speaker:
    """Says on standard error what a log should hold: warnings, notes, snapshots; no progress."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """So much is done."""

    def warn(self, stage: str, text: str) -> None:
        """Say a warning."""
        say(f"warning: {stage}: {text}")

    def note(self, stage: str, text: str) -> None:
        """Say it."""
        say(f"{stage}: {text}")

    def published(self, manifest: Manifest, places: tuple[str, ...]) -> None:
        """A snapshot lies in these places."""
        say(f"{manifest.name} is in {', '.join(places)}")
