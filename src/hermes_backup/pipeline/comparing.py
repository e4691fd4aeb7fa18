"""What a restore would change on this host: read, and nothing written."""

from __future__ import annotations

from hermes_backup.home.against import against
from hermes_backup.home.printable import printable
from hermes_backup.pipeline.agent import rules_of
from hermes_backup.pipeline.handover import Compared, Handover
from hermes_backup.pipeline.replacing import home_to_restore
from hermes_backup.stages.selecting import is_within, narrowed, outermost, select


def compare(handover: Handover) -> Compared:
    """Compare this host's home with the files and row counts of a snapshot.

    Raises:
        Fault: HOME_MISSING, HOME_AMBIGUOUS, HOME_UNREADABLE, PATH_MISSING.
    """
    config = handover.config
    home = home_to_restore(config, handover.manifest.pipeline)
    members, manifest = handover.members, handover.manifest
    only = handover.wanted.only
    if only:
        members = select(members, only).members
        manifest = narrowed(manifest, members)
    shown = tuple(map(printable, outermost(only)))
    seen = against(home, rules_of(config), members, {it.path: it.tables for it in manifest.databases})
    return Compared(
        home=printable(str(home)),
        added=seen.added,
        changed=seen.changed,
        removed=tuple(it for it in seen.removed if not only or is_within(it, shown)),
        rows=seen.rows,
        unknown=seen.unknown,
        partial=manifest.partial,
    )
