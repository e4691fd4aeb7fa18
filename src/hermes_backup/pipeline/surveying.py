"""What a place holds of a pipeline, by signed manifests: is all of it ours, in order, and how far apart in time?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hermes_backup.errors import CHAIN_BROKEN, SNAPSHOT_UNREADABLE, Fault
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.snapshots.catalog import Known, Listed, check_chain, load_manifests, read_catalog
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.retention import Rules
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.stages.prune import rules_of
from hermes_backup.stages.things import Finding

WINDOW = timedelta(days=90)
"""How far back the largest gap is looked for."""


@dataclass(frozen=True)
class Survey:
    """What lies in a place: ``known`` is proven, oldest first; ``faults`` says why the rest is not."""

    place: Place
    listed: tuple[Listed, ...]
    known: tuple[Known, ...]
    faults: tuple[Fault, ...]

    @property
    def newest(self) -> Known | None:
        """The newest snapshot that is proven to be ours."""
        return self.known[-1] if self.known else None

    def findings(self, pipeline: Pipeline, pinned: Pinned) -> Iterator[Finding]:
        """Say whether every manifest is signed by the pinned key, and whether they follow each other."""
        for fault in self.faults:
            yield self._refused(fault)
        if self.known and not self.faults:
            yield Finding("signatures", "ok", f"all of {len(self.known)} by {pinned.fingerprint}")
        problems = check_chain(self.known)
        for it in problems:
            yield Finding(
                "chain", "failed" if it.grave else "unproven", it.text, name=CHAIN_BROKEN.name if it.grave else ""
            )
        if self.known and not any(it.grave for it in problems):
            yield self._order(pipeline)

    def _refused(self, fault: Fault) -> Finding:
        """What a place does not give is not proven, as in cold storage; unless it is newer than all that is."""
        newest = self.newest
        if fault.kind is SNAPSHOT_UNREADABLE and newest is not None and SnapshotName.parse(fault.where) < newest.name:
            return Finding(fault.where, "unproven", fault.what)
        return Finding(fault.where or "signatures", "failed", fault.what, name=fault.kind.name)

    def _order(self, pipeline: Pipeline) -> Finding:
        early, late = gaps(self.known), unexplained(self.known, rules_of(pipeline.stages))
        if late:
            said = f"{late} of the newest snapshots are gone, which no rule of prune explains"
            return Finding("chain", "unproven", said)
        said = f"{len(self.known)} in order"
        return Finding("chain", "ok", f"{said}; {early} times some between were pruned" if early else said)


def survey(place: Place, host: str, pipeline: str, pinned: Pinned) -> Survey:
    """Read what a place holds; what was never finished is nobody's concern.

    Raises:
        Fault: REMOTE_UNREACHABLE.
    """
    seen = _survey(place, host, pipeline, pinned)
    if not seen.faults:
        return seen
    return _survey(place, host, pipeline, pinned)  # what prune took away in between is no fault


def unexplained(known: Sequence[Known], rules: Rules | None) -> int:
    """Count the gaps that no rule explains: prune makes none among the newest that it keeps by their number."""
    kept = len(known) if rules is None else rules.keep_last
    return gaps(known[-kept:] if kept else ())


def gaps(known: Sequence[Known]) -> int:
    """Count the neighbours of which the later does not name the earlier as its predecessor."""
    pairs = itertools.pairwise(known)
    return sum(later.manifest.previous != earlier.manifest_sha256 for earlier, later in pairs)


def largest_gap(times: Sequence[datetime], now: datetime) -> timedelta | None:
    """Return the longest time without a new snapshot within the window before now; None without any snapshot.

    The time since the newest counts, and so does one that began before the window, as far as it reaches into it.
    What was pruned leaves gaps, too.
    """
    past = sorted(it for it in times if it <= now)
    if not past:
        return None
    start = now - WINDOW
    bounds = [max(it, start) for it in past] + [now]
    return max(later - earlier for earlier, later in itertools.pairwise(bounds))


def _survey(place: Place, host: str, pipeline: str, pinned: Pinned) -> Survey:
    listed = tuple(it for it in read_catalog(place, host, pipeline).listed if it.state != "incomplete")
    loaded = load_manifests(place, host, pipeline, listed, pinned)
    known = tuple(sorted((it for it in loaded if isinstance(it, Known)), key=lambda it: it.name))
    return Survey(place, listed, known, tuple(it for it in loaded if isinstance(it, Fault)))
