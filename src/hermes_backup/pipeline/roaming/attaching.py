"""The newest snapshot of a home made the home again, on a machine that comes and goes: fetch, decrypt, check, mount."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from hermes_backup.errors import (
    HOME_DIVERGED,
    HOME_OCCUPIED,
    HOME_OWNER,
    INTERRUPTED,
    SNAPSHOT_MISSING,
    Fault,
    from_system,
)
from hermes_backup.home.layers import Layers
from hermes_backup.home.mountpoint import Mountpoint, mountpoint
from hermes_backup.home.occupants import require_unused
from hermes_backup.home.owners import Owner
from hermes_backup.home.printable import printable
from hermes_backup.home.written import written_since
from hermes_backup.pipeline.apart import require_apart
from hermes_backup.pipeline.config import HostConfig, pipeline_of
from hermes_backup.pipeline.executor import Follower
from hermes_backup.pipeline.homes import declared_home, declared_owner, saved_home
from hermes_backup.pipeline.hosts import state_folder
from hermes_backup.pipeline.interruption import interruptible
from hermes_backup.pipeline.lock import locked
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.preparing import pipeline_folder, prepared, private
from hermes_backup.pipeline.roaming import leasing
from hermes_backup.pipeline.roaming.attachment import (
    Attachment,
    Way,
    attachment,
    forget,
    kept_folder,
    layers_of,
    remember,
)
from hermes_backup.pipeline.roaming.keeping import push_kept
from hermes_backup.pipeline.roaming.laying import Laying, clear, occupied
from hermes_backup.pipeline.roaming.newest import Newest, is_newer, newest, targets_of
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.latest import Sighting
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.stages.context import Context
from hermes_backup.streams.directory import user_name
from hermes_backup.streams.folders import remove
from hermes_backup.streams.ownership import require_own

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
        beside: another process may have the home open already: only snapshots are taken of it.
    """

    way: Literal["auto", "overlay", "fuse", "unpack"] = "auto"
    lease: float = 300.0
    start_empty: bool = False
    keep_home: bool = False
    settled: Callable[[], None] = lambda: None
    beside: bool = False


@dataclass(frozen=True)
class Attached:
    """A home that is there.

    Attributes:
        resumed: with what was written to it before, on this machine.
        passed: why it is not brought from a newer snapshot, for each that is damaged.
    """

    at: Path
    way: Way
    snapshot: SnapshotName | None
    resumed: bool
    passed: tuple[str, ...] = ()


def attach(config: HostConfig, name: str, wanted: Wanted, follower: Follower) -> Attached:
    """Bring the home of a pipeline to where it is declared, and take the lease on it.

    Raises:
        Fault: HOME_IN_USE, HOME_OCCUPIED, HOME_DIVERGED, LEASE_HELD, REMOTE_UNREACHABLE, LOCKED; why no snapshot can be
            believed, decrypted or shown; INTERRUPTED. No home is there then that was not there before.
    """
    with (
        _run(config, name, follower) as (pipeline, folder, context),
        mountpoint(declared_home(config).absolute()) as point,
    ):
        owner = declared_owner(config)
        if not wanted.beside:
            require_unused(point.at)
        with leasing.held(pipeline, context, folder, wanted.lease) as without:
            found = _look(pipeline, context, folder, without)
            record = attachment(folder)
            _require_owner(point, owner)
            attached = _resumed(record, found, folder, point, wanted, context)
            if attached is None:
                attached = _begun(record, found, folder, point, wanted, context, pipeline)
            point.give(owner)
            # also where the newest is damaged: its number is taken
            context.ledger.go_on([(it.known.manifest, it.known.manifest_sha256) for it in found.candidates])
            push_kept(pipeline, context, folder)
            return attached


def detach(config: HostConfig, name: str, *, saved: datetime | None, follower: Follower) -> bool:
    """Take the home away where it was mounted, and give the lease back; return False where it was written too late.

    ``saved``: a snapshot holds everything that was written before this moment, so what lies on this machine goes,
    unless something was written since.

    Raises:
        Fault: STAGE_FAILED when somebody stands in the home, LOCKED.
    """
    with _run(config, name, follower) as (pipeline, folder, context):
        record = attachment(folder)
        in_time = True
        if record is not None:
            with mountpoint(record.at) as point:
                in_time = _left(record, point, folder, saved, context)
        leasing.release(pipeline, context, folder)
        return in_time


