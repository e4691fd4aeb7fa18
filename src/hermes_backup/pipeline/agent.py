"""A run on its own host: folders, lock, keys and status around the executor. It knows nothing of Ansible."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hermes_backup.errors import BUG, INTERRUPTED, PIPELINE_ORDER, STAGE_FAILED, ExitCode, Fault, from_system
from hermes_backup.home.layout import DEFAULT_EXCLUDES
from hermes_backup.home.printable import printable
from hermes_backup.home.root import home_opener
from hermes_backup.home.selection import Rules, select
from hermes_backup.pipeline.apart import require_apart
from hermes_backup.pipeline.config import KEY_FOLDER, HostConfig, pipeline_of
from hermes_backup.pipeline.events import Recorder
from hermes_backup.pipeline.executor import execute, preflight
from hermes_backup.pipeline.glancing import with_glance
from hermes_backup.pipeline.homes import declared_owner, home_of, named, remember_home, saved_home
from hermes_backup.pipeline.hosts import state_folder
from hermes_backup.pipeline.interruption import interruptible
from hermes_backup.pipeline.lock import locked
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.order import misplaced
from hermes_backup.pipeline.preparing import host_key, pipeline_folder, prepared, private, status_path, sweep
from hermes_backup.pipeline.roaming import keeping, leasing
from hermes_backup.pipeline.roaming.attachment import attachment, require_there
from hermes_backup.pipeline.status import Heartbeat, State, Status
from hermes_backup.stages.context import Context
from hermes_backup.stages.sqlite import Sqlite
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Home, Snapshot
from hermes_backup.streams.ownership import require_own

_UNCOPIED = "archived as it lies, for the stage sqlite was left out"


@dataclass(frozen=True)
class Options:
    """How one run differs from what its pipeline declares."""

    run_id: str
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    dry_run: bool = False
    if_changed: bool = False
    keep: bool = False
    """Keep the snapshot on this machine where a remote does not take it, until one does."""


def run_pipeline(config: HostConfig, name: str, options: Options) -> Status:
    """Run a pipeline of this host to its end, and return its last status; the status file follows it meanwhile.

    Raises:
        Fault: LOCKED, PIPELINE_MISSING, PIPELINE_ORDER, or a state folder that cannot be written; any other failure
            is in the status. What nobody foresaw is raised, and in the status too.
    """
    pipeline = pipeline_of(config, name)
    folder = private(pipeline_folder(config, name))
    stages = chosen(pipeline, options)
    if options.keep:
        stages = keeping.with_kept(stages, folder)
    with interruptible(), _naming(folder), locked(folder / "lock"):
        now = datetime.now(timezone.utc)
        status = Status(
            run_id=options.run_id,
            pid=os.getpid(),
            host=config.host,
            pipeline=name,
            started=now,
            updated=now,
            heartbeat=_last_heartbeat(status_path(config, name)),
        )
        recorder = Recorder(folder, status)
        try:
            return _recorded(config, pipeline, stages, options, recorder, folder)
        except KeyboardInterrupt:
            sweep(folder)  # the signal may have come in the middle of a cleaning up
            return _failed(recorder, Fault(INTERRUPTED, "stopped by a signal", where=recorder.status.stage))
        except Fault as fault:
            return _failed(recorder, fault)
        except OSError as error:
            return _failed(recorder, from_system(error, recorder.status.stage or "preparation"))
        except MemoryError:
            return _failed(recorder, Fault(STAGE_FAILED, "no memory is left", where=recorder.status.stage))
        except Exception as error:  # whatever it is, the status must not say "running" for ever
            recorder.note("agent", "".join(traceback.format_exception(error)))
            _failed(recorder, Fault(BUG, f"{type(error).__name__}: {error}", where=recorder.status.stage))
            raise


def _failed(recorder: Recorder, fault: Fault) -> Status:
    state: State = "interrupted" if fault.kind is INTERRUPTED else "failed"
    return recorder.finish(state, fault.kind.exit_code, fault)


def _last_heartbeat(path: Path) -> Heartbeat | None:
    with suppress(OSError, ValueError):
        return Status.read(path).heartbeat
    return None


def signing_key(config: HostConfig) -> tuple[bool, str]:
    """Return whether the host's signing key was made just now, and its public half, armored.

    Raises:
        Fault: KEY_INVALID, DISK_FULL, or a state folder that cannot be written.
    """
    folder = pipeline_folder(config, KEY_FOLDER)
    made = not folder.is_dir() or not any(folder.iterdir())
    with host_key(config) as key:
        return made, key.public()


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Call what the state folder does not allow by its name, before there is a status that could tell it."""
    try:
        yield
    except OSError as error:
        raise from_system(error, str(folder)) from None


