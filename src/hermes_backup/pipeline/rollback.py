"""Snapshots that a place is known to have held, and whether it still shows them: the newest is never pruned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.errors import ROLLBACK, Fault
from hermes_backup.pipeline.config import HostConfig, pipeline_of
from hermes_backup.pipeline.drilled import drilled, is_drill
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.places import pinned_key
from hermes_backup.pipeline.preparing import pipeline_folder
from hermes_backup.pipeline.remembering import Memory, memory_file, whose
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.stages.ledger import Ledger

_MEND = (
    "Find out who deleted it; hermes-backup list INVENTORY shows whether another place has it. If it was you: "
    "hermes-backup run INVENTORY --limit HOST"
)


@dataclass(frozen=True)
class Record:
    """A snapshot that was the newest of a place, and who tells; ``manifest_sha256`` is empty where that is not told."""

    name: SnapshotName
    said_by: str
    manifest_sha256: str = ""


@dataclass(frozen=True)
class Records:
    """What this machine has written down of the places of a pipeline; read it before the places are looked into.

    Attributes:
        pins: the folder of the hosts' pinned keys.
        drills: the folder of what this machine keeps of the drills of the inventory.
    """

    config: HostConfig
    pipeline: Pipeline
    pins: Path
    drills: Path

    def of(self, place: str) -> tuple[Record, ...]:
        """Return what is known of a place.

        Raises:
            Fault: KEY_INVALID.
        """
        return (*self._by_drills(place), *self._by_ledger(place))

    def _by_drills(self, place: str) -> Iterator[Record]:
        made = {name: pipeline_of(self.config, name) for name in self.config.pipelines}
        drills = [name for name, it in made.items() if is_drill(it) and drilled(it, made) == self.pipeline.name]
        files = [memory_file(self.drills, self.config.host, name) for name in drills]
        there = [it for it in files if it.is_file()]
        if not there or not (self.pins / f"{self.config.host}.asc").is_file():
            return
        with pinned_key(self.pins, self.config.host) as pinned:
            for file in there:
                with suppress(ValueError, OSError):  # the drill itself tells that it cannot read what it wrote
                    seen = Memory.read(file).newest(whose(self.pipeline.name, place), pinned.fingerprint)
                    if seen is not None:
                        said_by = f"drill {file.parent.name} of this machine"
                        yield Record(SnapshotName.parse(seen.snapshot), said_by, seen.manifest_sha256)

    def _by_ledger(self, place: str) -> Iterator[Record]:
        """Yield the last of a host that is this machine; who may not read its state knows nothing of it."""
        if not self.config.own_controller:
            return
        with suppress(OSError):
            last = Ledger(pipeline_folder(self.config, self.pipeline.name)).last()
            if last is not None and place in last.places and not last.unsent:  # else its push may be under way
                yield Record(last.manifest.name, "the ledger of this machine", last.manifest_sha256)


def rolled_back(
    place: str, newest: SnapshotName | None, there: Mapping[SnapshotName, str], records: Sequence[Record]
) -> Fault | None:
    """Say which snapshot a place lost, or shows otherwise than it was: the newest of those that are known.

    ``newest`` is the newest that counts there; ``there`` are all that it shows, each with the SHA-256 of its manifest
    where that is proven, else empty. Retention explains no loss while nothing newer is there: it keeps the newest.
    """
    for it in sorted(records, key=lambda one: one.name, reverse=True):
        shown = there.get(it.name)
        if shown is None and (newest is None or newest.sequence <= it.name.sequence):
            what = f"{it.name} was there, says {it.said_by}, and is gone: the newest now is {newest or 'none'}"
            return Fault(ROLLBACK, what, where=place, mend=_MEND)
        if shown and it.manifest_sha256 and shown != it.manifest_sha256:
            what = f"{it.name} has another manifest than the one that {it.said_by} tells of"
            return Fault(ROLLBACK, what, where=place, mend=_MEND)
    return None