def _left(record: Attachment, point: Mountpoint, folder: Path, saved: datetime | None, context: Context) -> bool:
    """Take layers away; a plain folder stays, and whether it is saved is remembered. False for a late write."""
    layers = layers_of(folder, point)
    there = layers.mounted if record.layered else occupied(point)
    if record.layered:
        layers.unmount()
    if saved is None or not there:
        return True
    late = written_since(layers.upper, saved) if record.layered else _written(point, saved)
    if late is not None:
        where = layers.upper if record.layered else record.at
        what = f"{printable(str(late))} was written while the last snapshot was made, and may be in none"
        context.listener.warn(_STAGE, f"{what}: it stays in {where}, and the next start here goes on with it")
    elif record.layered:
        remove(layers.folder)
        forget(folder)
    else:
        remember(folder, record.model_copy(update={"saved": saved}))
    return late is None


def _written(point: Mountpoint, moment: datetime) -> Path | None:
    with point.open() as home:
        return written_since(home.path, moment)


def _require_owner(point: Mountpoint, owner: Owner | None) -> None:
    """Make sure that what lies there is the owner's, or root's: a home that was not yet brought may be.

    Raises:
        Fault: HOME_OWNER, HOME_LINK.
    """
    with suppress(FileNotFoundError), point.open() as home:
        uid = home.status().st_uid
        if owner is not None and uid not in (owner.uid, 0):
            what = f"it belongs to {user_name(uid)}, and hermes_backup_owner declares {user_name(owner.uid)}"
            raise Fault(HOME_OWNER, what, where=printable(str(point.at)))


@contextmanager
def _run(config: HostConfig, name: str, follower: Follower) -> Iterator[tuple[Pipeline, Path, Context]]:
    pipeline = pipeline_of(config, name)
    require_apart(declared_home(config).absolute(), state_folder(config), pipeline.stages)
    folder = private(pipeline_folder(config, name))
    require_own(folder, "state")
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
    for fault in remote.latest.passed:
        context.listener.warn("fetch", f"{fault}: newer than what can be brought, and passed over")
    for fault in (*((remote.latest.stop,) if remote.latest.stop else ()), *remote.unreachable):
        context.listener.warn("fetch", f"{fault}; what is newer there is not known")
    for one in kept.candidates:
        if remote.name is not None and not one.known.name.sequence > remote.name.sequence:
            context.listener.note("fetch", f"{one.known.name} in {one.place.label} is not newer than {remote.name}")
    newer = tuple(it for it in kept.candidates if remote.name is None or it.known.name.sequence > remote.name.sequence)
    seen = tuple(Sighting(it.known.name, it.place.label) for it in newer)
    return Newest((*newer, *remote.candidates), (*seen, *remote.sightings), (*remote.unreachable, *without))


def _resumed(
    record: Attachment | None, found: Newest, folder: Path, point: Mountpoint, wanted: Wanted, context: Context
) -> Attached | None:
    """Go on with what lies on this machine, where nobody else went on since; None where nothing does."""
    layers = layers_of(folder, point)
    if record is None or not record.whole or not _lies_there(record, layers, point):
        return None
    if _given_way(record, found, point, wanted, context):
        return None
    wanted.settled()
    if not record.layered:
        remember(folder, record.model_copy(update={"saved": None}))
    if not layers.mounted:
        _require_alone(record, found, context, layers.folder if record.layered else point.at, wanted)
        if record.layered:
            layers.mount("overlay" if record.way == "overlay" else "fuse")
    base = SnapshotName.parse(record.snapshot) if record.snapshot else None
    return Attached(point.at, record.way, base, resumed=True)


def _lies_there(record: Attachment, layers: Layers, point: Mountpoint) -> bool:
    """Say whether the home of a record is still there, mounted or not."""
    where = str(point.at)
    if record.at != point.at:
        raise Fault(HOME_OCCUPIED, f"this pipeline's home was brought to {record.at} before", where=where)
    if record.layered:
        return layers.mounted or (layers.image.is_file() and layers.upper.is_dir())
    there = occupied(point)
    if there and record.inode != _inode(point):
        raise Fault(HOME_OCCUPIED, "another folder lies there than this machine's home", where=where)
    return there


