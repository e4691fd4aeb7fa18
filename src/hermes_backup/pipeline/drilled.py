"""Which pipelines are drills, whose snapshots each brings back, and where it says how that went: decided here alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from hermes_backup.pipeline.model import Pipeline, Problem, nearest
from hermes_backup.stages.extract import Extract
from hermes_backup.stages.fetch import Fetch
from hermes_backup.stages.push import Push
from hermes_backup.stages.store import Store
from hermes_backup.stages.things import Report


def makes_snapshots(pipeline: Pipeline) -> bool:
    """Whether a pipeline ends in a snapshot somewhere."""
    return any(isinstance(it, (Push, Store)) for it in pipeline.stages)


def is_drill(pipeline: Pipeline) -> bool:
    """Whether a pipeline fetches a snapshot on the trusted machine, and reports on it."""
    fetches = isinstance(pipeline.stages[0], Fetch)
    return pipeline.runs_on == "controller" and fetches and pipeline.stages[-1].gives is Report


def fetch_of(drill: Pipeline) -> Fetch:
    """Return the stage that a drill begins with.

    Raises:
        TypeError: the pipeline is no drill.
    """
    first = drill.stages[0]
    if not isinstance(first, Fetch):
        raise TypeError(f"pipeline {drill.name} is no drill")
    return first


def drilled(drill: Pipeline, pipelines: Mapping[str, Pipeline]) -> str:
    """Return the name of the pipeline whose snapshots a drill brings back; empty when there is none.

    It is the one that ``fetch`` names, else the first that sends snapshots to where ``fetch`` gets them, else the
    first that makes any.
    """
    fetch = fetch_of(drill)
    if fetch.pipeline:
        return fetch.pipeline
    made = [it for it in pipelines.values() if makes_snapshots(it)]
    there = [it for it in made if any(isinstance(one, Push) and fetch.source in one.to for one in it.stages)]
    return next((it.name for it in (*there, *made)), "")


def status_file(drills: Path, host: str, drill: str) -> Path:
    """Return where the status of a host's last drill lies."""
    return drills / host / drill / "status.json"


def passed_file(status: Path) -> Path:
    """Return where the status of the last drill that passed lies, beside that of the last one."""
    return status.with_name("passed.json")


def unsound(pipelines: Mapping[str, Pipeline]) -> Iterator[Problem]:
    """Find each ``fetch`` of what no pipeline makes, and each drill that would bring back less than everything."""
    made = [it.name for it in pipelines.values() if makes_snapshots(it)]
    for pipeline in pipelines.values():
        for position, stage in enumerate(pipeline.stages):
            if isinstance(stage, Extract) and stage.only and is_drill(pipeline):
                path = ("pipelines", pipeline.name, "stages", position, Extract.name, "only")
                yield Problem(
                    path, "a drill brings everything back", "Leave it out; restore --path brings single files."
                )
            if isinstance(stage, Fetch) and stage.pipeline and stage.pipeline not in made:
                path = ("pipelines", pipeline.name, "stages", position, Fetch.name, "pipeline")
                yield Problem(path, f"no pipeline {stage.pipeline!r} makes snapshots", nearest(stage.pipeline, made))
