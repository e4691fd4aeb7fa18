"""The drill of one host on the trusted machine: look, bring back, check, measure, and leave evidence."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from hermes_backup.errors import (
    INTERRUPTED,
    PIPELINE_MISSING,
    RESTORE_CHECK,
    SNAPSHOT_MISSING,
    STALE,
    ExitCode,
    Fault,
    catalog,
    from_system,
)
from hermes_backup.pipeline.amounts import show_age
from hermes_backup.pipeline.config import HostConfig, pipeline_of
from hermes_backup.pipeline.drill_result import Drilled, Trial, evidence_of
from hermes_backup.pipeline.drilled import drilled, fetch_of, passed_file, status_file
from hermes_backup.pipeline.events import Recorder
from hermes_backup.pipeline.executor import Follower
from hermes_backup.pipeline.interruption import interruptible
from hermes_backup.pipeline.lock import locked
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.places import pinned_key, places_of
from hermes_backup.pipeline.remembering import Memory, memory_file, whose
from hermes_backup.pipeline.sampling import drills_a_year, sample
from hermes_backup.pipeline.status import Status
from hermes_backup.pipeline.surveying import Survey, largest_gap, survey
from hermes_backup.pipeline.trying import bring_back
from hermes_backup.pipeline.unlocking import unlock
from hermes_backup.pipeline.unpacking import Source, private_keys
from hermes_backup.pipeline.vouching import vouch
from hermes_backup.snapshots.addresses import place_at
from hermes_backup.snapshots.catalog import LATEST, Known, find
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.stages.decrypt import Decrypt
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Finding
from hermes_backup.streams import scratch
from hermes_backup.streams.private import write_private


@dataclass(frozen=True)
class Job:
    """A host that is to be drilled.

    Attributes:
        drill: the pipeline that says how.
        pins: the folder of the hosts' pinned keys.
        drills: the folder of what this machine keeps of the drills of the inventory.
        signing: the folder of this machine's own key, by which evidence is signed.
        allowed: how old the newest snapshot may be.
        wanted: this snapshot, and not the newest and those whose turn it is.
        source: another place than the declared one.
        forgiving: what the place shows is believed, whatever was seen there before.
    """

    config: HostConfig
    drill: str
    pins: Path
    drills: Path
    signing: Path
    allowed: timedelta
    wanted: str = ""
    source: str = ""
    forgiving: bool = False

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that drills."""
        return pipeline_of(self.config, self.drill)

    @property
    def backup(self) -> Pipeline:
        """The pipeline whose snapshots are drilled.

        Raises:
            Fault: PIPELINE_MISSING.
        """
        made = {name: pipeline_of(self.config, name) for name in self.config.pipelines}
        name = drilled(self.pipeline, made)
        if name not in made:
            raise Fault(PIPELINE_MISSING, f"no pipeline of host {self.config.host} makes snapshots")
        return made[name]

    @property
    def place(self) -> Place:
        """Where the snapshots are brought from.

        Raises:
            Fault: SNAPSHOT_MISSING for a place that is not the pipeline's.
        """
        if self.source:
            return places_of(self.config, self.backup, self.source)[0]
        return place_at(fetch_of(self.pipeline).source)

    @property
    def folder(self) -> Path:
        """What this machine keeps of this drill of the host."""
        return status_file(self.drills, self.config.host, self.drill).parent

    @property
    def memory(self) -> Path:
        """Where it keeps what it saw."""
        return memory_file(self.drills, self.config.host, self.drill)

    @property
    def own_folder(self) -> Path:
        """Where its status goes: a drill of something else than declared does not stand for the declared one."""
        return self.folder / "asked" if self.asked else self.folder

    @property
    def asked(self) -> bool:
        """Whether it is about something else than what is declared."""
        return bool(self.wanted or self.source)


