"""A place thinned out by who has not looked at it before: everything that its host signed counts as it says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from hermes_backup.pipeline.cadence import pace
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.prune_journal import PruneJournal
from hermes_backup.snapshots.retention import Rules
from hermes_backup.snapshots.sightings import Sightings
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.stages import expire
from hermes_backup.stages.expire import Thinned


def thin(
    place: Place,
    whose: tuple[str, str],
    rules: Rules,
    pin: Pinned,
    now: datetime,
    journal: PruneJournal,
    *,
    dry_run: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Thinned:
    stocks, faults = expire.read_all([place], *whose, pin)
    for fault in faults:
        raise fault
    (stock,) = stocks
    seen = expire.look(
        Sightings(fingerprint=pin.fingerprint), [stock], now, pace(None), Path("/nowhere"), complete=True
    )
    return expire.thin(stock, seen, rules, now, journal, dry_run=dry_run, tell=tell)
