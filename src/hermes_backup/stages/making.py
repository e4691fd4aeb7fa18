"""How a snapshot is made where deltas are declared: as a patch against the last full one, or full, and then kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hermes_backup.errors import Fault
from hermes_backup.snapshots.place import Place
from hermes_backup.stages.bases import Base, Bases, Keeping
from hermes_backup.stages.context import Context
from hermes_backup.stages.copying import Target
from hermes_backup.stages.delta import BaseFacts, Delta, full_because, largest_patch
from hermes_backup.stages.holding import holds
from hermes_backup.stages.stream import Outdated, Stream
from hermes_backup.stages.things import Snapshot
from hermes_backup.streams.coder import Chunks, from_bytes, join, read_chunks
from hermes_backup.streams.gpg import Decrypt, EncryptWith
from hermes_backup.streams.patching import SUFFIX, NoPatchError, Patch

_PROBE = b"hermes-backup\n"
_LEVEL = 3


@dataclass(frozen=True)
class Making:
    """A stream as it will be published, and what is to be done once it is."""

    stream: Stream
    published: Callable[[Snapshot], None]


@dataclass(frozen=True)
class _Patched:
    """Stands where the compression was: what comes is compressed already, against a base."""

    suffix: str = SUFFIX
    algorithm: str = "zstd"

    def plain_size(self, archive: int) -> int:
        return archive

    def code(self, chunks: Chunks) -> Chunks:
        yield from chunks


def making(stream: Stream, targets: Sequence[Target], context: Context) -> Making:
    """Decide how to make a snapshot; a patch is made here, so that it is known to be worth it.

    Raises:
        Fault: whatever the stream raises.
    """
    bases = Bases(context.ledger.folder)
    delta = stream.delta
    if delta is None:
        bases.forget()
        return Making(stream, _nothing)
    base = bases.last()
    facts = None if base is None else _facts(base, bases, stream, targets, context)
    why = full_because(facts, delta, now=context.now, signer=_signer(context), settings=context.settings)
    if base is not None and not why:
        try:
            return Making(_patched(stream, delta, base, bases, context), _nothing)
        except NoPatchError as reason:
            why = str(reason)
        except MemoryError:
            why = "too little memory for a delta"
    context.listener.note("archive", f"a full snapshot: {why}")
    keeping = Keeping(
        stream.packing, context.folder / "base", delta.largest, lambda said: context.listener.warn("archive", said)
    )
    full = replace(stream, packing=keeping, full_because=why)

    def published(snapshot: Snapshot) -> None:
        _keep(snapshot, keeping, bases, stream, context)

    return Making(full, published)


def _nothing(snapshot: Snapshot) -> None:
    del snapshot


def _facts(base: Base, bases: Bases, stream: Stream, targets: Sequence[Target], context: Context) -> BaseFacts:
    places = [it.place for it in targets if not it.spare]
    return BaseFacts(
        name=base.manifest.name,
        size=base.manifest.data.plain_size,
        signer=base.signer,
        settings=base.settings,
        kept=bases.holds(base),
        missing=tuple(said for it in places if (said := _missing(it, base, context))),
        opens=_opens(bases, stream),
        followed=_followed(base, context),
    )


def _missing(place: Place, base: Base, context: Context) -> str:
    try:
        there = holds(place, base.manifest, base.places, context)
    except Fault:
        return f"{place.label} does not answer"
    return "" if there else f"{base.manifest.name} is not in {place.label}"


def _followed(base: Base, context: Context) -> bool:
    """Whether the newest snapshot is the base or needs it: then no pruning takes it before the next."""
    last = context.ledger.last()
    return last is not None and str(base.manifest.name) in (str(last.manifest.name), last.manifest.base)


def _patched(stream: Stream, delta: Delta, base: Base, bases: Bases, context: Context) -> Stream:
    path = context.folder / "patch"
    try:
        prefix = bases.prefix(base)
    except (Fault, OSError):
        raise NoPatchError(f"what is kept of {base.manifest.name} is damaged") from None
    room = delta.room(prefix.size, stream.archive.entries)
    patch = Patch(prefix, _LEVEL, room.size, room.beyond)
    _write(patch.code(stream.archive.chunks()), path, largest_patch(base.packed))
    try:
        contents = stream.archive.contents()
    except Outdated:
        path.unlink()
        raise
    context.listener.note("archive", f"what changed since {base.manifest.name}")
    made = replace(stream.archive, chunks=lambda: _read(path), contents=lambda: contents)
    return replace(stream, archive=made, packing=_Patched(), base=base.manifest.name)


def _write(chunks: Chunks, path: Path, largest: int) -> None:
    """Write a patch, or nothing."""
    try:
        _fill(chunks, path, largest)
    except OSError as error:  # a full one needs no room here
        path.unlink(missing_ok=True)
        raise NoPatchError(f"a delta cannot be made here: {error.strerror}") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _fill(chunks: Chunks, path: Path, largest: int) -> None:
    size = 0
    try:
        with path.open("wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > largest:
                    raise NoPatchError("a delta would not be half as large")
                file.write(chunk)
    finally:
        chunks.close()


def _read(path: Path) -> Chunks:
    with path.open("rb") as file:
        yield from read_chunks(file)


def _keep(snapshot: Snapshot, keeping: Keeping, bases: Bases, stream: Stream, context: Context) -> None:
    """Keep what was published as the base of what follows; that it cannot be is told, and fails nothing."""
    kept = keeping.kept
    try:
        base = Base(
            manifest=snapshot.manifest,
            settings=context.settings,
            signer=_signer(context),
            places=tuple(it.label for it in snapshot.places),
            packed=0 if kept is None else kept.stat().st_size,
        )
        bases.keep(base, kept, _probe(stream))
    except (Fault, OSError) as error:
        context.listener.warn("archive", f"{snapshot.name} cannot be kept as a base for deltas: {error}")


def _signer(context: Context) -> str:
    return "" if context.host_key is None else context.host_key.fingerprint


def _probe(stream: Stream) -> bytes:
    return b"".join(join(from_bytes(_PROBE), stream.coders)) if stream.encryption.kind == "passphrase" else b""


def _opens(bases: Bases, stream: Stream) -> bool:
    """Whether the passphrase is still the one of the base; recipients are among the settings."""
    coder = next((it for it in stream.coders if isinstance(it, EncryptWith)), None)
    if coder is None:
        return True
    try:
        return b"".join(Decrypt(coder.homedir, coder.passphrase, keys=False).file(bases.probe)) == _PROBE
    except (Fault, OSError):
        return False
