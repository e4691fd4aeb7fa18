"""One snapshot brought back into a scratch folder, checked, timed, and thrown away."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from hermes_backup.errors import INTERRUPTED, Fault, from_system
from hermes_backup.pipeline.drill_result import Trial
from hermes_backup.pipeline.executor import Follower, execute
from hermes_backup.pipeline.unpacking import Source
from hermes_backup.snapshots.catalog import Known
from hermes_backup.snapshots.evidence import Phases
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.stages.check import CheckFailed
from hermes_backup.stages.decrypt import Decrypt
from hermes_backup.stages.extract import Extract
from hermes_backup.stages.fetch import Fetch
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Finding, Report
from hermes_backup.streams.scratch import scratch

_FETCH, _EXTRACT, _CHECK = "fetch", "extract", "check"
_PHASES = {Fetch.name: _FETCH, Decrypt.name: _FETCH, Extract.name: _EXTRACT}
_ABOUT = {_FETCH: "data", _EXTRACT: "archive", _CHECK: "home"}


class _Clock:
    """A follower that notes how long each phase takes; ``decrypt`` is where the bytes are brought here."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._since = time.monotonic()
        self.phase = _FETCH
        self.spent = dict.fromkeys((_FETCH, _EXTRACT, _CHECK), 0.0)

    def stage(self, name: str) -> None:
        """A stage begins."""
        self.stop()
        self.phase = _PHASES.get(name, _CHECK)
        self._follower.stage(name)

    def stop(self) -> None:
        """Add what has passed to the phase."""
        now = time.monotonic()
        self.spent[self.phase] += now - self._since
        self._since = now

    def progress(self, stage: str, done: int, total: int) -> None:
        """So much is done."""
        self._follower.progress(stage, done, total)

    def warn(self, stage: str, text: str) -> None:
        """Something that the operator should know."""
        self._follower.warn(stage, text)

    def note(self, stage: str, text: str) -> None:
        """Something worth a line."""
        self._follower.note(stage, text)

    def published(self, manifest: Manifest, places: tuple[str, ...]) -> None:
        """Nothing is published by a drill."""


def bring_back(source: Source, known: Known, stages: Sequence[Stage], look: float, follower: Follower) -> Trial:
    """Run the stages of a drill after its ``fetch``; whatever goes wrong is a finding.

    ``look`` is how many seconds it took to find the snapshot.

    Raises:
        Fault: INTERRUPTED.
    """
    clock = _Clock(follower)
    report, trouble = _executed(source, stages, clock)
    sizes = [] if report is None else [it.size for it in report.tree.members if it.kind in ("file", "hardlink")]
    phases = Phases(look=round(look, 3), **{name: round(it, 3) for name, it in clock.spent.items()})
    findings = tuple(_findings(report, trouble, clock.phase))
    return Trial(known.name, known.manifest_sha256, len(sizes), sum(sizes), phases, findings)


def _executed(source: Source, stages: Sequence[Stage], clock: _Clock) -> tuple[Report | None, Fault | None]:
    """Return what was checked, or what went wrong before that.

    Raises:
        Fault: INTERRUPTED.
    """
    report: Report | None = None
    trouble: Fault | None = None
    with scratch() as folder:
        context = source.context(folder, clock)
        try:
            snapshot = source.fetched(context, clock)
            value = execute(stages, snapshot, context, clock)
            report = value if isinstance(value, Report) else None
        except CheckFailed as failed:
            report = failed.report
        except Fault as fault:
            trouble = fault
        except OSError as error:
            trouble = from_system(error, clock.phase)
        clock.stop()
    if trouble is not None and trouble.kind is INTERRUPTED:
        raise trouble
    return report, trouble


def _findings(report: Report | None, trouble: Fault | None, reached: str) -> Iterator[Finding]:
    phases = (_FETCH, _EXTRACT, _CHECK)
    for phase in phases[: phases.index(reached)]:
        yield Finding(_ABOUT[phase], "ok", _proven(phase, report))
    if trouble is not None:
        said = (trouble.what,) if not trouble.where else (f"{trouble.where}: {trouble.what}",)
        yield Finding(_ABOUT[reached], "failed", trouble.kind.means, said, trouble.kind.name)
    if report is not None:
        yield from report.findings


def _proven(phase: str, report: Report | None) -> str:
    if phase == _FETCH:
        return "signature, size and SHA-256 as the manifest says"
    members = "" if report is None else f"{len(report.tree.members)} entries, "
    return f"{members}decrypted, unpacked, and as its list of files says"
