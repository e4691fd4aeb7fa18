"""A pipeline run on many hosts: started, followed, and stopped when the operator says so."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from hermes_backup.errors import (
    AGENT_MISSING,
    CONFIG_INVALID,
    DEPLOY_STALE,
    HOST_SKIPPED,
    INTERRUPTED,
    STAGE_FAILED,
    Fault,
)
from hermes_backup.fleet.changing import Deployed
from hermes_backup.fleet.changing import Options as DeployOptions
from hermes_backup.fleet.declared import declared
from hermes_backup.fleet.deploy import Deployment
from hermes_backup.fleet.jobs import for_hosts
from hermes_backup.fleet.outcome import HostRun, broken, ended, unreachable
from hermes_backup.fleet.pins import pin
from hermes_backup.fleet.play import Event, Outcome, Play
from hermes_backup.fleet.render import Fleet, FleetHost
from hermes_backup.pipeline.agent import Options, chosen
from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.pipeline.status import Status

_START = "Start"
_TAIL = 500


class Watcher(Protocol):
    """Whoever looks at a run while it goes."""

    def changed(self, host: str, status: Status) -> None:
        """A host is further, or done."""

    def note(self, text: str) -> None:
        """Something that concerns the whole run."""


@dataclass(frozen=True)
class Course:
    """How a run goes over many hosts: 0 means all of them at a time.

    Attributes:
        serial: so many hosts are begun together; the next when these are done.
        max_fail: no more are begun when more than so many percent of those have failed.
        deploy: hosts that lack the agent, or have another state than the declared one, are brought to it first.
    """

    forks: int = 0
    serial: int = 0
    max_fail: int = 100
    deploy: bool = True


class Run:
    """One run of a pipeline on some hosts of a fleet. Use it once.

    Raises:
        Fault: PIPELINE_MISSING, PIPELINE_ORDER or CONFIG_INVALID when a host could not run this; nothing runs then.
    """

    def __init__(
        self,
        fleet: Fleet,
        hosts: Sequence[FleetHost],
        pipeline: str,
        options: Options,
        watcher: Watcher,
        course: Course = Course(),
    ) -> None:
        self._fleet = fleet
        self._hosts = {host.name: host for host in hosts}
        self._watcher = watcher
        self._course = course
        self._jobs = {host.name: _job(fleet, host, pipeline, options, course) for host in hosts}
        self._run_ids: dict[str, str] = {}
        self._ended: dict[str, HostRun] = {}
        self._status_files: dict[str, Path] = {}
        self._seen: dict[str, datetime] = {}
        self._began = False
        self._play: Play | None = None
        self._interrupted = False

    @property
    def interrupted(self) -> bool:
        """Somebody wanted the run to end."""
        return self._interrupted

    def execute(self) -> tuple[HostRun, ...]:
        """Run the pipeline on every host to its end, and return how it went, in the order of the hosts.

        Raises:
            Fault: FLEET_MISSING, or CONFIG_INVALID when Ansible could not even start.
        """
        names = list(self._hosts)
        at_once = self._course.serial or len(names)
        for start in range(0, len(names), at_once):
            if self._interrupted or self._too_many_failed():
                break
            self._batch(names[start : start + at_once])
        left = Fault(INTERRUPTED, "not begun") if self._interrupted else Fault(HOST_SKIPPED, "too many failed before")
        for name in names:
            self._ended.setdefault(name, HostRun(name, None, left))
        return tuple(self._pinned(self._ended[name]).masked(self._hosts[name].secrets) for name in names)

    def interrupt(self) -> None:
        """End the run on every host; :meth:`execute` returns when they have cleaned up. Safe in a signal handler."""
        self._interrupted = True
        if self._play is not None:
            self._play.interrupt()

    def _batch(self, names: Sequence[str]) -> None:
        outcome = self._played("run.yml", names)
        if outcome.hosts is None and not self._interrupted and not self._began:
            raise Fault(CONFIG_INVALID, f"Ansible did not run: {outcome.output}", where=self._fleet.inventory.name)
        lacking = [name for name in names if self._lacks(name)]
        if lacking and not self._interrupted:
            outcome = self._once_deployed(lacking) or outcome
        if self._interrupted or outcome.hosts is None:
            self._stop([name for name in names if name not in self._ended])
        for name in names:
            self._ended.setdefault(name, HostRun(name, None, broken(name, {"msg": outcome.output[-_TAIL:]})))

    def _too_many_failed(self) -> bool:
        failed = sum(it.fault is not None for it in self._ended.values())
        return failed * 100 > self._course.max_fail * len(self._ended)

    def _lacks(self, name: str) -> bool:
        """Whether a host must be deployed to before it can run this."""
        ended = self._ended.get(name)
        if not self._course.deploy or ended is None or ended.fault is None:
            return False
        stale, missing = ended.fault.kind is DEPLOY_STALE, ended.fault.kind is AGENT_MISSING
        return stale or (missing and _is_deployed_to(self._hosts[name]))

    def _once_deployed(self, names: Sequence[str]) -> Outcome | None:
        """Bring hosts to their declared state, and run the pipeline on those where that went well."""
        self._watcher.note(f"deploying to {', '.join(names)} first")
        hosts = [self._hosts[name] for name in names]
        deployment = Deployment(self._fleet, hosts, DeployOptions(forks=self._course.forks), self._watcher.note)
        try:
            done = deployment.execute()
        except Fault as fault:
            self._interrupted = self._interrupted or fault.kind is INTERRUPTED
            done = tuple(Deployed(name, fault=fault) for name in names)
        ready = []
        for one in done:
            self._ended.pop(one.host, None)
            if one.fault is None:
                ready.append(one.host)
            else:
                self._end(HostRun(one.host, None, one.fault))
        return self._played("run.yml", ready) if ready else None

    def _played(self, playbook: str, hosts: Sequence[str]) -> Outcome:
        self._play = for_hosts(
            self._fleet,
            playbook,
            {name: self._jobs[name] for name in hosts},
            self._on_event,
            forks=self._course.forks,
            on_tick=self._look,
        )
        if self._interrupted and playbook == "run.yml":
            self._play.interrupt()
        return self._play.run()

    def _stop(self, hosts: Sequence[str]) -> None:
        if not hosts:
            return
        self._watcher.note(f"stopping {', '.join(hosts)}")
        self._played("stop.yml", hosts)
        for name in hosts:
            self._ended.setdefault(name, HostRun(name, None, Fault(INTERRUPTED, "stopped", where=name)))

    def _on_event(self, event: Event) -> None:
        self._began = True
        if event.task == _START:
            self._started(event.host, event.result)
        try:
            status = _status(event.result)
        except ValidationError:
            fault = Fault(STAGE_FAILED, "the host's status is none that this version can read", where=event.host)
            self._end(HostRun(event.host, None, fault))
            return
        if event.kind == "unreachable":
            begun = "" if event.task == _START else "; a run that was under way there may go on"
            self._end(HostRun(event.host, None, unreachable(event.host, event.result, begun)))
        elif status is not None and status.state != "running":
            self._watcher.changed(event.host, status)
            self._end(ended(event.host, status, str(event.result.get("log_tail") or "")))
        elif event.kind == "failed":
            self._end(HostRun(event.host, status, broken(event.host, event.result)))
        elif status is not None:
            self._changed(event.host, status)

    def _started(self, host: str, told: Mapping[str, Any]) -> None:
        if told.get("outdated"):
            what = "what is deployed there is not what is declared"
            self._end(HostRun(host, None, Fault(DEPLOY_STALE, what, where=host)))
            return
        if told.get("joined"):
            self._watcher.note(f"{host}: a run of this pipeline is under way there; following that one")
        self._run_ids[host] = str(told.get("run_id", ""))
        if self._hosts[host].is_here and "status_file" in told:
            self._status_files[host] = Path(told["status_file"])

    def _look(self) -> None:
        """Read the status of runs on this machine directly: finer and cheaper than by the module."""
        for name, file in self._status_files.items():
            if name in self._ended:
                continue
            try:
                status = Status.read(file)
            except (OSError, ValueError):
                continue
            if status.run_id == self._run_ids[name] and status.state == "running":
                self._changed(name, status)

    def _changed(self, host: str, status: Status) -> None:
        if self._seen.get(host) != status.updated:
            self._seen[host] = status.updated
            self._watcher.changed(host, status)

    def _end(self, run: HostRun) -> None:
        self._ended[run.host] = run

    def _pinned(self, run: HostRun) -> HostRun:
        if run.status is None or run.status.public_key is None or run.status.state == "planned":
            return run
        try:
            if pin(self._fleet.inventory.pins, run.host, run.status.public_key):
                self._watcher.note(f"pinned the signing key of {run.host} in {self._fleet.inventory.pins}")
        except Fault as fault:
            return HostRun(run.host, run.status, fault)
        except OSError as error:
            what = f"the host's key cannot be pinned: {error.strerror}"
            return HostRun(run.host, run.status, Fault(CONFIG_INVALID, what, where=str(error.filename)))
        return run


def new_run_id() -> str:
    """Return an id that no other run has: the time and some chance."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def _job(fleet: Fleet, host: FleetHost, pipeline: str, options: Options, course: Course) -> Mapping[str, Any]:
    config = host.sound
    made = pipeline_of(config, pipeline)
    if made.runs_on == "controller":
        what = f"pipeline {pipeline!r} runs on the controller, not on host {host.name}"
        raise Fault(CONFIG_INVALID, what, mend=f"Use: hermes-backup {pipeline}")
    chosen(made, options)
    arguments = [word for it in options.only for word in ("--only", it)]
    arguments += [word for it in options.skip for word in ("--skip", it)]
    arguments += ["--dry-run"] if options.dry_run else []
    arguments += ["--if-changed"] if options.if_changed else []
    return {
        "run_id": options.run_id,
        "host": host.name,
        "pipeline": pipeline,
        "agent": host.means.agent or _own_agent(host),
        "config_dir": host.means.config_dir,
        "state": config.state,
        "config": None if _is_deployed_to(host) else config.model_dump(mode="json"),
        "arguments": arguments,
        "unit": host.means.unit,
        "digest": declared(host, [it.name for it in fleet.hosts]).digest,
        "as_deployed": not course.deploy,
    }


def _is_deployed_to(host: FleetHost) -> bool:
    """Whether the agent and its configuration come by a deployment only: elsewhere somebody else installs it."""
    return host.connection != "local" and not host.means.agent


def _own_agent(host: FleetHost) -> str:
    beside = Path(sys.executable).parent / "hermes-backup"
    return str(beside) if host.connection == "local" and beside.exists() else ""


def _status(result: Mapping[str, Any]) -> Status | None:
    data = result.get("status")
    return Status.model_validate(data) if isinstance(data, Mapping) else None
