"""The type check of a pipeline: does each stage get what it takes?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hermes_backup.stages.destination import Destination
from hermes_backup.stages.push import Push
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.stream import Stream
from hermes_backup.stages.things import Home


@dataclass(frozen=True)
class Misplaced:
    """A stage that stands where its input is not made."""

    position: int
    what: str
    mend: str


def misplaced(stages: Sequence[Stage]) -> Misplaced | None:
    """Return the first stage that cannot work where it stands; a pipeline starts from the home or from nothing."""
    have: type | None = Home
    for position, stage in enumerate(stages):
        if position == 0 and not stage.takes:
            have = None
        if (stage.takes and have not in stage.takes) or (not stage.takes and position):
            return Misplaced(position, _complaint(stage, have, position), _mend(stage, position, stages))
        have = stage.gives
    return _unsealed(stages) or _repeated(stages)


def unfinished(stages: Sequence[Stage]) -> Misplaced | None:
    """Return a complaint about a pipeline that archives a home and puts the archive nowhere."""
    if stages and stages[-1].gives is Stream:
        what = "the pipeline ends with a stream that nobody stores"
        return Misplaced(len(stages) - 1, what, "end it with store or push")
    return None


def _unsealed(stages: Sequence[Stage]) -> Misplaced | None:
    """A home that leaves the host unencrypted is refused, unless its push says in so many words that it may."""
    sealed = True
    for position, stage in enumerate(stages):
        sealed = stage.name != "archive" and (sealed or stage.name == "encrypt")
        if isinstance(stage, Push) and not sealed and not stage.unencrypted:
            what = "push would send the archive unencrypted"
            return Misplaced(position, what, "put encrypt before it, or say push: {unencrypted: true}")
    return None


def _repeated(stages: Sequence[Stage]) -> Misplaced | None:
    """A place that is written twice in one run would take back with the second what it holds of the first."""
    seen: set[str] = set()
    for position, stage in enumerate(stages):
        places = set(stage.addresses) if isinstance(stage, Destination) else set()
        if twice := seen & places:
            what = f"{min(twice)} gets the snapshot from a stage before, too"
            return Misplaced(position, what, "name each place once in a pipeline")
        seen |= places
    return None


def _complaint(stage: Stage, have: type | None, position: int) -> str:
    if not stage.takes:
        return f"{stage.name} starts a pipeline, so it cannot follow another stage"
    wanted = " or a ".join(kind.__name__ for kind in stage.takes)
    offered = "the pipeline starts with" if position == 0 else "the stage before gives"
    return f"{stage.name} takes a {wanted}, but {offered} a {have.__name__ if have else 'nothing'}"


def _mend(stage: Stage, position: int, stages: Sequence[Stage]) -> str:
    if not stage.takes:
        return f"put {stage.name} first"
    for later in stages[position + 1 :]:
        if later.gives in stage.takes:
            return f"put {stage.name} after {later.name}"
    if any(earlier.gives in stage.takes for earlier in stages[:position]) or Home in stage.takes:
        return f"put {stage.name} earlier"
    makers = {"Stream": "archive", "Snapshot": "store or push", "Tree": "extract", "Report": "check"}
    return f"put {makers.get(stage.takes[0].__name__, 'a stage that makes it')} before {stage.name}"
