"""What the trusted machine has seen of each pipeline, so that nobody can take back what a place once showed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_backup.errors import ROLLBACK
from hermes_backup.pipeline.drilled import status_file
from hermes_backup.snapshots.catalog import Known
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.stages.things import Finding
from hermes_backup.streams.private import write_private

_WHAT = "rollback"


class Newest(BaseModel):
    """The newest snapshot that was ever seen of a pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    snapshot: str
    manifest_sha256: str


class Memory(BaseModel):
    """What was seen, by pipeline and signing key: a host set up anew begins anew. ``turn`` counts drills."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seen: dict[str, Newest] = {}
    turn: int = 0

    @classmethod
    def read(cls, path: Path) -> Memory:
        """Read what was written; nothing before the first drill.

        Raises:
            ValueError: it is damaged; OSError: it cannot be read.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls()
        except ValidationError:
            raise ValueError(f"{path} is damaged") from None

    def write(self, path: Path) -> None:
        """Replace what was written."""
        write_private(path, self.model_dump_json().encode(), durable=True)

    def newest(self, pipeline: str, fingerprint: str) -> Newest | None:
        """Return the newest that was seen of a pipeline."""
        return self.seen.get(_key(pipeline, fingerprint))

    def having_seen(self, pipeline: str, fingerprint: str, known: Sequence[Known]) -> Memory:
        """Return the memory after a look: the newest only ever gets newer."""
        newest = max(known, key=lambda it: it.name, default=None)
        before = self.newest(pipeline, fingerprint)
        if newest is None or (before is not None and SnapshotName.parse(before.snapshot) >= newest.name):
            return self
        now = Newest(snapshot=str(newest.name), manifest_sha256=newest.manifest_sha256)
        return self.model_copy(update={"seen": {**self.seen, _key(pipeline, fingerprint): now}})

    def without(self, pipeline: str, fingerprint: str) -> Memory:
        """Return the memory without what was seen of a pipeline."""
        return self.model_copy(
            update={"seen": {k: v for k, v in self.seen.items() if k != _key(pipeline, fingerprint)}}
        )

    def compare(self, pipeline: str, fingerprint: str, known: Sequence[Known]) -> Finding:
        """Say whether a place shows at least what was seen before, and under that name the same."""
        before = self.newest(pipeline, fingerprint)
        if before is None:
            return Finding(_WHAT, "unproven", "no drill on this machine has seen this pipeline before")
        newest = max((it.name for it in known), default=None)
        if newest is None or newest.sequence < SnapshotName.parse(before.snapshot).sequence:
            said = f"the newest is {newest or 'none'}; {before.snapshot} was seen before"
            return Finding(_WHAT, "failed", said, name=ROLLBACK.name)
        number = SnapshotName.parse(before.snapshot).sequence
        same = [it for it in known if it.name.sequence == number]
        if any((str(it.name), it.manifest_sha256) != (before.snapshot, before.manifest_sha256) for it in same):
            said = f"{same[0].name} has another manifest than {before.snapshot}, which was seen before"
            return Finding(_WHAT, "failed", said, name=ROLLBACK.name)
        if not same:
            said = f"{before.snapshot}, the newest that was seen before, is there no more; newer ones are"
            return Finding(_WHAT, "unproven", said)
        return Finding(_WHAT, "ok", f"not older than {before.snapshot}, which is there as it was seen before")


def memory_file(drills: Path, host: str, drill: str) -> Path:
    """Return where a drill of a host keeps what it saw."""
    return status_file(drills, host, drill).with_name("seen.json")


def whose(pipeline: str, place: str) -> str:
    """Return under which name a memory keeps what it saw of a pipeline: a place may lag behind another."""
    return f"{pipeline} in {place}"


def _key(pipeline: str, fingerprint: str) -> str:
    return f"{pipeline}/{fingerprint}"
