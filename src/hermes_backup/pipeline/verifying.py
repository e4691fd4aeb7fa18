"""Verification without any private key: signature, chain, size, hash, and the packets that gpg wrapped the data in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from hermes_backup.errors import CHAIN_BROKEN, DATA_DAMAGED, ROLLBACK, Fault
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.rollback import Record, rolled_back
from hermes_backup.pipeline.surveying import unexplained
from hermes_backup.snapshots.catalog import Catalog, Known, Listed, check_chain, find, load_manifests
from hermes_backup.snapshots.founding import unfounded
from hermes_backup.snapshots.leftovers import leftovers, may_be_under_way
from hermes_backup.snapshots.manifest import Manifest, Part
from hermes_backup.snapshots.names import SnapshotName, folder_of
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.proving import matching
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.stages.prune import rules_of
from hermes_backup.streams.packets import Packets, inspect

_LEFT = "is left of a run that was killed; prune removes its files once they are a day old"
_LEFT_WITHOUT_PRUNE = "is left of a run that was killed; you can delete its files"
_UNDER_WAY = "is not finished yet: its push may be under way"

_GAPS = "{} of the newest snapshots are gone, or never came here; no rule of prune explains it"


@dataclass(frozen=True)
class Verdict:
    """What is known of one snapshot in one place; without a fault it is proven as far as no private key is needed."""

    place: str
    name: SnapshotName
    size: int
    encrypted: bool
    fault: Fault | None = None


@dataclass(frozen=True)
class Verified:
    """A place that was verified: a verdict for each snapshot, and what is odd about their order."""

    place: str
    verdicts: tuple[Verdict, ...]
    chain: tuple[Fault, ...]
    warnings: tuple[str, ...]
    foreign: int


def verify(
    config: HostConfig,
    pipeline: Pipeline,
    place: Place,
    catalog: Catalog,
    pinned: Pinned,
    *,
    wanted: str = "",
    records: Sequence[Record] = (),
    progress: Callable[[str, int, int], None],
) -> Verified:
    """Verify one snapshot, and what it needs as a delta, or all of a place: every byte is read.

    What is not finished is a warning where a push may be at it, or where the chain shows that its run was killed.
    ``records`` tell what was there before; they count where all of the place is verified.

    Raises:
        Fault: SNAPSHOT_MISSING, REMOTE_UNREACHABLE.
    """

    def load(listed: Sequence[Listed]) -> tuple[Known | Fault, ...]:
        return load_manifests(place, config.host, pipeline.name, listed, pinned)

    listed: Sequence[Listed] = [find(catalog.listed, wanted)] if wanted else catalog.listed
    loaded = load(listed)
    while bases := [it for it in catalog.listed if it.name in _bases(loaded) - {one.name for one in listed}]:
        listed, loaded = [*bases, *listed], (*load(bases), *loaded)
    known = [it for it in loaded if isinstance(it, Known)]
    finished = {it.name for it in records}  # before: then nobody is at it any more
    unfinished = {name: said for name, said in _unfinished(listed, known, pipeline).items() if name not in finished}
    seen: dict[SnapshotName, Known | Fault] = {}
    verdicts = []
    for one, it in zip(listed, loaded, strict=True):  # a base is older than its deltas
        if one.name in unfinished:
            continue
        fault = it if isinstance(it, Fault) else _bytes(place, config.host, pipeline.name, it, progress)
        if fault is None and isinstance(it, Known):
            fault = unfounded(it, seen)
        # a delta is no base, whatever else is wrong with it
        seen[one.name] = it if isinstance(it, Known) and it.base else fault or it
        verdicts.append(Verdict(place.label, one.name, one.size, one.encrypted, fault))
    problems = check_chain(known)
    grave = tuple(Fault(CHAIN_BROKEN, it.text, where=place.label) for it in problems if it.grave)
    warnings = tuple(it.text for it in problems if not it.grave)
    if not wanted:
        proven = sorted(known, key=lambda it: it.name)
        lost = _lost(place, catalog, proven, [it for it in records if it.name not in unfinished])
        grave += (lost,) if lost else ()
        # beside one that is not known, a gap says nothing
        gone = unexplained(proven, rules_of(pipeline.stages)) if len(proven) == len(listed) else 0
        warnings += (_GAPS.format(gone),) if gone else ()
    warnings += tuple(f"{name} {said}" for name, said in sorted(unfinished.items()))
    return Verified(place.label, tuple(verdicts), grave, warnings, len(catalog.foreign))


def behind(verified: Sequence[Verified]) -> tuple[Fault, ...]:
    """Compare the places of one pipeline: each should hold the newest proven snapshot that any of them holds."""
    newest = [max((it.name for it in one.verdicts if it.fault is None), default=None) for one in verified]
    best = max((it for it in newest if it is not None), default=None)
    return tuple(
        Fault(ROLLBACK, f"it lacks {best}, which another place holds", where=one.place)
        for one, name in zip(verified, newest, strict=True)
        if best is not None and name != best
    )


def _unfinished(listed: Sequence[Listed], known: Sequence[Known], pipeline: Pipeline) -> dict[SnapshotName, str]:
    """Return what is to be said of the snapshots that are not finished, where that is no fault."""
    now = datetime.now(timezone.utc)
    incomplete = [one.name for one in listed if one.state == "incomplete"]
    said = {name: _UNDER_WAY for name in incomplete if may_be_under_way(name, known, now)}
    left = _LEFT if rules_of(pipeline.stages) else _LEFT_WITHOUT_PRUNE
    return said | {it.name: left for it in leftovers(listed, known)}


def _lost(place: Place, catalog: Catalog, proven: Sequence[Known], records: Sequence[Record]) -> Fault | None:
    """Say what the place lost since; one that is there and damaged has its own verdict."""
    there = {it.name: "" for it in catalog.listed if it.finished} | {it.name: it.manifest_sha256 for it in proven}
    return rolled_back(place.label, max((it.name for it in proven), default=None), there, records)


def _bases(loaded: Iterable[Known | Fault]) -> set[SnapshotName]:
    return {it.base for it in loaded if isinstance(it, Known) and it.base is not None}


def _bytes(
    place: Place, host: str, pipeline: str, known: Known, progress: Callable[[str, int, int], None]
) -> Fault | None:
    for part in known.manifest.parts:
        try:
            _part(place, f"{folder_of(host, pipeline)}/{part.name}", part, known.manifest, progress)
        except Fault as fault:
            return Fault(fault.kind, fault.what, where=str(known.name))
    return None


def _part(place: Place, path: str, part: Part, manifest: Manifest, progress: Callable[[str, int, int], None]) -> None:
    def told() -> Iterable[bytes]:
        done = 0
        for chunk in matching(place.read(path), part):
            done += len(chunk)
            progress(part.name, done, part.size)
            yield chunk

    packets = inspect(told()) if part.name.endswith(".gpg") else _plain(told())
    _demand(packets, part, manifest)


def _plain(chunks: Iterable[bytes]) -> Packets:
    for chunk in chunks:
        del chunk
    return Packets(0, 0, protected=False)


def _demand(packets: Packets, part: Part, manifest: Manifest) -> None:
    """A part that is not encrypted as its manifest says would be readable by others, or by nobody."""
    if manifest.encryption == "none":
        return
    if not packets.protected:
        raise Fault(DATA_DAMAGED, f"{part.name} is not encrypted with integrity protection")
    wanted = (len(manifest.recipients), int(manifest.encryption == "passphrase"))
    if (packets.recipients, packets.passphrases) != wanted:
        said = f"{packets.recipients} recipients and {packets.passphrases} passphrases"
        what = f"{part.name} is encrypted to {said}, the manifest says {wanted[0]} and {wanted[1]}"
        raise Fault(DATA_DAMAGED, what)
