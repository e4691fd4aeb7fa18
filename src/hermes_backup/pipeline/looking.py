"""Lists of files of several snapshots, read together: nothing decrypted touches a disk, and no data is fetched.

Each place is listed once, and gives all manifests in one call and all lists in another.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.errors import DATA_DAMAGED, INTERRUPTED, MANIFEST_BAD, SNAPSHOT_MISSING, SNAPSHOT_UNREADABLE, Fault
from hermes_backup.pipeline.choosing import Chosen, Seen, choose_among, newest, shown_by
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.executor import Follower
from hermes_backup.pipeline.interruption import stoppable
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.places import catalogs
from hermes_backup.pipeline.unpacking import Source
from hermes_backup.snapshots.catalog import Known, Listed, load_manifests
from hermes_backup.snapshots.differences import plain
from hermes_backup.snapshots.index import Lines, from_bytes, require_bounded
from hermes_backup.snapshots.manifest import Manifest, Part
from hermes_backup.snapshots.names import SnapshotName, folder_of
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.streams import scratch
from hermes_backup.streams.coder import Chunks
from hermes_backup.streams.members import Member

_AHEAD = 4  # gpg needs 30 ms before it reads: while one list is read, others start


@dataclass(frozen=True)
class Look:
    """What one snapshot holds, by its signed manifest and its list of files, and where it lies.

    ``members`` are sorted by name; hard links stand as the files that they are.
    """

    place: Place
    listed: Listed
    manifest: Manifest
    members: tuple[Member, ...]

    @property
    def name(self) -> SnapshotName:
        """The snapshot's name."""
        return self.listed.name

    def member(self, name: bytes) -> Member | None:
        """Find an entry by its path."""
        at = bisect_left(self.members, name, key=lambda it: it.name)
        return self.members[at] if at < len(self.members) and self.members[at].name == name else None


@dataclass(frozen=True)
class Everything:
    """All snapshots that could be read, oldest first, and why others could not."""

    looks: tuple[Look, ...]
    faults: tuple[Fault, ...]


