"""Snapshots that no remote took lie on this machine, and go to the remotes at the next occasion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hermes_backup.errors import Fault
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.roaming.attachment import kept_folder
from hermes_backup.pipeline.roaming.newest import is_newer, newest
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.names import folder_of, manifest_name
from hermes_backup.stages.context import Context
from hermes_backup.stages.copying import Target, copy_to
from hermes_backup.stages.push import Push
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.store import Store
from hermes_backup.stages.things import Snapshot

_STAGE = "push"


class Kept(Store):
    """This machine, until the remotes have the snapshot."""

    def targets(self, context: Context) -> tuple[Target, ...]:
        """The folder."""
        return tuple(replace(it, spare=True) for it in super().targets(context))


def with_kept(stages: Sequence[Stage], folder: Path) -> tuple[Stage, ...]:
    """Return the stages with this machine as one more place, before the first that sends anything away."""
    first = next((number for number, it in enumerate(stages) if isinstance(it, Push)), len(stages))
    return (*stages[:first], *([Kept(path=kept_folder(folder))] if first < len(stages) else []), *stages[first:])


def push_kept(pipeline: Pipeline, context: Context, folder: Path) -> None:
    """Send what is kept, the oldest first, and let it go here; what is not newer than the remotes' stays and is told.

    A remote that takes nothing is told as a warning.

    Raises:
        Fault: DISK_FULL, KEY_INVALID.
    """
    place = FolderPlace(kept_folder(folder))
    if not place.root.exists():
        return
    targets = tuple(it for stage in pipeline.stages if isinstance(stage, Push) for it in stage.targets(context))
    for one in reversed(newest((place,), context).candidates):
        seen = newest((it.place for it in targets), context)
        held = {it.place.label for it in seen.candidates if it.known.name == one.known.name}
        missing = tuple(it for it in targets if it.place.label not in held)
        if missing and seen.highest is not None and not held and is_newer(seen.highest, one.known.name):
            context.listener.warn(
                _STAGE, f"{one.known.name} stays in {place.label}: the remotes went on to {seen.highest}"
            )
            continue
        try:
            if missing:
                copy_to(Snapshot(one.known.name, one.known.manifest, (place,)), missing, context)
                context.listener.note(_STAGE, f"{one.known.name}, which was kept here, is sent")
        except Fault as fault:
            context.listener.warn(_STAGE, f"{one.known.name} stays in {place.label}: {fault.what}")
            return
        where = folder_of(context.host, context.pipeline)
        for name in (manifest_name(one.known.name), *(part.name for part in one.known.manifest.parts)):
            place.delete(f"{where}/{name}")