def chosen(pipeline: Pipeline, options: Options) -> tuple[Stage, ...]:
    """Return the stages that a run with ``--only`` or ``--skip`` has.

    Raises:
        Fault: PIPELINE_ORDER when they do not fit together any more, or a name is none of the pipeline's.
    """
    names = {stage.name for stage in pipeline.stages}
    unknown = sorted({*options.only, *options.skip} - names)
    if unknown:
        mend = f"its stages: {', '.join(stage.name for stage in pipeline.stages)}"
        raise Fault(PIPELINE_ORDER, f"pipeline {pipeline.name} has no stage {unknown[0]!r}", mend=mend)
    stages = tuple(
        it for it in pipeline.stages if (not options.only or it.name in options.only) and it.name not in options.skip
    )
    wrong = misplaced(stages)
    if wrong is not None:
        what = f"without the stages left out, {wrong.what}"
        raise Fault(PIPELINE_ORDER, what, where=pipeline.name, mend=wrong.mend)
    return stages


def _recorded(
    config: HostConfig,
    pipeline: Pipeline,
    stages: tuple[Stage, ...],
    options: Options,
    recorder: Recorder,
    folder: Path,
) -> Status:
    if_changed = options.if_changed or pipeline.if_changed
    now = recorder.status.started
    left_out = [stage.name for stage in pipeline.stages if stage not in stages]
    declared = replace(pipeline, stages=tuple(it for it in pipeline.stages if it in stages))
    path = _home(config, recorder, folder)
    require_apart(path, state_folder(config), stages)
    require_own(folder, "state")
    with (
        prepared(config, declared, folder, now, recorder, if_changed=if_changed) as context,
        ExitStack() as held,
    ):
        if context.host_key is not None:
            recorder.key(context.host_key.public())
        opened = home_opener(path, declared_owner(config), held)
        home = Home(opened, rules_of(config), uncopied=_UNCOPIED if Sqlite.name in left_out else "")
        if options.dry_run:
            plan = _plan(stages, home, context)
            return recorder.finish("planned", ExitCode.OK, plan=plan)
        brought = attachment(folder)
        if brought is not None:
            require_there(brought, folder)
            leasing.require_alone(pipeline, context, folder)
        run = with_glance(stages, trusting=not options.keep) if if_changed else stages
        value = execute(run, home, context, recorder)
        if brought is not None:
            keeping.push_kept(pipeline, context, folder)
            leasing.renew(pipeline, context, folder, brought.lease)
        if left_out:
            recorder.warn("run", f"left out as told: {', '.join(left_out)}")
        if stages[0].takes and not isinstance(value, Snapshot):
            recorder.warn("run", "no snapshot was made")
        if isinstance(value, Snapshot):
            remember_home(folder, home.root.shown)
    return _conclude(value, recorder)


def _plan(stages: tuple[Stage, ...], home: Home, context: Context) -> tuple[str, ...]:
    """Say what a run would do: everything is examined, nothing is written outside the private folder."""
    preflight(stages, context)
    said: list[str] = []
    if stages[0].takes:
        seen = select(home.root, home.rules)
        said.append(f"read {len(seen.entries)} entries, {seen.bytes} bytes, of {home.root}")
    for stage in stages:
        said += [f"{stage.name}: {sentence}" for sentence in stage.plan(context)]
    return tuple(said)


def _conclude(value: Any, recorder: Recorder) -> Status:
    state: State = "done"
    if isinstance(value, Snapshot):
        recorder.describe(value.manifest, tuple(place.label for place in value.places))
        same = Heartbeat(snapshot=str(value.name), at=recorder.status.started) if value.unchanged else None
        recorder.heartbeat(same)
        state = "unchanged" if value.unchanged else "partial" if value.manifest.partial else "done"
    return recorder.finish(state, ExitCode.PARTIAL if state == "partial" else ExitCode.OK)


def _home(config: HostConfig, recorder: Recorder, folder: Path) -> Path:
    """Choose the home; one that was found is told, as a warning until there is a snapshot of it."""
    saved = saved_home(folder)
    home = home_of(config, saved)
    if home.found:
        tell = recorder.warn if saved is None else recorder.note
        tell("run", f"home found: {printable(str(home.path))}, {home.found}")
    if home.others:
        recorder.warn("run", f"not saved, for they are not declared: {named(home.others)}")
    return home.path


def rules_of(config: HostConfig) -> Rules:
    """Return what is left out of every backup of this host."""
    return Rules(patterns=(DEFAULT_EXCLUDES if config.exclude is None else config.exclude) + config.exclude_extra)
