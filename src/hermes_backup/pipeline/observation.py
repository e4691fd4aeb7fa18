"""A look at every place of a pipeline from the trusted machine, and what this machine keeps in mind of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hermes_backup.errors import Fault, from_system
from hermes_backup.pipeline.cadence import pace
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.lock import locked
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.places import places_of
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.sightings import Sightings
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.stages.expire import Stock, look, read_all


@dataclass(frozen=True)
class Observation:
    """What was seen.

    Attributes:
        stocks: what each place holds that could be read.
        faults: why the others could not.
        seen: when each snapshot was first seen.
        notice: what is to be said where there was nothing to go by.
        complete: every place of the pipeline was read.
    """

    stocks: tuple[Stock, ...]
    faults: tuple[Fault, ...]
    seen: Sightings
    notice: str
    complete: bool

    def suspects(self, stock: Stock, now: datetime) -> dict[SnapshotName, str]:
        """Return the snapshots of a place that do not count, each with the reason."""
        found = {it[0]: self.seen.of(it, now) for it in stock.shown}
        return {name: it.why for name, it in found.items() if it.standing == "suspect"}


def memory_file(history: Path, host: str, pipeline: str) -> Path:
    """Return where this machine keeps what it has seen of a pipeline."""
    return history / host / f"{pipeline}.json"


@contextmanager
def observed(
    config: HostConfig,
    pipeline: Pipeline,
    pinned: Pinned,
    history: Path,
    now: datetime,
    *,
    source: str = "",
    dry_run: bool = False,
) -> Iterator[Observation]:
    """Look at every place, or at ``source``; keep that in mind unless ``dry_run``, and hold the lock of it meanwhile.

    Raises:
        Fault: LOCKED, PRUNE_CLOCK; STAGE_FAILED or DISK_FULL, it cannot be kept in mind.
    """
    path = memory_file(history, config.host, pipeline.name)
    with ExitStack() as held:
        if not dry_run:
            _lock(path, held)
        before, notice = Sightings.recall(path, pinned.fingerprint)
        places = places_of(config, pipeline, source)
        stocks, faults = read_all(places, config.host, pipeline.name, pinned)
        complete = not source and not faults
        seen = look(before, stocks, now, pace(pipeline.schedule), path, complete=complete)
        if not dry_run:
            keep(seen, path)
        yield Observation(stocks, faults, seen, notice, complete)


def keep(seen: Sightings, path: Path) -> None:
    """Keep in mind what was seen.

    Raises:
        Fault: STAGE_FAILED, DISK_FULL.
    """
    try:
        seen.write(path)
    except OSError as error:
        raise from_system(error, str(path)) from None


def _lock(path: Path, held: ExitStack) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        held.enter_context(locked(path.with_suffix(".lock")))
    except OSError as error:
        raise from_system(error, str(path.parent)) from None
