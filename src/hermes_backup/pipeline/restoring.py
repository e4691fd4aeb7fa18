"""A restore into a folder, which is a pipeline too: fetch, decrypt, extract, check, place, on the trusted machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.pipeline.executor import Follower, execute
from hermes_backup.pipeline.unpacking import Source, unpacked
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.stages.place import PlaceTree, require_vacant
from hermes_backup.stages.things import Report


@dataclass(frozen=True)
class Restored:
    """What a restore brought back, and from where."""

    target: Path
    source: str
    report: Report

    @property
    def manifest(self) -> Manifest:
        """What the snapshot promises of what came back."""
        return self.report.tree.manifest

    @property
    def files(self) -> int:
        """How many files came back."""
        return sum(it.kind in ("file", "hardlink") for it in self.report.tree.members)

    @property
    def size(self) -> int:
        """Their bytes."""
        return sum(it.size for it in self.report.tree.members if it.kind in ("file", "hardlink"))


def restore(
    source: Source, target: Path, follower: Follower, only: Sequence[str] = (), *, leave_indexes: bool = False
) -> Restored:
    """Bring a snapshot back into a folder that does not exist yet, through a quarantine beside it.

    Signature, sizes and hashes are proven before anything is decrypted; the target appears whole or not at all.

    Raises:
        Fault: why the snapshot cannot be trusted, decrypted or placed; INTERRUPTED. The target is left alone then.
    """
    target = target.expanduser().absolute()
    require_vacant(target)
    with unpacked(source, follower, target.parent, only, leave_indexes=leave_indexes) as (report, context):
        execute((PlaceTree(to=target),), report, context, follower)
    return Restored(target, source.chosen[0].label, report)
