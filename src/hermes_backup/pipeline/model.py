"""A pipeline and the rendered configuration of a host, as frozen typed values, made from plain YAML or JSON data.

Everything wrong with the data is found in one pass and reported as problems with the path of each,
so that the loader can add file, line and column.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hermes_backup.pipeline.order import misplaced, unfinished
from hermes_backup.pipeline.settling import settled
from hermes_backup.stages.registry import stages
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.units import Duration

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a configuration: where in the data, what, and what mends it."""

    path: Path
    what: str
    mend: str = ""


class Schedule(BaseModel):
    """When a pipeline runs by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on_calendar: str | None = None
    """A systemd calendar expression, such as ``*-*-* 03:30:00``."""
    every: Duration | None = None
    """An interval, such as ``15m``."""
    randomized_delay: Duration | None = None
    """At most so much later, so that not all hosts start together."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Schedule:
        if (self.on_calendar is None) == (self.every is None):
            raise ValueError("give either on_calendar or every")
        return self


@dataclass(frozen=True)
class Pipeline:
    """An ordered list of stages that fit together, as they run; ``overruled`` tells what was declared otherwise."""

    name: str
    stages: tuple[Stage, ...]
    schedule: Schedule | None = None
    runs_on: Literal["host", "controller"] = "host"
    if_changed: bool = False
    overruled: tuple[str, ...] = ()


class _Settings(BaseModel):
    """The settings of a pipeline beside its stages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stages: list[Any] = Field(min_length=1)
    schedule: Schedule | None = None
    runs_on: Literal["host", "controller"] = "host"
    if_changed: bool = False


def parse_pipeline(name: str, data: Any) -> Pipeline | tuple[Problem, ...]:
    """Make a pipeline of plain data, or say everything that is wrong with it."""
    if not isinstance(data, Mapping):
        return (Problem((), "a pipeline is a mapping with a list of stages"),)
    try:
        settings = _Settings.model_validate(data)
    except ValidationError as error:
        return tuple(explain(error, _Settings))
    made: list[Stage] = []
    problems: list[Problem] = []
    for position, item in enumerate(settings.stages):
        stage = parse_stage(item)
        if isinstance(stage, Stage):
            made.append(stage)
        else:
            problems += [Problem(("stages", position, *it.path), it.what, it.mend) for it in stage]
    if problems:
        return tuple(problems)
    wrong = misplaced(made) or unfinished(made)
    if wrong is not None:
        return (Problem(("stages", wrong.position), wrong.what, wrong.mend),)
    stages, overruled = settled(made)
    return Pipeline(name, stages, settings.schedule, settings.runs_on, settings.if_changed, overruled)


def parse_stage(item: Any) -> Stage | tuple[Problem, ...]:
    """Make a stage of ``{name: settings}``, ``{name: null}`` or ``name``, or say what is wrong with it."""
    if isinstance(item, str):
        item = {item: None}
    if not isinstance(item, Mapping) or len(item) != 1:
        return (Problem((), "a stage is one name with its settings, such as `- push: {to: [...]}`"),)
    (name, settings), *_ = item.items()
    kind = stages().get(str(name))
    if kind is None:
        return (Problem((str(name),), f"there is no stage {name!r}", nearest(str(name), stages())),)
    if settings is not None and not isinstance(settings, Mapping):
        return (Problem((str(name),), f"the settings of {name} are a mapping"),)
    try:
        return kind.model_validate(settings or {})
    except ValidationError as error:
        return tuple(Problem((str(name), *it.path), it.what, it.mend) for it in explain(error, kind))


def explain(error: ValidationError, model: type[BaseModel]) -> Iterable[Problem]:
    """Say pydantic's findings in our words, with the nearest valid name for an unknown key."""
    for item in error.errors():
        path = tuple(item["loc"])
        if item["type"] == "extra_forbidden":
            yield Problem(path, f"unknown setting {path[-1]!r}", nearest(str(path[-1]), _fields(model, path[:-1])))
        elif item["type"] == "missing":
            yield Problem(path[:-1], f"{path[-1]!r} is missing", f"add {path[-1]}: …")
        else:
            yield Problem(path, item["msg"].removeprefix("Value error, "))


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the mend for a misspelt name: the nearest valid one, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"


def _fields(model: type[BaseModel], path: Sequence[str | int]) -> Iterable[str]:
    for key in path:
        field = model.model_fields.get(str(key))
        kinds = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner = [it for it in kinds if isinstance(it, type) and issubclass(it, BaseModel)]
        if not inner:
            return []
        model = inner[0]
    return model.model_fields
