"""The databases of a home: find them, copy them while they are in use, know what is in them."""

from __future__ import annotations

from hermes_backup.home.copying import copy
from hermes_backup.home.facts import DatabaseBroken, DatabaseFacts, facts
from hermes_backup.home.finding import Found, find
from hermes_backup.home.holders import Holder, holders, split_brain

__all__ = [
    "DatabaseBroken",
    "DatabaseFacts",
    "Found",
    "Holder",
    "copy",
    "facts",
    "find",
    "holders",
    "split_brain",
]
