"""What is said of a snapshot: its manifest, its index, its RESTORE.txt."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from hermes_backup import __version__
from hermes_backup.errors import STAGE_FAILED, Fault
from hermes_backup.snapshots.index import LARGEST, to_lines
from hermes_backup.snapshots.manifest import Database, Manifest, Part, PartialFile, to_json
from hermes_backup.snapshots.names import SnapshotName, data_name, index_name
from hermes_backup.snapshots.remaking import to_lines as remakings_to_lines
from hermes_backup.snapshots.restore_text import RestoreFacts, restore_text
from hermes_backup.snapshots.signing import HostKey
from hermes_backup.stages.context import Context
from hermes_backup.stages.remaking import remakings
from hermes_backup.stages.stream import Contents, Stream
from hermes_backup.streams.coder import CHUNK, Chunks


@dataclass(frozen=True)
class Measured:
    """A file as it was written: its size and its SHA-256."""

    size: int
    sha256: str


def manifest_of(
    stream: Stream,
    contents: Contents,
    name: SnapshotName,
    data: Measured,
    index: Measured,
    index_plain: int,
    context: Context,
) -> Manifest:
    """Describe a snapshot whose data and index are written."""
    last = context.ledger.last()
    files = [it for it in contents.members if it.kind in ("file", "hardlink")]
    return Manifest(
        host=context.host,
        pipeline=context.pipeline,
        sequence=name.sequence,
        previous=None if last is None else last.manifest_sha256,
        created=name.time,
        kind="full" if stream.base is None else "delta",
        base=None if stream.base is None else str(stream.base),
        full_because=stream.full_because,
        format=stream.archive.format,
        compression=stream.packing.algorithm,
        encryption=stream.encryption.kind,
        recipients=stream.encryption.recipients,
        parts=(
            Part(
                name=data_name(name, stream.suffix),
                role="data",
                size=data.size,
                sha256=data.sha256,
                plain_size=stream.packing.plain_size(contents.size),
            ),
            Part(
                name=index_name(name, stream.index_suffix),
                role="index",
                size=index.size,
                sha256=index.sha256,
                plain_size=index_plain,
            ),
        ),
        excluded=stream.archive.excluded,
        files=len(files),
        bytes=sum(it.size for it in files),
        databases=_databases(contents),
        partial=tuple(PartialFile(path=it.path, reason=it.reason) for it in contents.partial),
        engine=f"hermes-backup {__version__}",
    )


def _databases(contents: Contents) -> tuple[Database, ...]:
    return tuple(
        Database(
            path=it.facts.name,
            page_size=it.facts.page_size,
            pages=it.facts.pages,
            tables=dict(it.facts.tables),
            contents={name: one.sha256 for name, one in it.contents.items()},
            left_out=tuple(one.table for one in it.left_out),
        )
        for it in contents.databases
    )


def index_chunks(lines: Iterable[bytes], counted: list[int]) -> Chunks:
    """Yield index lines in chunks; their total size is appended to ``counted`` at the end."""
    chunk = bytearray()
    total = 0
    for line in lines:
        chunk += line
        if len(chunk) >= CHUNK:
            total += len(chunk)
            yield bytes(chunk)
            chunk.clear()
    counted.append(total + len(chunk))
    yield bytes(chunk)


def index_of(stream: Stream, contents: Contents) -> tuple[bytes, int]:
    """Return the coded index and its plain size in bytes.

    Raises:
        Fault: STAGE_FAILED when nobody would read it.
    """
    counted: list[int] = []
    remaking = remakings_to_lines(told for it in contents.databases for told in remakings(it))
    lines = itertools.chain(to_lines(contents.members), remaking)
    coded = b"".join(stream.code_index(index_chunks(lines, counted)))
    if counted[0] > LARGEST:
        what = f"the list of files has {counted[0]} bytes, at most {LARGEST} can be read again"
        raise Fault(STAGE_FAILED, what, where="archive", mend="Leave out folders of many small files, by exclude.")
    return coded, counted[0]


def signed(manifest: Manifest, context: Context) -> bytes:
    """Return the manifest as it will lie: clear-signed by the host's key.

    Raises:
        Fault: STAGE_FAILED when there is no key, or it does not sign.
    """
    return _host_key(context).sign(to_json(manifest))


def restore_text_of(manifest: Manifest, context: Context) -> bytes:
    """Return the RESTORE.txt that goes with a manifest.

    Raises:
        Fault: STAGE_FAILED when there is no key to name.
    """
    facts = RestoreFacts(
        host=manifest.host,
        pipeline=manifest.pipeline,
        format=manifest.format,
        compression=manifest.compression,
        encryption=manifest.encryption,
        host_fingerprint=_host_key(context).fingerprint,
        recipients=manifest.recipients,
        lean=any(it.left_out for it in manifest.databases),
    )
    return restore_text(facts).encode()


def _host_key(context: Context) -> HostKey:
    if context.host_key is None:
        raise Fault(STAGE_FAILED, "this run has no key to sign with", where="store")
    return context.host_key
