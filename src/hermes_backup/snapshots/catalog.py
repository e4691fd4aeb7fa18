"""What lies in a place: snapshots finished and not, their manifests, and whether they follow each other."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal

from hermes_backup.errors import DATA_DAMAGED, MANIFEST_BAD, SNAPSHOT_MISSING, SNAPSHOT_UNREADABLE, Fault
from hermes_backup.snapshots.manifest import LONGEST_MANIFEST, Manifest, check_belongs, from_json
from hermes_backup.snapshots.moments import moment
from hermes_backup.snapshots.names import (
    ENCRYPTED,
    RESTORE_TEXT,
    Role,
    SnapshotName,
    folder_of,
    is_delta,
    manifest_name,
    parse_file,
    role_of,
)
from hermes_backup.streams.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hermes_backup.snapshots.place import Place, StoredFile
    from hermes_backup.snapshots.signing import Pinned

LATEST = "latest"
_NEAREST = 3
State = Literal["complete", "incomplete", "broken"]


@dataclass(frozen=True)
class Listed:
    """A snapshot as the listing of a place shows it: a name and its files."""

    name: SnapshotName
    files: tuple[StoredFile, ...]

    @property
    def size(self) -> int:
        """The bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def state(self) -> State:
        """``incomplete``: no manifest, so never finished; ``broken``: a manifest without any data file.

        Which file is the data is for the signed manifest to say: anyone who can write may put another beside it.
        """
        if self.file("manifest") is None:
            return "incomplete"
        return "complete" if self._of("data") else "broken"

    @property
    def complete(self) -> bool:
        """Whether manifest and data are there."""
        return self.state == "complete"

    @property
    def finished(self) -> bool:
        """Whether a manifest is there, which is written last; the data may be gone since."""
        return self.state != "incomplete"

    @property
    def suffix(self) -> str:
        """The suffix of the data, such as ``.tar.zst.gpg``; empty when there is none."""
        data = self.file("data")
        return data.name[len(str(self.name)) :] if data else ""

    @property
    def delta(self) -> bool:
        """Whether its data lies here under the name of what changed since another one."""
        return any(is_delta(file.name) for file in self._of("data"))

    @property
    def encrypted(self) -> bool:
        """Whether no data lies here under the name of what nobody encrypted."""
        return all(file.name.endswith(ENCRYPTED) for file in self._of("data"))

    def file(self, role: Role) -> StoredFile | None:
        """Return its file of this role."""
        return next(iter(self._of(role)), None)

    def _of(self, role: Role) -> tuple[StoredFile, ...]:
        stem = len(str(self.name))
        return tuple(file for file in self.files if role_of(file.name[stem:]) == role)


@dataclass(frozen=True)
class Catalog:
    """The snapshots of one pipeline in one place, oldest first, and the files there that are not ours."""

    listed: tuple[Listed, ...]
    foreign: tuple[StoredFile, ...]


@dataclass(frozen=True)
class Known:
    """A snapshot whose manifest is signed by the pinned key and agrees with name and listing."""

    listed: Listed
    manifest: Manifest
    manifest_sha256: str

    @property
    def name(self) -> SnapshotName:
        """The snapshot's name."""
        return self.listed.name

    @property
    def base(self) -> SnapshotName | None:
        """What it was made against, as a delta."""
        return None if self.manifest.base is None else SnapshotName.parse(self.manifest.base)


@dataclass(frozen=True)
class ChainProblem:
    """Something odd in the order of snapshots; what is not ``grave`` is a warning."""

    text: str
    grave: bool = True

    def __str__(self) -> str:
        return self.text


def read_catalog(place: Place, host: str, pipeline: str) -> Catalog:
    """Return what lies in a place for a pipeline of a host.

    Raises:
        Fault: REMOTE_UNREACHABLE, STAGE_FAILED, CONFIG_INVALID for names that cannot be folders.
    """
    return arrange(place.list(folder_of(host, pipeline)))


def arrange(files: Iterable[StoredFile]) -> Catalog:
    """Return the catalog of a folder's files: ours by snapshot, the others as they are."""
    ours: dict[SnapshotName, list[StoredFile]] = {}
    foreign: list[StoredFile] = []
    for file in files:
        parsed = parse_file(file.name)
        if parsed:
            ours.setdefault(parsed[0], []).append(file)
        elif file.name != RESTORE_TEXT:
            foreign.append(file)
    return Catalog(tuple(Listed(name, tuple(ours[name])) for name in sorted(ours)), tuple(foreign))