class Shelf:
    """The snapshots of a host's pipeline, in places that are listed once, with manifests that are proven once."""

    def __init__(self, config: HostConfig, pipeline: Pipeline, pinned: Pinned, source: str = "") -> None:
        self.config = config
        self.pipeline = pipeline
        self.pinned = pinned
        self._seen: tuple[Seen, ...] = tuple(catalogs(config, pipeline, source))
        self._lines = Lines()
        self._known: dict[tuple[str, SnapshotName], Known | Fault] = {}

    def choose(self, wanted: str, follower: Follower) -> Chosen:
        """Find a snapshot, as :func:`hermes_backup.pipeline.choosing.choose`.

        Raises:
            Fault: SNAPSHOT_MISSING, why the newest cannot be restored, or why no place could be looked into.
        """
        return choose_among(self._seen, self.pipeline.name, wanted, self._load, follower)

    def before(self, name: SnapshotName, follower: Follower) -> Chosen:
        """Find the newest proven snapshot before another; those that are passed over are told.

        Raises:
            Fault: SNAPSHOT_MISSING, REMOTE_UNREACHABLE.
        """
        shown = []
        for place, listed in self._finished():
            older = sorted((it for it in listed if it.name < name), key=lambda it: it.name, reverse=True)
            shown.append(shown_by(place, older, listed, self._load))
        chosen = newest(shown, follower, strict=False)
        if chosen is None:
            raise Fault(SNAPSHOT_MISSING, f"there is no snapshot before {name} to compare it with")
        return chosen

    def source(self, look: Look) -> Source:
        """Say how the data of a snapshot is opened."""
        return Source(self.config, self.pipeline, (look.place, look.listed), self.pinned)

    def look(self, chosen: Sequence[Chosen], follower: Follower) -> tuple[Look, ...]:
        """Read the lists of these snapshots, in this order.

        Raises:
            Fault: why one cannot be trusted or decrypted; INTERRUPTED.
        """
        by_place: dict[str, tuple[Place, list[Listed]]] = {}
        for place, listed in chosen:
            by_place.setdefault(place.label, (place, []))[1].append(listed)
        found: dict[SnapshotName, Look] = {}
        for place, some in by_place.values():
            for name, look in self._read(place, some, follower).items():
                if isinstance(look, Fault):
                    raise look
                found[name] = look
        return tuple(found[listed.name] for _, listed in chosen)

    def everything(self, follower: Follower) -> Everything:
        """Read every finished snapshot, each from the first place that has it whole.

        Raises:
            Fault: INTERRUPTED; whatever else is wrong with a place or a snapshot is among the faults.
        """
        found: dict[SnapshotName, Look] = {}
        failed: dict[SnapshotName, Fault] = {}
        unseen = [Fault(it.kind, it.what, where=place.label) for place, it in self._seen if isinstance(it, Fault)]
        for place, listed in self._finished():
            try:
                read = self._read(place, [it for it in listed if it.name not in found], follower)
            except Fault as fault:
                if fault.kind is INTERRUPTED:
                    raise
                unseen.append(Fault(fault.kind, fault.what, where=place.label, mend=fault.mend))
                continue
            for name, look in read.items():
                if isinstance(look, Look):
                    found[name] = look
                else:
                    failed.setdefault(name, look)
        unread = [failed[name] for name in sorted(failed.keys() - found.keys())]
        return Everything(tuple(found[name] for name in sorted(found)), (*unseen, *unread))

    def _finished(self) -> Iterator[tuple[Place, list[Listed]]]:
        for place, catalog in self._seen:
            if not isinstance(catalog, Fault):
                yield place, [it for it in catalog.listed if it.finished]

    def _read(self, place: Place, listed: Sequence[Listed], follower: Follower) -> dict[SnapshotName, Look | Fault]:
        if not listed:
            return {}
        read: dict[SnapshotName, Look | Fault] = {}
        begun: deque[tuple[Known, Chunks]] = deque()
        with stoppable("list of files"), scratch.scratch() as folder:
            loaded = [_bounded(it) for it in self._load(place, listed)]
            parts = [it.manifest.index for it in loaded if isinstance(it, Known) and it.manifest.index]
            names = [it.name for it in parts]
            refused = place.fetch_many(folder_of(self.config.host, self.pipeline.name), names, folder)
            # what opens one list opens all: keys and passphrase are the pipeline's
            source = Source(self.config, self.pipeline, (place, listed[0]), self.pinned)
            context = source.context(folder, follower)
            for one, known in zip(listed, loaded, strict=True):
                try:
                    if isinstance(known, Fault):
                        raise known
                    begun.append((known, source.decrypt.begin(known.manifest, _index(known, folder, refused), context)))
                except Fault as fault:
                    read[one.name] = _placed(fault, place, one.name)
                if len(begun) >= _AHEAD:
                    self._finish(place, begun.popleft(), read)
            while begun:
                self._finish(place, begun.popleft(), read)
        return read

    def _load(self, place: Place, listed: Sequence[Listed]) -> Sequence[Known | Fault]:
        """Load manifests, each once."""
        host, pipeline = self.config.host, self.pipeline.name
        new = [it for it in listed if (place.label, it.name) not in self._known]
        for it, known in zip(new, load_manifests(place, host, pipeline, new, self.pinned) if new else (), strict=True):
            self._known[place.label, it.name] = known
        return [self._known[place.label, it.name] for it in listed]

    def _finish(self, place: Place, begun: tuple[Known, Chunks], read: dict[SnapshotName, Look | Fault]) -> None:
        known, chunks = begun
        try:
            members = plain(from_bytes(b"".join(chunks), self._lines), self._lines)
        except Fault as fault:
            read[known.name] = _placed(fault, place, known.name)
        else:
            read[known.name] = Look(place, known.listed, known.manifest, members)


def _placed(fault: Fault, place: Place, name: SnapshotName) -> Fault:
    return Fault(fault.kind, fault.what, where=f"{place.label}: {name}", mend=fault.mend)


def _bounded(known: Known | Fault) -> Known | Fault:
    """Fetch no list that is too large to be read."""
    try:
        if isinstance(known, Known) and known.manifest.index is not None:
            require_bounded(known.manifest.index)
    except Fault as fault:
        return fault
    return known


def _index(known: Known, folder: Path, refused: Mapping[str, Fault]) -> Part:
    part = known.manifest.index
    if part is None:
        raise Fault(MANIFEST_BAD, "it has no list of files")
    if part.name in refused:
        raise Fault(SNAPSHOT_UNREADABLE, f"its list of files is not given: {refused[part.name].what}")
    if not (folder / part.name).exists():
        raise Fault(DATA_DAMAGED, f"{part.name} is not there any more")
    return part
