"""What the last run of a pipeline said on its host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hermes_backup.errors import LOG_MISSING, Fault
from hermes_backup.fleet.asking import ask
from hermes_backup.fleet.masking import masked_text
from hermes_backup.pipeline.config import pipeline_of

if TYPE_CHECKING:
    from hermes_backup.fleet.render import Fleet, FleetHost


@dataclass(frozen=True)
class Journal:
    """What a run said, oldest first.

    Attributes:
        source: the unit whose journal it is, or the folder whose files.
        silent: runs that began later and left nothing.
    """

    run_id: str
    source: str
    silent: tuple[str, ...]
    lines: tuple[str, ...]


def last_journal(fleet: Fleet, host: FleetHost, pipeline: str, lines: int) -> Journal:
    """Return at most so many lines, the last ones, of what the last run of a pipeline said.

    Raises:
        Fault: PIPELINE_MISSING, LOG_MISSING, HOST_UNREACHABLE, and as :func:`hermes_backup.fleet.asking.ask`.
    """
    config = host.sound
    if pipeline_of(config, pipeline).runs_on == "controller":
        raise Fault(LOG_MISSING, f"pipeline {pipeline} runs on this machine, not on host {host.name}")
    where = {"state": config.state, "unit": host.means.unit}
    question = {"host": host.name, "pipeline": pipeline, "lines": lines, **where}
    answer = ask(fleet, "logs.yml", {host.name: question}, _journal)[host.name]
    if isinstance(answer, Fault):
        raise answer
    return replace(answer, lines=tuple(masked_text(it, host.secrets) for it in answer.lines))


def _journal(host: str, result: Mapping[str, Any]) -> Journal:
    del host
    return Journal(
        run_id=str(result["run_id"]),
        source=str(result["source"]),
        silent=tuple(map(str, result["silent"])),
        lines=tuple(map(str, result["lines"])),
    )
