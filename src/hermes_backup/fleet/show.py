"""What is in force for a host, every default filled in and every secret masked, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hermes_backup.fleet.masking import mask
from hermes_backup.home.layout import DEFAULT_EXCLUDES
from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.stages.arguments import MASK

if TYPE_CHECKING:
    from hermes_backup.fleet.render import FleetHost
    from hermes_backup.pipeline.model import Pipeline


def effective(host: FleetHost, pipeline: str = "") -> Mapping[str, Any]:
    """Return the settings and pipelines of a host, or only those of one pipeline.

    Raises:
        Fault: PIPELINE_MISSING.
    """
    config = host.sound
    names = [pipeline] if pipeline else list(config.pipelines)
    pipelines = {name: _pipeline(pipeline_of(config, name)) for name in names}
    settings = config.model_dump(mode="json", exclude={"version", "host", "public_keys", "pipelines"})
    if config.exclude is None:
        settings["exclude"] = list(DEFAULT_EXCLUDES)
    means = host.means.model_dump(mode="json")
    means.update(credentials=dict.fromkeys(means["credentials"], MASK), notify=[MASK for _ in means["notify"]])
    beside = {**means, "public_keys": len(config.public_keys)}
    data = {"host": host.name, **({} if pipeline else {**settings, **beside}), "pipelines": pipelines}
    masked: Mapping[str, Any] = mask(data, host.secrets)
    return masked


def _pipeline(pipeline: Pipeline) -> Mapping[str, Any]:
    schedule = None if pipeline.schedule is None else pipeline.schedule.model_dump(mode="json", exclude_none=True)
    return {
        "schedule": schedule,
        "runs_on": pipeline.runs_on,
        "if_changed": pipeline.if_changed,
        "stages": [{it.name: it.model_dump(mode="json", by_alias=True) or None} for it in pipeline.stages],
    }
