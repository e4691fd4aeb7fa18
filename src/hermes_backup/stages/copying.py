"""Copying a finished snapshot from a place that holds it to others: another attempt, or a push after a store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from hermes_backup.errors import PUSH_FAILED, REMOTE_REFUSED, Fault
from hermes_backup.snapshots.names import RESTORE_TEXT, folder_of, manifest_name
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.proving import matching
from hermes_backup.stages.bases import Bases
from hermes_backup.stages.context import Context
from hermes_backup.stages.describing import restore_text_of
from hermes_backup.stages.holding import holds, holds_last, stored_in
from hermes_backup.stages.ledger import Entry
from hermes_backup.stages.things import Snapshot

_PAUSE = 2.0  # seconds before the second attempt; doubled each time


@dataclass(frozen=True)
class Target:
    """A place to write to, for a stage; ``attempts`` counts the first one too.

    A ``spare`` one holds a snapshot only until the others do.
    """

    stage: str
    place: Place
    attempts: int = 1
    spare: bool = False


@dataclass(frozen=True)
class Failure:
    """A target that did not take a snapshot, and why."""

    target: Target
    fault: Fault


def copy_to(snapshot: Snapshot, targets: Sequence[Target], context: Context) -> Snapshot:
    """Copy a finished snapshot to more places; one that a run found unchanged, to those that lack it.

    Raises:
        Fault: PUSH_FAILED when a place did not take it.
    """
    if snapshot.unchanged:
        targets = tuple(it for it in targets if not it.spare)
        last = context.ledger.last()
        lacking = tuple(it for it in targets if last is None or not _is_there(it.place, last, snapshot, context))
        there = tuple(it for it in targets if it not in lacking and it.place.label not in _labels(snapshot))
        snapshot = widen(snapshot, there, ())
        if not lacking:
            return snapshot
        targets = lacking
    outcomes = [_copy_patiently(snapshot, target, target.attempts, context) for target in targets]
    failures = [it for it in outcomes if it is not None]
    return remember(widen(snapshot, targets, failures), failures, context)


def _is_there(place: Place, last: Entry, snapshot: Snapshot, context: Context) -> bool:
    """Say whether a place holds a snapshot: one that it is said to be in was looked at."""
    if place.label in _labels(snapshot):
        return True
    with suppress(Fault):  # one that cannot be asked is copied to, which fails by its name
        return last.manifest.name == snapshot.name and holds_last(place, last, context)
    return False


def _labels(snapshot: Snapshot) -> tuple[str, ...]:
    return tuple(place.label for place in snapshot.places)


def retry(snapshot: Snapshot, failures: Sequence[Failure], context: Context) -> Snapshot:
    """Give the targets that failed their further attempts, from a place that holds the snapshot.

    Raises:
        Fault: PUSH_FAILED when a place still did not take it.
    """
    still: list[Failure] = []
    for failure in failures:
        left = failure.target.attempts - 1
        outcome = _copy_patiently(snapshot, failure.target, left, context) if left else failure
        still += [outcome] if outcome is not None else []
    return remember(widen(snapshot, [it.target for it in failures], still), still, context)


def widen(snapshot: Snapshot, targets: Sequence[Target], failures: Sequence[Failure]) -> Snapshot:
    """Return the snapshot with those targets among its places that did not fail."""
    failed = {id(it.target) for it in failures}
    added = tuple(it.place for it in targets if id(it) not in failed)
    return replace(snapshot, places=snapshot.places + added)


def remember(snapshot: Snapshot, failures: Sequence[Failure], context: Context) -> Snapshot:
    """Note in the ledger where the snapshot lies.

    Raises:
        Fault: PUSH_FAILED when a place is missing.
    """
    last = context.ledger.last()
    labels = _labels(snapshot)
    if last is not None and last.manifest.name == snapshot.name:
        context.ledger.record(last.model_copy(update={"places": labels, "unsent": ""}))
    Bases(context.ledger.folder).lies_in(snapshot.name, labels)
    context.listener.published(snapshot.manifest, labels)
    if failures:
        raise summary(failures, labels)
    return snapshot


def summary(failures: Sequence[Failure], held: Sequence[str]) -> Fault:
    """Say in one fault which targets failed, why, and who holds the snapshot all the same."""
    first = failures[0]
    said = "; ".join(f"{it.target.place.label}: {it.fault.what}" for it in failures)
    rest = f" (held by {', '.join(held)})" if held else " (nothing is published)"
    kind = first.fault.kind if len(failures) == 1 else PUSH_FAILED
    return Fault(kind, said + rest, where=first.target.stage, mend=first.fault.mend)


def _copy_patiently(snapshot: Snapshot, target: Target, attempts: int, context: Context) -> Failure | None:
    pause = _PAUSE
    fault = Fault(PUSH_FAILED, "no place that holds the snapshot can be read")
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause)
            pause *= 2
        for source in snapshot.places:
            try:
                _with_base(snapshot, source, target.place, context)
            except Fault as error:
                fault = error
                context.listener.note(target.stage, f"{target.place.label}: {error.what}")
            else:
                return None
    return Failure(target, fault)


def _with_base(snapshot: Snapshot, source: Place, target: Place, context: Context) -> None:
    """Copy a snapshot; a delta only to where its base is, which is copied before it where that is known."""
    bases = Bases(context.ledger.folder)
    base = bases.last() if snapshot.manifest.base else None
    wanted = base is not None and str(base.manifest.name) == snapshot.manifest.base
    if base is not None and wanted and not holds(target, base.manifest, base.places, context):
        _copy(Snapshot(base.manifest.name, base.manifest, (source,)), source, target, context)
        bases.lies_in(base.manifest.name, [target.label])
    _copy(snapshot, source, target, context)


def _copy(snapshot: Snapshot, source: Place, target: Place, context: Context) -> None:
    """Copy what the target lacks; only what was written here goes again when it fails."""
    folder = folder_of(context.host, context.pipeline)
    parts = {part.name: part for part in snapshot.manifest.parts}
    lacking = _lacking(target, snapshot, context)
    target.put(f"{folder}/{RESTORE_TEXT}", restore_text_of(snapshot.manifest, context), replace=True)
    written: list[str] = []
    try:
        for name in lacking:
            with target.sink(f"{folder}/{name}") as sink:
                chunks = source.read(f"{folder}/{name}")
                for chunk in matching(chunks, parts[name]) if name in parts else chunks:
                    sink.write(chunk)
                sink.commit()
            written.append(f"{folder}/{name}")
    except BaseException:
        for path in reversed(written):
            with suppress(Fault):
                target.delete(path)
        raise


def _lacking(target: Place, snapshot: Snapshot, context: Context) -> tuple[str, ...]:
    """Return the files that a place does not list with their sizes; all, where it takes and does not tell.

    What lies there with another size is refused when it is written.
    """
    there: Mapping[str, int] = {}
    try:
        there = stored_in(target, context)
    except Fault as fault:
        if fault.kind is not REMOTE_REFUSED:
            raise
    parts = tuple(it.name for it in snapshot.manifest.parts if there.get(it.name) != it.size)
    manifest = manifest_name(snapshot.name)
    return parts if manifest in there else (*parts, manifest)


class Unfinished:
    """Places that hold some of a snapshot's files under their names; whatever is not finished goes when this ends.

    ``names`` are in the order in which they are written, the manifest last. What the credentials do not allow to
    remove stays; without its manifest it counts for nothing.
    """

    def __init__(self, folder: str, names: Sequence[str]) -> None:
        self._paths = [f"{folder}/{name}" for name in reversed(names)]
        self._places: list[Place] = []

    def begin(self, place: Place) -> None:
        """From now on the place may hold a file of the snapshot."""
        self._places.append(place)

    def finish(self, place: Place) -> None:
        """The place holds the whole snapshot, or nothing of it."""
        self._places.remove(place)

    def withdraw(self, place: Place) -> None:
        """Remove what the place holds, the manifest first."""
        self.finish(place)
        for path in self._paths:
            with suppress(Fault):
                place.delete(path)

    def __enter__(self) -> Unfinished:
        return self

    def __exit__(self, *exc: object) -> None:
        for place in tuple(self._places):
            self.withdraw(place)