def drill(job: Job, follower: Follower) -> Drilled:
    """Drill a host; what is wrong with its snapshots is in the result, and in the status that ``status`` reads.

    Raises:
        Fault: LOCKED, INTERRUPTED, PIPELINE_MISSING, or a state folder that cannot be written.
    """
    backup = job.backup
    try:
        job.own_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with interruptible(), locked(job.folder / "lock"):
            scratch.sweep()
            now = datetime.now(timezone.utc)
            status = Status(run_id=f"drill-{now:%Y%m%dT%H%M%SZ}", pid=os.getpid(), host=job.config.host,
                            pipeline=job.drill, started=now, updated=now)  # fmt: skip
            return _recorded(job, backup, Recorder(job.own_folder, status), follower)
    except OSError as error:
        raise from_system(error, str(job.folder)) from None


def _recorded(job: Job, backup: Pipeline, recorder: Recorder, follower: Follower) -> Drilled:
    both = _Both(recorder, follower)
    started = recorder.status.started
    try:
        try:
            done = _looked(job, backup, started, both)
        except Fault as fault:
            if fault.kind is INTERRUPTED or (fault.kind is SNAPSHOT_MISSING and job.asked):
                raise
            bare = Drilled(job.config.host, job.drill, backup.name, "", started, started, job.allowed)
            done = replace(bare, findings=(_finding("look", fault),))
        done = _vouched(replace(done, finished=datetime.now(timezone.utc)), job, backup, both)
    except Fault as fault:
        if fault.kind is SNAPSHOT_MISSING:  # a slip of the operator's is no evidence
            recorder.finish("failed", fault.kind.exit_code, fault)
            raise
        raise _stopped(job, recorder) from None
    except KeyboardInterrupt:
        raise _stopped(job, recorder) from None
    trouble = _trouble(done)
    status = recorder.finish("done" if trouble is None else "failed", _EXITS[done.result], trouble)
    if trouble is None and not job.asked:
        passed = passed_file(status_file(job.drills, job.config.host, job.drill))
        write_private(passed, status.model_dump_json().encode())
    return replace(done, warnings=recorder.status.warnings)


def _stopped(job: Job, recorder: Recorder) -> Fault:
    stopped = Fault(INTERRUPTED, "stopped by a signal", where=job.config.host)
    recorder.finish("interrupted", ExitCode.INTERRUPTED, stopped)
    return stopped


def _looked(job: Job, backup: Pipeline, now: datetime, both: _Both) -> Drilled:
    """Look what there is, and bring back what is to be brought back."""
    with pinned_key(job.pins, job.config.host) as pinned:
        both.stage("look")
        unlock(private_keys(job.config))
        began = time.monotonic()
        place = job.place
        seen = survey(place, job.config.host, backup.name, pinned)
        look = time.monotonic() - began
        memory, remembered = _remember(job, backup, pinned, seen)
        trials = tuple(_tried(job, backup, pinned, seen, memory, look, both))
    if seen.newest is not None:
        both.recorder.describe(seen.newest.manifest, (place.label,))
    return Drilled(
        host=job.config.host,
        drill=job.drill,
        pipeline=backup.name,
        place=place.label,
        started=now,
        finished=now,
        allowed=job.allowed,
        newest=None if seen.newest is None else seen.newest.name,
        largest_gap=largest_gap([it.name.time for it in seen.known], now),
        findings=(*seen.findings(backup, pinned), remembered),
        trials=trials,
    )


def _remember(job: Job, backup: Pipeline, pinned: Pinned, seen: Survey) -> tuple[Memory, Finding]:
    """Compare what there is with what was seen before, and keep in mind what is newer."""
    what = whose(backup.name, seen.place.label)
    try:
        memory = Memory.read(job.memory)
        if job.forgiving:
            memory = memory.without(what, pinned.fingerprint)
        found = memory.compare(what, pinned.fingerprint, seen.known)
    except ValueError as error:
        memory, found = Memory(), Finding("rollback", "unproven", "what was seen before cannot be read", (str(error),))
    if found.verdict != "failed":
        memory = memory.having_seen(what, pinned.fingerprint, seen.known)
        memory.write(job.memory)
    return memory, found


