"""What a lean copy left out, as a snapshot's list of files tells it, and back."""

from __future__ import annotations

from hermes_backup.home.databases.derived import LeftOut
from hermes_backup.home.databases.lean import Copied
from hermes_backup.home.databases.searching import Search
from hermes_backup.snapshots.remaking import Asked, Remaking


def remakings(copied: Copied) -> tuple[Remaking, ...]:
    """Tell of every full-text table that a copy left out."""
    return tuple(
        Remaking(
            database=copied.facts.name,
            table=it.table,
            create=it.create,
            settings=it.settings,
            insert=it.insert,
            condition=it.condition,
            triggers=it.triggers,
            rows=it.rows,
            searches=tuple(
                Asked(term=one.term, hits=one.hits, sha256=one.sha256)
                for one in copied.searches
                if one.table == it.table
            ),
        )
        for it in copied.left_out
    )


def left_out(told: Remaking) -> LeftOut:
    """Return what can be made again."""
    return LeftOut(told.table, told.create, told.settings, told.insert, told.condition, told.triggers, told.rows)


def searches(told: Remaking) -> tuple[Search, ...]:
    """Return what can be asked again."""
    return tuple(Search(told.table, it.term, it.hits, it.sha256) for it in told.searches)