def _inode(point: Mountpoint) -> int:
    with point.open() as home:
        return home.status().st_ino


def _given_way(record: Attachment, found: Newest, point: Mountpoint, wanted: Wanted, context: Context) -> bool:
    """Move a folder aside that is in a snapshot as it lies there, where another machine went on with the home."""
    base = _base(record, context)
    if record.saved is None or wanted.keep_home or found.highest is None or not is_newer(found.highest, base):
        return False
    if point.mounted() is not None or _written(point, record.saved) is not None:
        return False
    if found.latest.stop is not None:  # nothing is moved for what cannot be brought
        raise found.latest.stop
    context.listener.note(_STAGE, f"the home as it was here, which is saved, lies in {point.set_aside()}")
    return True


def _base(record: Attachment, context: Context) -> SnapshotName | None:
    """Return the newest snapshot that what lies here began with, or that was made of it."""
    last = context.ledger.last()
    own = {last.manifest.name} if last is not None else set()
    own |= {SnapshotName.parse(record.snapshot)} if record.snapshot else set()
    return max(own, default=None)


def _require_alone(record: Attachment, found: Newest, context: Context, where: Path, wanted: Wanted) -> None:
    base = _base(record, context)
    if wanted.keep_home or found.highest is None or not is_newer(found.highest, base):
        return
    what = f"what was written here after {base or 'its beginning'} is in no snapshot, and "
    raise Fault(HOME_DIVERGED, f"{what}another machine went on to {found.highest}", where=str(where))


def _begun(
    record: Attachment | None,
    found: Newest,
    folder: Path,
    point: Mountpoint,
    wanted: Wanted,
    context: Context,
    pipeline: Pipeline,
) -> Attached:
    at = point.at
    if record is not None and not record.whole and record.at == at and not wanted.keep_home:
        clear(point)
    aside = layers_of(folder, point).discard()
    if aside is not None:
        context.listener.warn(_STAGE, f"what was written here before lies in {aside}")
    forget(folder)
    if occupied(point):
        if not (wanted.keep_home or _is_own(at, found, folder, context)):
            _require_asked(found)
            if found.name is not None:
                what = f"a home lies there already, and {found.name} is to be brought"
                raise Fault(HOME_OCCUPIED, what, where=str(at))
        return _done(folder, point, "kept", wanted)
    if not found.candidates or found.latest.stop is not None:
        return _empty(found, folder, point, wanted, context)
    laid = Laying(pipeline, context, folder, point, wanted.settled, wanted.lease).newest(found.candidates, wanted.way)
    passed = (*map(str, found.latest.passed), *laid.damaged)
    return Attached(at, laid.way, laid.snapshot, resumed=False, passed=passed)


def _is_own(at: Path, found: Newest, folder: Path, context: Context) -> bool:
    """Say whether what lies there is the home that this machine made the newest snapshot of."""
    last = context.ledger.last()
    return last is not None and last.manifest.name == found.name == found.highest and saved_home(folder) == at


def _empty(found: Newest, folder: Path, point: Mountpoint, wanted: Wanted, context: Context) -> Attached:
    if not wanted.start_empty:
        _require_asked(found)
        last = context.ledger.last()
        if last is not None:
            what = f"no place holds a snapshot, and this machine made {last.manifest.name}"
            raise Fault(SNAPSHOT_MISSING, what, mend=f"Look whether the remotes are the right ones. {_EMPTY}")
    context.listener.note("fetch", "no place holds a snapshot of this home: it begins empty")
    return _done(folder, point, "empty", wanted)


def _require_asked(found: Newest) -> None:
    """Nothing follows from an answer that was not given, or cannot be believed."""
    for fault in found.doubts:
        mend = fault.mend if found.sightings else f"{fault.mend} {_EMPTY}"
        raise Fault(fault.kind, fault.what, where=fault.where, mend=mend)


def _done(folder: Path, point: Mountpoint, way: Way, wanted: Wanted) -> Attached:
    with point.made() as home:
        inode = home.status().st_ino
    wanted.settled()
    remember(folder, Attachment(at=point.at, way=way, inode=inode, lease=wanted.lease))
    return Attached(point.at, way, None, resumed=False)
