"""Verification without any private key: signature, chain, size, hash, and the packets that gpg wrapped the data in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hermes_backup.errors import CHAIN_BROKEN, DATA_DAMAGED, ROLLBACK, Fault
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.rollback import Record, rolled_back
from hermes_backup.pipeline.surveying import unexplained
from hermes_backup.snapshots.catalog import Catalog, Known, Listed, check_chain, find, left_behind, load_manifests
from hermes_backup.snapshots.founding import unfounded
from hermes_backup.snapshots.manifest import Manifest, Part
from hermes_backup.snapshots.names import SnapshotName, folder_of
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.proving import matching
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.stages.prune import rules_of
from hermes_backup.streams.packets import Packets, inspect

_LEFT = (
    "is not finished, and those after it go on without it: its run was ended, and its files can be deleted, "
    "unless two machines wrote here"
)

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
    left = left_behind(listed, (it for it in loaded if isinstance(it, Known)))
    seen: dict[SnapshotName, Known | Fault] = {}
    verdicts = []
    for one, known in zip(listed, loaded, strict=True):  # a base is older than its deltas
        if one.name in left:
            continue
        fault = known if isinstance(known, Fault) else _bytes(place, config.host, pipeline.name, known, progress)
        if fault is None and isinstance(known, Known):
            fault = unfounded(known, seen)
        # a delta is no base, whatever else is wrong with it
        seen[one.name] = known if isinstance(known, Known) and known.base else fault or known
        verdicts.append(Verdict(place.label, one.name, one.size, one.encrypted, fault))
    problems = check_chain(it for it in loaded if isinstance(it, Known))
    grave = tuple(Fault(CHAIN_BROKEN, it.text, where=place.label) for it in problems if it.grave)
    warnings = tuple(it.text for it in problems if not it.grave)
    if not wanted:
        proven = sorted((it for it in loaded if isinstance(it, Known)), key=lambda it: it.name)
        lost = _lost(place, catalog, proven, records)
        grave += (lost,) if lost else ()
        # beside one that is not known, a gap says nothing
        gone = unexplained(proven, rules_of(pipeline.stages)) if len(proven) == len(listed) else 0
        warnings += (_GAPS.format(gone),) if gone else ()
    warnings += tuple(f"{name} {_LEFT}" for name in sorted(left))
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
