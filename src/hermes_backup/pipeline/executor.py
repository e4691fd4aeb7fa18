"""The one executor: it runs the stages of a pipeline in order, and cleans up however they end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from hermes_backup.errors import Fault
from hermes_backup.stages.context import Context, Listener
from hermes_backup.stages.destination import Destination, deliver
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Snapshot


class Follower(Listener, Protocol):
    """A listener that is told when a stage begins, too."""

    def stage(self, name: str) -> None:
        """A stage begins."""


def execute(stages: Sequence[Stage], start: Any, context: Context, follower: Follower) -> Any:
    """Examine everything, run the stages in order, and return what the last one gives.

    Stages that only describe a stream run when a later one pulls; destinations that stand together share one pass.

    Raises:
        Fault: the first stage that failed; KeyboardInterrupt. Children are gone then, and what was to follow is done.
    """
    teardown = context.teardown
    try:
        preflight(stages, context)
        value = start
        for together, group in itertools.groupby(stages, key=lambda it: isinstance(it, Destination)):
            value = (_deliver if together else _each)(list(group), value, context, follower)
        teardown.home_released.close()
        for call in teardown.succeeded:
            call()
    except BaseException:
        _run_all(teardown.failed, context)
        raise
    else:
        return value
    finally:
        _run_all([teardown.home_released.close, teardown.always.close], context)


def preflight(stages: Sequence[Stage], context: Context) -> None:
    """Examine everything that can be known before any work.

    Raises:
        Fault: the first stage that could not do its job.
    """
    for stage in stages:
        with naming(stage.name):
            stage.preflight(context)


def _each(stages: Sequence[Stage], value: Any, context: Context, follower: Follower) -> Any:
    for stage in stages:
        if isinstance(value, Snapshot) and value.unchanged and Snapshot not in stage.takes:
            continue  # the home was found to be the same before this stage had any work
        follower.stage(stage.name)
        with naming(stage.name):
            value = stage.run(value, context)
    return value


def _deliver(stages: Sequence[Stage], value: Any, context: Context, follower: Follower) -> Any:
    names = "+".join(dict.fromkeys(stage.name for stage in stages))
    follower.stage(names)
    with naming(names):
        return deliver([it for it in stages if isinstance(it, Destination)], value, context)


def _run_all(calls: Sequence[Any], context: Context) -> None:
    """Clean up; what goes wrong here is told, and does not hide the first cause."""
    for call in calls:
        try:
            call()
        except Exception as error:
            context.listener.warn(getattr(error, "where", "") or "teardown", str(error))


@contextmanager
def naming(stage: str) -> Iterator[None]:
    """Add the stage's name to a fault that does not say where it happened."""
    try:
        yield
    except Fault as fault:
        if not fault.where:
            fault.where = stage
        raise
