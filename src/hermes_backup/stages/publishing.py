"""Publishing a snapshot: data first, then its index, the signed manifest last. The manifest is the commit point."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from hermes_backup.errors import SNAPSHOT_UNREADABLE, Fault
from hermes_backup.snapshots.catalog import Known, load_manifests, read_catalog
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.snapshots.names import (
    RESTORE_TEXT,
    SnapshotName,
    data_name,
    folder_of,
    index_name,
    manifest_name,
)
from hermes_backup.snapshots.place import UNPROVEN, Place, Sink
from hermes_backup.stages.context import Context
from hermes_backup.stages.copying import Failure, Target, Unfinished, retry, summary
from hermes_backup.stages.describing import Measured, index_of, manifest_of, restore_text_of, signed
from hermes_backup.stages.holding import held_last, stored_in
from hermes_backup.stages.ledger import Entry
from hermes_backup.stages.making import making
from hermes_backup.stages.stream import Contents, Outdated, Stream
from hermes_backup.stages.things import Snapshot
from hermes_backup.streams.fanout import spread


class _Meter:
    """Size and hash of a stream as it passes."""

    def __init__(self) -> None:
        self._size = 0
        self._hash = hashlib.sha256()

    def see(self, chunk: bytes) -> None:
        self._size += len(chunk)
        self._hash.update(chunk)

    def measured(self) -> Measured:
        return Measured(self._size, self._hash.hexdigest())


@dataclass(frozen=True)
class _Written:
    """Data that lie under their name in those places that ``held`` names, and what went in."""

    contents: Contents
    data: Measured
    held: Sequence[Target]
    failures: list[Failure]


def publish(stream: Stream, targets: Sequence[Target], context: Context) -> Snapshot:
    """Make a snapshot of a stream in all targets in one pass.

    A target that fails is tried again from a place that has the snapshot and can be read. If one stays without,
    the others keep theirs and the run fails.

    Raises:
        Fault: PUSH_FAILED, and whatever the stream raises; then nothing is published.
    """
    while True:
        try:
            return _unchanged(stream, targets, context) or _publish(stream, targets, context)
        except Outdated as outdated:  # what is checked while bytes flow decides before the end
            stream = replace(stream, archive=outdated.archive)
            # under another name: of a place that nothing is taken back from, a part may lie under this one
            context = replace(context, now=context.now + timedelta(seconds=1))


def _publish(stream: Stream, targets: Sequence[Target], context: Context) -> Snapshot:
    made = making(stream, targets, context)
    stream = made.stream
    folder = folder_of(context.host, context.pipeline)
    for target in targets:
        with suppress(Fault):  # credentials that only put can neither list nor sweep
            target.place.sweep(folder)
    _finish_last(targets, context)
    name = _next_name(targets, context)
    with Unfinished(folder, _names(stream, name)) as unfinished:
        written = _write_data(stream, f"{folder}/{_names(stream, name)[0]}", targets, unfinished, context)
        contents, failures = written.contents, written.failures
        index, plain = index_of(stream, contents)
        digest = Measured(len(index), hashlib.sha256(index).hexdigest())
        manifest = manifest_of(stream, contents, name, written.data, digest, plain, context)
        text, asc = restore_text_of(manifest, context), signed(manifest, context)
        _, index_file, manifest_file = _names(stream, name)

        def put_beside(place: Place) -> None:
            place.put(f"{folder}/{RESTORE_TEXT}", text, replace=True)
            place.put(f"{folder}/{index_file}", index)

        def put_manifest(place: Place) -> None:
            place.put(f"{folder}/{manifest_file}", asc)
            unfinished.finish(place)

        held = _where_it_goes_well(put_beside, written.held, unfinished, failures)
        if not held:
            raise summary(failures, ())
        # right before the first manifest is out: a run killed in between must not leave two snapshots of one number,
        # and one killed before leaves the chain as it was, which shows that its files are nobody's snapshot
        context.ledger.record(_entry(asc, manifest, contents, context))
        committed = _where_it_goes_well(put_manifest, held, unfinished, failures)
    if not committed:
        raise summary(failures, ())
    snapshot = retry(Snapshot(name, manifest, tuple(it.place for it in committed)), failures, context)
    made.published(snapshot)
    return snapshot


def _names(stream: Stream, name: SnapshotName) -> tuple[str, str, str]:
    """Data, index and manifest: the files of a snapshot in the order in which they are written."""
    return data_name(name, stream.suffix), index_name(name, stream.index_suffix), manifest_name(name)


def _entry(asc: bytes, manifest: Manifest, contents: Contents, context: Context) -> Entry:
    return Entry(
        manifest=manifest,
        manifest_sha256=hashlib.sha256(asc).hexdigest(),
        content=contents.content,
        settings=context.settings,
        places=(),
        unsent=asc.decode("ascii"),
    )


def _finish_last(targets: Sequence[Target], context: Context) -> None:
    """Put the manifest of a run that was killed at its last step to where its data lie; their chain goes on with it."""
    last = context.ledger.last()
    if last is None or not last.unsent:
        return
    name = manifest_name(last.manifest.name)
    for target in targets:
        with suppress(Fault):  # one that takes and does not tell may have lost the data: it gets no manifest of theirs
            stored = stored_in(target.place, context)
            if name not in stored and all(stored.get(it.name) == it.size for it in last.manifest.parts):
                target.place.put(f"{folder_of(context.host, context.pipeline)}/{name}", last.unsent.encode("ascii"))


def _write_data(
    stream: Stream, path: str, targets: Sequence[Target], unfinished: Unfinished, context: Context
) -> _Written:
    """Write to all targets, and finish where that went well, once what went in is known to be good.

    Raises:
        Fault: PUSH_FAILED when no target took it.
        Outdated: nobody shall have it.
    """
    meter = _Meter()
    held: list[Target] = []
    failures: list[Failure] = []
    with ExitStack() as opened:
        sinks: list[tuple[Target, Sink]] = []
        for target in targets:
            try:
                sinks.append((target, opened.enter_context(target.place.sink(path))))
            except Fault as fault:
                failures.append(Failure(target, fault))
        errors = spread(stream.open(), [sink for _, sink in sinks], meter.see) if sinks else ()
        contents = stream.archive.contents() if None in errors else None
        context.teardown.home_released.close()
        for (target, sink), error in zip(sinks, errors, strict=True):
            try:
                if error is not None:
                    raise error
                unfinished.begin(target.place)
                note = sink.commit()
                if UNPROVEN in note:
                    context.listener.warn(target.stage, f"{target.place.label}: sent, {note}: hermes-backup verify")
                held.append(target)
            except Fault as fault:
                failures.append(Failure(target, fault))
                if error is None:
                    unfinished.finish(target.place)
    if contents is None or not held:
        raise summary(failures, ())
    return _Written(contents, meter.measured(), held, failures)


def _where_it_goes_well(
    put: Callable[[Place], None], targets: Sequence[Target], unfinished: Unfinished, failures: list[Failure]
) -> list[Target]:
    """Put something into each place; where that fails, nothing of the snapshot stays. Return the others."""
    done: list[Target] = []
    for target in targets:
        try:
            put(target.place)
        except Fault as fault:
            failures.append(Failure(target, fault))
            unfinished.withdraw(target.place)
        else:
            done.append(target)
    return done


def _unchanged(stream: Stream, targets: Sequence[Target], context: Context) -> Snapshot | None:
    """Compare everything that would be archived with what the last snapshot holds, by content."""
    places = tuple(target.place for target in targets if not target.spare)
    last = held_last(places, context) if context.if_changed else None
    if last is None:
        return None
    for chunk in stream.archive.chunks():
        del chunk
    contents = stream.archive.contents()
    if contents.content != last.content or contents.partial:
        return None
    context.teardown.home_released.close()
    context.listener.note("archive", f"unchanged since {last.manifest.name}")
    return Snapshot(last.manifest.name, last.manifest, places, unchanged=True)


def _next_name(targets: Sequence[Target], context: Context) -> SnapshotName:
    """Count on from the ledger; where it is lost, from the newest that our own key signed anywhere.

    A number that a place shows, and does not let us read, is taken, too. The one after it stays free: a neighbour would
    have to name its hash.
    """
    taken = 0
    if context.ledger.last() is None and context.host_key is not None:
        with context.host_key.pinned() as own:
            for target in targets:
                with suppress(Fault):
                    listed = read_catalog(target.place, context.host, context.pipeline).listed
                    loaded = load_manifests(target.place, context.host, context.pipeline, listed, own)
                    context.ledger.go_on([(it.manifest, it.manifest_sha256) for it in loaded if isinstance(it, Known)])
                    unread = (one.name.sequence + 1 for one, it in zip(listed, loaded, strict=True) if _is_unread(it))
                    taken = max(taken, *unread, 0)
    last = context.ledger.last()
    taken = max(taken, 0 if last is None else last.manifest.sequence)
    return SnapshotName(taken + 1, context.now.replace(microsecond=0))


def _is_unread(it: Known | Fault) -> bool:
    return isinstance(it, Fault) and it.kind is SNAPSHOT_UNREADABLE
