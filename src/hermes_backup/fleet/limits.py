"""What a pipeline may need, held against what systemd allows its runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.pipeline.model import Problem
from hermes_backup.stages.archive import Archive
from hermes_backup.stages.units import parse_size

if TYPE_CHECKING:
    from hermes_backup.fleet.means import Means
    from hermes_backup.pipeline.config import HostConfig


def beyond(config: HostConfig, means: Means) -> Iterator[Problem]:
    """Find deltas that may take more memory than a run is given: it would be killed."""
    try:
        given = parse_size(means.memory_max)
    except ValueError:
        return  # a share of the machine's memory, or no limit
    for name in config.pipelines:
        for number, stage in enumerate(pipeline_of(config, name).stages):
            if isinstance(stage, Archive) and stage.delta is not None and stage.delta.memory >= given:
                path = ("pipelines", name, "stages", number, "archive", "delta", "memory")
                what = f"a delta may take all that hermes_backup_memory_max gives, which is {means.memory_max}"
                yield Problem(path, what, "Raise hermes_backup_memory_max to twice as much, or lower this.")