def _tried(
    job: Job, backup: Pipeline, pinned: Pinned, seen: Survey, memory: Memory, look: float, follower: Follower
) -> Sequence[Trial]:
    pipeline = job.pipeline
    trials = []
    wanted = job.wanted or fetch_of(pipeline).snapshot
    for one in _chosen(seen, wanted, memory.turn, drills_a_year(pipeline.schedule)):
        source = Source(job.config, backup, (seen.place, one.listed), pinned)
        stages = [_with_passphrase(it, source) for it in pipeline.stages[1:]]
        trials.append(bring_back(source, one, stages, look, follower))
    if wanted == LATEST and not job.asked and trials and not any(it.failed for it in trials):
        memory.model_copy(update={"turn": memory.turn + 1}).write(job.memory)
    return trials


def _with_passphrase(stage: Stage, source: Source) -> Stage:
    """Let ``decrypt`` open what the pipeline encrypts with a passphrase, where it names none itself."""
    plain = isinstance(stage, Decrypt) and stage.passphrase_credential is None
    return source.decrypt if plain else stage


def _chosen(seen: Survey, wanted: str, turn: int, a_year: int) -> Sequence[Known]:
    """Return the newest and those whose turn it is, or the one that is wanted."""
    by_name = {it.name: it for it in seen.known}
    if wanted == LATEST:
        return [by_name[it] for it in sample(list(by_name), turn, a_year)]
    name = find([it.listed for it in seen.known] if seen.known else seen.listed, wanted).name
    return [by_name[name]] if name in by_name else []


def _vouched(done: Drilled, job: Job, backup: Pipeline, both: _Both) -> Drilled:
    places = places_of(job.config, backup)
    try:
        lies = vouch(evidence_of(done), job.signing, job.pins, job.folder, places, both)
    except Fault as fault:
        if fault.kind is INTERRUPTED:
            raise
        return replace(done, findings=(*done.findings, _finding("evidence", fault)))
    return replace(done, files=lies)


_EXITS = {"passed": ExitCode.OK, "stale": ExitCode.STALE, "failed": ExitCode.VERIFY}


def _trouble(done: Drilled) -> Fault | None:
    """Return what the status says: the first failure, or that there is nothing recent."""
    for name, it in done.failures:
        kind = next((one for one in catalog() if one.name == it.name), RESTORE_CHECK)
        said = f" ({'; '.join(it.named[:3])})" if it.named else ""
        return Fault(kind, f"{it.what}: {it.evidence}{said}", where="" if name is None else str(name))
    if done.result == "passed":
        return None
    if done.age is None:
        return Fault(STALE, "there is no snapshot at all")
    return Fault(STALE, f"the newest snapshot is {show_age(done.age)} old, {show_age(done.allowed)} are allowed")


def _finding(what: str, fault: Fault) -> Finding:
    """Say what keeps a drill from being done; what a fault tells beyond its kind stays here."""
    said = f"{fault.where}: {fault.what}" if fault.where else fault.what
    return Finding(what, "failed", fault.kind.means, (said,), fault.kind.name)


class _Both:
    """A follower that tells the status file and whoever else follows."""

    def __init__(self, recorder: Recorder, follower: Follower) -> None:
        self.recorder = recorder
        self._every: tuple[Follower, ...] = (recorder, follower)

    def stage(self, name: str) -> None:
        """A stage begins."""
        for it in self._every:
            it.stage(name)

    def progress(self, stage: str, done: int, total: int) -> None:
        """So much is done."""
        for it in self._every:
            it.progress(stage, done, total)

    def warn(self, stage: str, text: str) -> None:
        """Something that the operator should know."""
        for it in self._every:
            it.warn(stage, text)

    def note(self, stage: str, text: str) -> None:
        """Something worth a line."""
        for it in self._every:
            it.note(stage, text)

    def published(self, manifest: Manifest, places: tuple[str, ...]) -> None:
        """Nothing is published by a drill."""
