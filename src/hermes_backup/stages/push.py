"""Stage ``push``: one or more remotes, through rclone."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from hermes_backup.errors import Fault
from hermes_backup.snapshots.addresses import place_at
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.gate import place
from hermes_backup.stages.context import Context
from hermes_backup.stages.copying import Target
from hermes_backup.stages.destination import Destination
from hermes_backup.stages.units import Bandwidth
from hermes_backup.streams.process import find


class Push(Destination):
    """Send the snapshot off the host. A remote that fails does not stop the others, and fails the run."""

    name: ClassVar[str] = "push"

    to: Annotated[tuple[str, ...], Field(min_length=1)]
    """Remotes, as rclone writes them: ``REMOTE:PATH`` or an absolute path."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """How often each remote is tried; further attempts read from a place that holds the snapshot already."""
    append_only: bool = False
    """The remotes take new files and let none be renamed, replaced or deleted: files are sent under their own names."""
    unencrypted: bool = False
    """Let an archive that nobody encrypted leave the host."""
    bandwidth: Bandwidth | None = None
    """The most that one remote gets, in bytes a second, such as ``10M``."""

    @field_validator("to")
    @classmethod
    def _allowed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(dict.fromkeys(place(it) for it in value))
        except Fault as fault:
            raise ValueError(fault.what) from None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The remotes."""
        return self.to

    def preflight(self, context: Context) -> None:
        """Make sure that rclone is there if a remote needs it, and that nobody else writes to folders among them."""
        super().preflight(context)
        if not all(isinstance(it.place, FolderPlace) for it in self.targets(context)):
            find("rclone", self.name)

    def targets(self, context: Context) -> tuple[Target, ...]:
        """The remotes."""
        return tuple(
            Target(
                self.name,
                place_at(it, context.rclone_config, self.bandwidth, append_only=self.append_only),
                self.attempts,
            )
            for it in self.to
        )

    def plan(self, context: Context) -> tuple[str, ...]:
        """Say where to."""
        del context
        return tuple(f"push to {it}" for it in self.to)
