"""The newest snapshot of a home made the home again, on a machine that comes and goes: fetch, decrypt, check, mount."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from hermes_backup.errors import (
    HOME_DIVERGED,
    HOME_OCCUPIED,
    INTERRUPTED,
    Fault,
    from_system,
)
from hermes_backup.pipeline import leasing
from hermes_backup.pipeline.attachment import (
    Attachment,
    Way,
    attachment,
    forget,
    kept_folder,
    layers_of,
    remember,
)
from hermes_backup.pipeline.config import HostConfig, pipeline_of
from hermes_backup.pipeline.executor import Follower
from hermes_backup.pipeline.homes import declared_home
from hermes_backup.pipeline.interruption import interruptible
from hermes_backup.pipeline.keeping import push_kept
from hermes_backup.pipeline.laying import Laying, clear, occupied
from hermes_backup.pipeline.lock import locked
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.newest import Newest, newest, targets_of
from hermes_backup.pipeline.preparing import pipeline_folder, prepared, private
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.stages.context import Context
from hermes_backup.streams.folders import remove

_STAGE = "mount"
_EMPTY = "To begin with an empty home all the same: --start-empty."


@dataclass(frozen=True)
class Wanted:
    """How the home is to be brought.

    Attributes:
        way: ``auto`` takes the first of overlay, fuse and unpack that this machine allows.
        lease: for how many seconds nobody else may write this home, from each time that we say so.
        start_empty: begin with an empty home where nothing can be brought.
        keep_home: begin with the home that lies there, whatever the places hold.
        settled: called before anybody can see the home: from then on it may be written.
    """

    way: Literal["auto", "overlay", "fuse", "unpack"] = "auto"
    lease: float = 300.0
    start_empty: bool = False
    keep_home: bool = False
    settled: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Attached:
    """A home that is there. ``resumed``: with what was written to it before, on this machine."""

    at: Path
    way: Way
    snapshot: SnapshotName | None
    resumed: bool


def attach(config: HostConfig, name: str, wanted: Wanted, follower: Follower) -> Attached:
    """Bring the home of a pipeline to where it is declared, and take the lease on it.

    Raises:
        Fault: HOME_OCCUPIED, HOME_DIVERGED, LEASE_HELD, REMOTE_UNREACHABLE, LOCKED; why no snapshot can be believed,
            decrypted or shown; INTERRUPTED. No home is there then that was not there before.
    """
    with _run(config, name, follower) as (pipeline, folder, context):
        at = declared_home(config).absolute()
        with leasing.held(pipeline, context, folder, wanted.lease) as without:
            found = _look(pipeline, context, folder, without)
            record = attachment(folder)
            attached = _resumed(record, found, folder, at, wanted, context)
            if attached is None:
                attached = _begun(found, folder, at, wanted, context, pipeline)
            # also where the newest is damaged: its number is taken
            context.ledger.go_on([(it.known.manifest, it.known.manifest_sha256) for it in found.candidates])
            push_kept(pipeline, context, folder)
            return attached


def detach(config: HostConfig, name: str, *, saved: bool, follower: Follower) -> None:
    """Take the home away where it was mounted, and give the lease back.

    ``saved``: a snapshot holds everything that was written to it, so what lies on this machine goes.

    Raises:
        Fault: STAGE_FAILED when somebody stands in the home, LOCKED.
    """
    with _run(config, name, follower) as (pipeline, folder, context):
        record = attachment(folder)
        if record is not None and record.way in ("overlay", "fuse"):
            layers = layers_of(folder, record.at)
            layers.unmount()
            if saved:
                remove(layers.folder)
                forget(folder)
        leasing.release(pipeline, context, folder)


@contextmanager
def _run(config: HostConfig, name: str, follower: Follower) -> Iterator[tuple[Pipeline, Path, Context]]:
    pipeline = pipeline_of(config, name)
    folder = private(pipeline_folder(config, name))
    now = datetime.now(timezone.utc)
    with interruptible():
        try:
            with locked(folder / "lock"), prepared(config, pipeline, folder, now, follower) as context:
                yield pipeline, folder, context
        except KeyboardInterrupt:
            raise Fault(INTERRUPTED, "stopped by a signal", where=_STAGE) from None
        except OSError as error:
            raise from_system(error, _STAGE) from None


def _look(pipeline: Pipeline, context: Context, folder: Path, without: tuple[Fault, ...]) -> Newest:
    """See what can be brought; a snapshot that no remote took counts unless another machine went on since.

    A remote that takes no lease may be no remote: an absent folder looks empty.
    """
    context.listener.progress("fetch", 0, 0)
    remote = newest((it.place for it in targets_of(pipeline, context)), context)
    here = kept_folder(folder)
    kept = newest((FolderPlace(here),) if here.exists() else (), context)
    for fault in (*remote.passed_over, *remote.unreachable):
        context.listener.warn("fetch", str(fault))
    for one in kept.candidates:
        if remote.name is not None and one.known.name.sequence <= remote.name.sequence:
            context.listener.note("fetch", f"{one.known.name} in {one.place.label} is not newer than {remote.name}")
    newer = tuple(it for it in kept.candidates if remote.name is None or it.known.name.sequence > remote.name.sequence)
    return Newest((*newer, *remote.candidates), remote.passed_over, (*remote.unreachable, *without))


def _resumed(
    record: Attachment | None, found: Newest, folder: Path, at: Path, wanted: Wanted, context: Context
) -> Attached | None:
    """Go on with what lies on this machine, where nobody else went on since; None where nothing does."""
    layers = layers_of(folder, at)
    if record is None or not record.whole:
        if layers.mounted and record is None:
            raise Fault(HOME_OCCUPIED, "something is mounted there, and not by this pipeline", where=str(at))
        return None
    if record.at != at:
        raise Fault(HOME_OCCUPIED, f"this pipeline's home was brought to {record.at} before", where=str(at))
    if record.way in ("overlay", "fuse"):
        if not layers.mounted and not layers.image.is_file():
            return None
    elif not occupied(at):
        return None
    wanted.settled()
    if not layers.mounted:
        _require_alone(found, context, layers.folder if record.way in ("overlay", "fuse") else at, wanted)
        if record.way in ("overlay", "fuse"):
            layers.mount("overlay" if record.way == "overlay" else "fuse")
    base = SnapshotName.parse(record.snapshot) if record.snapshot else None
    return Attached(at, record.way, base, resumed=True)


def _require_alone(found: Newest, context: Context, where: Path, wanted: Wanted) -> None:
    last = context.ledger.last()
    if wanted.keep_home or found.name is None or (last is not None and found.name <= last.manifest.name):
        return
    what = f"what was written here after {last.manifest.name if last else 'its beginning'} is in no snapshot, and "
    raise Fault(HOME_DIVERGED, f"{what}another machine went on to {found.name}", where=str(where))


def _begun(found: Newest, folder: Path, at: Path, wanted: Wanted, context: Context, pipeline: Pipeline) -> Attached:
    record = attachment(folder)
    if record is not None and not record.whole and record.at == at:
        clear(at)
    forget(folder)
    remove(folder / "layers")
    if occupied(at):
        if found.name is not None and not wanted.keep_home:
            raise Fault(HOME_OCCUPIED, f"a home lies there already, and {found.name} is to be brought", where=str(at))
        return _done(folder, Attachment(at=at, way="kept"), wanted)
    if not found.candidates:
        return _empty(found, folder, at, wanted, context)
    way, name = Laying(pipeline, context, folder, at, wanted.settled).newest(found.candidates, wanted.way)
    return Attached(at, way, name, resumed=False)


def _empty(found: Newest, folder: Path, at: Path, wanted: Wanted, context: Context) -> Attached:
    if not wanted.start_empty:
        for fault in (*found.passed_over, *found.unreachable):
            raise Fault(fault.kind, fault.what, where=fault.where, mend=f"{fault.mend} {_EMPTY}")
    context.listener.note("fetch", "no place holds a snapshot of this home: it begins empty")
    at.mkdir(parents=True, exist_ok=True, mode=0o700)
    return _done(folder, Attachment(at=at, way="empty"), wanted)


def _done(folder: Path, record: Attachment, wanted: Wanted) -> Attached:
    wanted.settled()
    remember(folder, record)
    return Attached(record.at, record.way, None, resumed=False)
