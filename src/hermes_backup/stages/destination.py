"""Where a snapshot goes: the stages ``store`` and ``push`` that stand together share one pass over the stream."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from hermes_backup.snapshots.addresses import folder_at
from hermes_backup.snapshots.names import folder_of
from hermes_backup.stages.context import Context
from hermes_backup.stages.copying import Target, copy_to
from hermes_backup.stages.publishing import publish
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.stream import Stream
from hermes_backup.stages.things import Snapshot
from hermes_backup.streams.ownership import require_own


class Destination(Stage):
    """A stage that puts a snapshot into places."""

    takes: ClassVar[tuple[type, ...]] = (Stream, Snapshot)
    gives: ClassVar[type] = Snapshot

    @property
    @abstractmethod
    def addresses(self) -> tuple[str, ...]:
        """The places of this stage as they are declared, each in one spelling; folders of this machine begin with /."""

    def preflight(self, context: Context) -> None:
        """Make sure that nobody else writes to the folders of this machine among the places.

        Raises:
            Fault: FOLDER_EXPOSED.
        """
        for address in self.addresses:
            folder = folder_at(address, context.rclone_config)
            if folder is not None:
                require_own(folder / folder_of(context.host, context.pipeline), self.name)

    @abstractmethod
    def targets(self, context: Context) -> tuple[Target, ...]:
        """Return the places of this stage."""

    def run(self, value: Any, context: Context) -> Snapshot:
        """Write the stream, or copy the finished snapshot, to this stage's places."""
        return deliver((self,), value, context)


def deliver(stages: Sequence[Destination], value: Stream | Snapshot, context: Context) -> Snapshot:
    """Write a stream to the places of several stages at once, or copy a finished snapshot there.

    Raises:
        Fault: PUSH_FAILED when a place did not take it, though others may hold it; whatever the stream raises.
    """
    targets = tuple(target for stage in stages for target in stage.targets(context))
    if isinstance(value, Snapshot):
        return copy_to(value, targets, context)
    return publish(value, targets, context)
