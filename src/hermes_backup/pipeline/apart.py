"""What a backup writes lies outside of the home: inside it, every snapshot would hold those before it, and the keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.errors import CONFIG_INVALID, Fault
from hermes_backup.stages.destination import Destination
from hermes_backup.stages.stage import Stage


@dataclass(frozen=True)
class Inside:
    """A folder that a backup writes to, in the home that it saves; ``position`` is its stage's, None the state's."""

    position: int | None
    what: str
    mend: str


def inside(
    home: str, state: str, stages: Sequence[Stage], spelled: Callable[[str], str] = os.path.normpath
) -> Iterator[Inside]:
    """Find what a pipeline that archives a home writes into it; ``spelled`` gives the one spelling of a path."""
    if not stages or not stages[0].takes:
        return
    real = Path(spelled(home))
    written: list[tuple[int | None, str]] = [(None, state)]
    for position, stage in enumerate(stages):
        written += [(position, it) for it in (stage.addresses if isinstance(stage, Destination) else ())]
    for stage_at, address in written:
        if address.startswith("/") and Path(spelled(address)).is_relative_to(real):
            who = "state" if stage_at is None else stages[stage_at].name
            mend = f"Let {who} write to a folder outside of the home."
            if stage_at is None:
                mend = "Set hermes_backup_state to a folder outside of the home."
            yield Inside(stage_at, f"{who} lies in the home that is saved: {address}", mend)


def require_apart(home: Path, state: Path, stages: Sequence[Stage]) -> None:
    """Make sure that a run writes nothing into the home that it reads, whatever links lead there.

    Raises:
        Fault: CONFIG_INVALID.
    """
    for found in inside(str(home), str(state), stages, _real):
        raise Fault(CONFIG_INVALID, found.what, where=str(home), mend=found.mend)


def _real(path: str) -> str:
    """Follow links; one that somebody changes meanwhile is refused where the home is opened."""
    try:
        return os.path.realpath(path)
    except OSError:
        return os.path.normpath(path)
