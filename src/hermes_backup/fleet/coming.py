"""A home that comes and goes with its host: what that needs, and what the role backup_snapshot is told of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.pipeline.model import Problem
from hermes_backup.stages.archive import Archive
from hermes_backup.stages.encrypt import Encrypt

if TYPE_CHECKING:
    from hermes_backup.fleet.means import Means
    from hermes_backup.pipeline.config import HostConfig

PIPELINE = "snapshot"
_MEND = "Declare it as in docs/containers.md; without hermes_backup_agent_unit the home stays on its host."
_SHORTEST = 60
_USER = re.compile(r"(?:\w[\w.-]*)?", re.ASCII)
_BRINGING = 3000  # seconds to fetch, decrypt and prove an image


@dataclass(frozen=True)
class Coming:
    """A home that is brought before ``agent_unit`` starts, and saved when it ended; times are in seconds."""

    agent_unit: str
    pipeline: str
    lease: int
    start_timeout: int


def coming(config: HostConfig, means: Means) -> Coming | None:
    """Return how the home of a sound host comes and goes; None where it stays."""
    schedule = pipeline_of(config, PIPELINE).schedule if means.agent_unit else None
    if schedule is None or schedule.every is None:
        return None
    between = schedule.every + (schedule.randomized_delay or timedelta())
    lease = max(_SHORTEST, int(between.total_seconds() * 8 / 3))  # renewed by each snapshot; one may fail
    return Coming(means.agent_unit, PIPELINE, lease, lease + _BRINGING)


def unfit(config: HostConfig, means: Means) -> Iterator[Problem]:
    """Find what keeps a home from coming and going where that is declared."""
    if not means.agent_unit:
        return
    yield from _unfit_agent(means)
    if _USER.fullmatch(config.owner) is None:
        what = f"{config.owner!r} is no name of a user, and hermes_backup_agent_unit needs one"
        yield Problem(("owner",), what, "Name the user who runs Hermes Agent, such as hermes.")
    if not config.home.startswith("/") or not config.home.isprintable() or set(config.home) & set('"\\$'):
        what = f"{config.home!r} is no absolute path that a unit can name, and hermes_backup_agent_unit needs one"
        yield Problem(("home",), what, "Write it in full, such as /home/hermes/.hermes.")
    if PIPELINE not in config.pipelines:
        yield Problem(("agent_unit",), f"there is no pipeline {PIPELINE!r} that the home could come from", _MEND)
        return
    made = pipeline_of(config, PIPELINE)
    needs = {
        "schedule: {every: …}": made.schedule is not None and made.schedule.every is not None,
        "archive: {format: squashfs}": any(isinstance(it, Archive) and it.format == "squashfs" for it in made.stages),
        "encrypt: {passphrase_credential: …}": not any(isinstance(it, Encrypt) and it.recipients for it in made.stages),
    }
    for setting, is_there in needs.items():
        if not is_there:
            yield Problem(
                ("agent_unit",), f"pipeline {PIPELINE!r} needs `{setting}` for a home that comes and goes", _MEND
            )


def _unfit_agent(means: Means) -> Iterator[Problem]:
    """Find what is a service, and yet runs no Hermes Agent."""
    if means.agent_unit.endswith("@.service"):
        what = f"{means.agent_unit!r} is a template, and starts nothing by itself"
        yield Problem(("agent_unit",), what, "Name an instance of it, such as hermes-gateway@work.service.")
    if means.agent_unit.startswith(tuple(f"{means.unit}{it}@" for it in ("", "-home", "-alarm"))):
        what = f"{means.agent_unit!r} is a unit of hermes-backup itself, and runs no Hermes Agent"
        yield Problem(("agent_unit",), what, "Name the service that runs Hermes Agent, such as hermes-gateway.service.")
