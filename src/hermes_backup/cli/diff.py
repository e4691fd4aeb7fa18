"""``hermes-backup diff``: what the agent learned or forgot between two snapshots, and what else changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_backup.cli.opening import HOST, INVENTORY, JSON, PIPELINE, SOURCE, open_shelf
from hermes_backup.cli.progress import Narrator, progress_bar

if TYPE_CHECKING:
    from hermes_backup.pipeline.learning import TextDifference
    from hermes_backup.pipeline.looking import Look
    from hermes_backup.snapshots.differences import DatabaseChange, Difference


@dataclass(frozen=True)
class Differing:
    """Two snapshots side by side; ``texts`` are None where no content was wanted."""

    older: Look
    newer: Look
    files: Difference
    databases: tuple[DatabaseChange, ...]
    texts: tuple[TextDifference, ...] | None


def diff(
    inventory: Annotated[str, INVENTORY],
    host: Annotated[str, HOST],
    a: Annotated[str, typer.Argument(help="The older one: a number, a name, a time; none: the one before B.")] = "",
    b: Annotated[str, typer.Argument(help="The newer one, as SNAPSHOT for ls.")] = "latest",
    content: Annotated[
        bool, typer.Option("--content/--no-content", help="Fetch both snapshots to compare memories and skills.")
    ] = True,
    everything: Annotated[bool, typer.Option("--all", help="Name every file, however many.")] = False,
    pipeline: Annotated[str, PIPELINE] = "",
    source: Annotated[str, SOURCE] = "",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Compare two snapshots: memories and skills as text, databases by their rows, the rest by its hashes."""
    from hermes_backup.cli.differing import shown
    from hermes_backup.cli.screen import console, print_json, warn
    from hermes_backup.pipeline.learning import lessons, told
    from hermes_backup.snapshots.differences import compare, compare_databases

    with open_shelf(inventory, host, pipeline, source) as shelf, progress_bar(quiet=as_json) as tell:
        narrator = Narrator(tell)
        newer = shelf.choose(b, narrator)
        older = shelf.choose(a, narrator) if a else shelf.before(newer[1].name, narrator)
        before, after = shelf.look([older, newer], narrator)
        files = compare(before.members, after.members)
        rows = compare_databases(before.manifest.databases, after.manifest.databases)
        learned = lessons(files)
        texts = told(learned, shelf.source(before), shelf.source(after), narrator) if content else None
    warn(narrator.warnings)
    seen = Differing(before, after, files, rows, texts)
    if as_json:
        print_json(_as_data(seen))
        return
    screen = console()
    head = f"{host}/{shelf.pipeline.name}: {before.name} to {after.name}"
    screen.print(head, style="bold", markup=False, soft_wrap=True)
    screen.print(shown(seen, everything=everything), soft_wrap=True)


def _as_data(it: Differing) -> Mapping[str, object]:
    from hermes_backup.cli.entries import entry

    files = it.files
    return {
        "from": str(it.older.name),
        "to": str(it.newer.name),
        "same": files.same,
        "added": [entry(one) for one in files.added],
        "changed": [{"aspects": one.aspects, "old": entry(one.old), "new": entry(one.new)} for one in files.changed],
        "removed": [entry(one) for one in files.removed],
        "renamed": [{"old": entry(one.old), "new": entry(one.new)} for one in files.renamed],
        "databases": [
            {
                "path": one.path,
                "change": "added" if one.old is None else "removed" if one.new is None else "changed",
                "tables": {row.table: {"old": row.old, "new": row.new} for row in one.tables},
            }
            for one in it.databases
        ],
        "texts": None
        if it.texts is None
        else [
            {"name": os.fsdecode(one.lesson.name), "difference": one.lines, "untold": one.untold} for one in it.texts
        ],
    }
