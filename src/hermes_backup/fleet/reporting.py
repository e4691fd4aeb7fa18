"""The hosts of a fleet asked how their backups are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from hermes_backup.fleet.asking import ask
from hermes_backup.fleet.masking import masked_status
from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.pipeline.reported import Deployed, HostWord, LastRun, PipelineWord, UnitRun
from hermes_backup.pipeline.status import Status

if TYPE_CHECKING:
    from hermes_backup.errors import Fault
    from hermes_backup.fleet.render import Fleet, FleetHost


def ask_hosts(fleet: Fleet, hosts: Sequence[FleetHost]) -> Mapping[str, HostWord | Fault]:
    """Return what each host says, or why it says nothing.

    Raises:
        Fault: as :func:`hermes_backup.fleet.asking.ask`.
    """
    secrets = {host.name: host.secrets for host in hosts}

    def word(host: str, result: Mapping[str, Any]) -> HostWord:
        return _word(host, result, secrets[host])

    return ask(fleet, "report.yml", {host.name: _question(host) for host in hosts}, word)


def _question(host: FleetHost) -> Mapping[str, Any]:
    config = host.sound
    names = [name for name in config.pipelines if pipeline_of(config, name).runs_on == "host"]
    where = {"state": config.state, "config_dir": host.means.config_dir, "unit": host.means.unit}
    return {"host": host.name, "pipelines": names, **where}


def _word(host: str, result: Mapping[str, Any], secrets: Sequence[str]) -> HostWord:
    pipelines = tuple(_pipeline(name, said, secrets) for name, said in result["runs"].items())
    return HostWord(host, pipelines, _deployed(result["deployed"]), bool(result["systemd"]))


def _pipeline(name: str, said: Mapping[str, Any], secrets: Sequence[str]) -> PipelineWord:
    last, problem = None, str(said["problem"])
    if said["status"] is not None:
        try:
            status = masked_status(Status.model_validate(said["status"]), secrets)
        except ValidationError:
            problem = "its status is none that this version can read"
        else:
            counts = said["counts"]
            last = LastRun(status, bool(said["alive"]), int(counts["partial"]), int(counts["warnings"]))
    unit = said["unit"]
    ran = UnitRun(str(unit["invocation"]), _time(unit["began"]), str(unit["active"]), str(unit["result"]))
    return PipelineWord(name, last, problem, ran if ran.invocation else None, _time(said["next"]))


def _deployed(said: Mapping[str, Any] | None) -> Deployed | None:
    """Return what was deployed; a file that holds nothing of it is a deployment of something else."""
    if said is None:
        return None
    try:
        at = _time(str(said.get("at") or ""))
    except ValueError:
        at = None
    return Deployed(str(said.get("digest") or ""), str(said.get("version") or ""), at)


def _time(text: str | None) -> datetime | None:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
    return moment if moment is None or moment.tzinfo is not None else moment.astimezone()
