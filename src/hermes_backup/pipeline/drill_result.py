"""What a drill of one host found: all of it, for the trusted machine, and as evidence for whoever reads a remote."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hermes_backup import __version__
from hermes_backup.snapshots.evidence import Evidence, Phases, Result, Seen, Tested
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.stages.things import Finding

SKEW = timedelta(minutes=5)
"""Clocks of two machines differ a little; a snapshot dated further ahead tells nothing of its age."""


@dataclass(frozen=True)
class Trial:
    """One snapshot that was brought back: so many files, bytes in all, in so many seconds a phase."""

    name: SnapshotName
    manifest_sha256: str
    files: int
    size: int
    phases: Phases
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether anything of it is not as it should be."""
        return any(it.verdict == "failed" for it in self.findings)


@dataclass(frozen=True)
class Drilled:
    """A drill of one host.

    Attributes:
        drill: the pipeline that drills; ``pipeline`` is the one whose snapshots it brings back.
        place: where they came from.
        newest: the newest that is proven to be the host's.
        allowed: how old that may be.
        findings: what was seen of the place; each trial has its own.
        warnings: what the operator should know besides.
        files: the evidence on this machine, and where else it lies.
    """

    host: str
    drill: str
    pipeline: str
    place: str
    started: datetime
    finished: datetime
    allowed: timedelta
    newest: SnapshotName | None = None
    largest_gap: timedelta | None = None
    findings: tuple[Finding, ...] = ()
    trials: tuple[Trial, ...] = ()
    warnings: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def result(self) -> Result:
        """``failed`` before ``stale``: what is wrong comes before what is old."""
        if self.failures:
            return "failed"
        return "passed" if self.recent else "stale"

    @property
    def recent(self) -> bool:
        """Whether the newest snapshot was new enough when the drill began."""
        age = self.age
        return age is not None and -SKEW <= age <= self.allowed

    @property
    def age(self) -> timedelta | None:
        """How old the newest snapshot was when the drill began: what would have been lost."""
        return None if self.newest is None else self.started - self.newest.time

    @property
    def rto(self) -> Phases | None:
        """How long it took to bring the newest back; None where it did not come back whole."""
        return next((it.phases for it in self.trials if it.name == self.newest and not it.failed), None)

    @property
    def no_rto(self) -> str:
        """Why there is no RTO, in words."""
        if self.newest is None:
            return "there is no snapshot"
        tried = any(it.name == self.newest for it in self.trials)
        return "the newest did not come back whole" if tried else "the newest was not brought back"

    @property
    def failures(self) -> tuple[tuple[SnapshotName | None, Finding], ...]:
        """Everything that failed, with its snapshot where it belongs to one."""
        return self._of("failed")

    @property
    def unproven(self) -> tuple[tuple[SnapshotName | None, Finding], ...]:
        """Everything that could not be proven."""
        return self._of("unproven")

    def _of(self, verdict: str) -> tuple[tuple[SnapshotName | None, Finding], ...]:
        every = [(None, it) for it in self.findings]
        mine = [(trial.name, it) for trial in self.trials for it in trial.findings]
        return tuple((name, it) for name, it in (*every, *mine) if it.verdict == verdict)


def evidence_of(done: Drilled) -> Evidence:
    """Return what may be told of a drill beside the snapshots: counts, and names that manifests tell anyway."""
    return Evidence(
        host=done.host,
        drill=done.drill,
        pipeline=done.pipeline,
        place=done.place,
        started=done.started.replace(microsecond=0),
        finished=done.finished.replace(microsecond=0),
        result=done.result,
        newest=None if done.newest is None else str(done.newest),
        age=None if done.age is None else done.age.total_seconds(),
        allowed=done.allowed.total_seconds(),
        largest_gap=None if done.largest_gap is None else done.largest_gap.total_seconds(),
        findings=_seen(done.findings),
        snapshots=tuple(
            Tested(
                snapshot=str(it.name),
                manifest_sha256=it.manifest_sha256,
                files=it.files,
                bytes=it.size,
                phases=it.phases,
                findings=_seen(it.findings),
            )
            for it in done.trials
        ),
        engine=f"hermes-backup {__version__}",
    )


def _seen(findings: tuple[Finding, ...]) -> tuple[Seen, ...]:
    return tuple(Seen(what=it.what, verdict=it.verdict, evidence=it.evidence, name=it.name) for it in findings)
