"""Where a glance may stand in a pipeline: after what may write to the home, before what reads it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from hermes_backup.pipeline.glancing import Glance, with_glance
from hermes_backup.pipeline.model import Pipeline, parse_pipeline
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Home

BEFORE = {"command": {"before": ["pg_dump"]}}
STOP = "service"
STORE = {"store": {"path": "/srv/a"}}
PUSH = {"push": {"to": ["/srv/b"], "unencrypted": True}}
PRUNE = {"prune": {"keep_last": 1}}


class Theirs(Stage):
    """What another package adds: nobody knows what it does."""

    name: ClassVar[str] = "theirs"
    takes: ClassVar[tuple[type, ...]] = (Home,)
    gives: ClassVar[type] = Home

    def run(self, value: Any, context: Any) -> Any:
        del context
        return value


def stages(*declared: Any) -> tuple[Stage, ...]:
    made = parse_pipeline("nightly", {"stages": list(declared)})
    assert isinstance(made, Pipeline), made
    return made.stages


def words(made: tuple[Stage, ...]) -> list[str]:
    return [
        ("look" if it.decides else "") + ("take" if it.remembers else "") if isinstance(it, Glance) else it.name
        for it in made
    ]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (["sqlite", "archive", STORE], ["looktake", "sqlite", "archive", "store"]),
        (["archive", STORE, PUSH, PRUNE], ["looktake", "archive", "store", "push", "prune"]),
        ([BEFORE, "sqlite", "archive", STORE], ["command", "looktake", "sqlite", "archive", "store"]),
        ([STOP, "sqlite", "archive", STORE], ["look", "service", "take", "sqlite", "archive", "store"]),
        ([STOP, BEFORE, "archive", STORE], ["service", "command", "looktake", "archive", "store"]),
        ([BEFORE, STOP, "archive", STORE], ["command", "look", "service", "take", "archive", "store"]),
        (["sqlite", BEFORE, "archive", STORE], ["sqlite", "command", "archive", "store"]),
        (["sqlite", STOP, "archive", STORE], ["looktake", "sqlite", "service", "archive", "store"]),
    ],
)
def test_where_it_stands(declared: list[Any], expected: list[str]) -> None:
    assert words(with_glance(stages(*declared), trusting=True)) == expected


def test_without_trust_it_only_remembers() -> None:
    assert words(with_glance(stages(STOP, "archive", STORE), trusting=False)) == ["service", "take", "archive", "store"]
    assert words(with_glance(stages("archive", STORE), trusting=False)) == ["take", "archive", "store"]


def test_only_the_places_that_stand_together_decide() -> None:
    made = with_glance(stages("archive", STORE, PUSH, PRUNE), trusting=True)
    (glance,) = [it for it in made if isinstance(it, Glance)]
    assert [it.name for it in glance.destinations] == ["store", "push"]
    made = with_glance(stages("archive", STORE, PRUNE, PUSH), trusting=True)
    (glance,) = [it for it in made if isinstance(it, Glance)]
    assert [it.name for it in glance.destinations] == ["store"]


@pytest.mark.parametrize("at", [0, 1])
def test_there_is_none_around_a_stage_that_nobody_knows(at: int) -> None:
    made = stages("sqlite", "archive", STORE)
    theirs = (*made[:at], Theirs(), *made[at:])
    assert with_glance(theirs, trusting=True) == theirs


@pytest.mark.parametrize("declared", [["archive"], ["sqlite"], [BEFORE]])
def test_there_is_none_where_nothing_is_stored(declared: list[Any]) -> None:
    from hermes_backup.stages.registry import stages as known

    made = tuple(
        known()[it].model_validate({}) if isinstance(it, str) else stages(it, "archive", STORE)[0] for it in declared
    )
    assert with_glance(made, trusting=True) == made
