"""What the product asks of a held folder, asked of a path: the folder is held meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hermes_backup.home import marks, selection, timekeeping
from hermes_backup.home.databases import finding
from hermes_backup.home.databases.finding import Found
from hermes_backup.home.marks import Marks
from hermes_backup.home.root import open_home
from hermes_backup.home.selection import Rules, Selection


def select(root: Path, rules: Rules) -> Selection:
    with open_home(root) as held:
        return selection.select(held, rules)


def find(root: Path, chosen: Selection) -> tuple[Found, ...]:
    with open_home(root) as held:
        return finding.find(held, chosen)


def take(root: Path, chosen: Selection, databases: Iterable[bytes]) -> Marks:
    with open_home(root) as held:
        return marks.take(held, chosen, databases)


def untold(root: Path, chosen: Selection) -> str:
    with open_home(root) as held:
        return timekeeping.untold(held, chosen)