def load_manifests(
    place: Place, host: str, pipeline: str, listed: Sequence[Listed], pinned: Pinned
) -> tuple[Known | Fault, ...]:
    """Return for each listed snapshot, in the same order, what is known of it, or the Fault that keeps it unknown.

    Such a Fault is SNAPSHOT_UNREADABLE, SIGNATURE_BAD, MANIFEST_BAD or DATA_DAMAGED and names the snapshot.

    Raises:
        Fault: REMOTE_UNREACHABLE, REMOTE_REFUSED, DISK_FULL: no manifest could be fetched.
    """
    signed = [one.name for one in listed if (file := one.file("manifest")) and file.size <= LONGEST_MANIFEST]
    with scratch() as target:
        unread = place.fetch_many(folder_of(host, pipeline), [manifest_name(name) for name in signed], target)
        contents = {name: (target / manifest_name(name)) for name in signed}
        read = {name: path.read_bytes() for name, path in contents.items() if path.exists()}
    texts = pinned.read_all(list(read.values()), [str(name) for name in read])
    read_texts = dict(zip(read, texts, strict=True))
    loaded: list[Known | Fault] = []
    for one in listed:
        text, refused = read_texts.get(one.name), unread.get(manifest_name(one.name))
        if refused is not None:
            loaded.append(Fault(SNAPSHOT_UNREADABLE, f"its manifest is not given: {refused.what}", where=str(one.name)))
        elif text is None:
            what = "it has no manifest that could be read: it was never finished"
            loaded.append(Fault(MANIFEST_BAD, what, where=str(one.name)))
        elif isinstance(text, Fault):
            loaded.append(text)
        else:
            loaded.append(_known(one, text, read[one.name], host, pipeline))
    return tuple(loaded)


def check_chain(knowns: Iterable[Known]) -> tuple[ChainProblem, ...]:
    """Return what is wrong with the order of snapshots.

    Neighbours in sequence are linked by the hash of the older one's manifest. Gaps are normal, because of
    retention; a time before its predecessor's is a warning, because clocks are set.
    """
    ordered = sorted(knowns, key=lambda known: known.name)
    problems: list[ChainProblem] = []
    for older, newer in itertools.pairwise(ordered):
        step = newer.name.sequence - older.name.sequence
        if step == 0:
            problems.append(ChainProblem(f"{older.name} and {newer.name} have the same sequence number"))
        elif step == 1 and newer.manifest.previous != older.manifest_sha256:
            problems.append(ChainProblem(f"{newer.name} does not name {older.name} as its predecessor"))
        if step and newer.name.time < older.name.time:
            problems.append(ChainProblem(f"{newer.name} was begun before {older.name}", grave=False))
    return tuple(problems)


def find(listed: Sequence[Listed], wanted: str) -> Listed:
    """Return the finished snapshot that is wanted: ``latest``, a sequence number, a full name, or a time.

    For a time (:mod:`hermes_backup.snapshots.moments`) that is the newest at or before it.

    Raises:
        Fault: SNAPSHOT_MISSING, with the nearest that there are.
    """
    complete = [one for one in listed if one.complete]
    several = candidates(listed, wanted)
    if several:
        return several[0]
    if several is not None and complete:
        oldest = min(complete, key=lambda one: one.name)
        raise Fault(SNAPSHOT_MISSING, f"there is no snapshot of {wanted} or before; the oldest is {oldest.name}")
    number = int(wanted) if wanted.isascii() and wanted.isdigit() else None
    matching = [one for one in listed if str(one.name) == wanted or one.name.sequence == number]
    match [one for one in matching if one.complete]:
        case [one]:
            return one
        case [_, *_]:
            what = f"several snapshots have the number {wanted}: {_names(matching)}"
        case _ if matching:
            what = f"snapshot {_names(matching)} is {matching[0].state}"
        case _:
            what = f"there is no snapshot {wanted[:60]!r}"
    near = sorted(_nearest(complete, number, wanted), key=lambda one: one.name)
    raise Fault(SNAPSHOT_MISSING, f"{what}; {f'nearest: {_names(near)}' if near else 'there is none at all'}")


def candidates(listed: Sequence[Listed], wanted: str) -> Sequence[Listed] | None:
    """Return the snapshots that ``latest`` or a time can mean, the newest first; None for a name or number.

    One with a manifest and without data is among them: it was finished, and what is missing is for others to tell.
    """
    until = moment(wanted, datetime.now(timezone.utc))
    if wanted != LATEST and until is None:
        return None
    there = (one for one in listed if one.finished and (until is None or one.name.time <= until))
    return sorted(there, key=lambda one: one.name, reverse=True)


def _known(one: Listed, text: str, content: bytes, host: str, pipeline: str) -> Known | Fault:
    try:
        manifest = from_json(text)
        check_belongs(manifest, host, pipeline, one.name)
        _check_sizes(manifest, one)
    except Fault as fault:
        return Fault(fault.kind, fault.what, where=str(one.name))
    return Known(one, manifest, hashlib.sha256(content).hexdigest())


def _check_sizes(manifest: Manifest, one: Listed) -> None:
    sizes = {file.name: file.size for file in one.files}
    for part in manifest.parts:
        if part.name not in sizes:
            raise Fault(DATA_DAMAGED, f"{part.name} is not there")
        if sizes[part.name] != part.size:
            raise Fault(DATA_DAMAGED, f"{part.name} has {sizes[part.name]} bytes of {part.size}")


def _nearest(complete: Sequence[Listed], number: int | None, wanted: str) -> list[Listed]:
    if number is None:
        prefix = wanted.partition("-")[0]
        number = int(prefix) if prefix.isascii() and prefix.isdigit() else None
    if number is None:
        return sorted(complete, key=lambda one: one.name)[-_NEAREST:]
    return sorted(complete, key=lambda one: abs(one.name.sequence - number))[:_NEAREST]


def _names(listed: Iterable[Listed]) -> str:
    return ", ".join(str(one.name) for one in listed)
