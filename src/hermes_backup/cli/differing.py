"""Two snapshots side by side, as people read it: counts first, then what was learned, then rows, then the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from hermes_backup.cli.entries import show_name
from hermes_backup.home.printable import printable
from hermes_backup.pipeline.learning import is_learned
from hermes_backup.snapshots.differences import leaves, own_rows

if TYPE_CHECKING:
    from hermes_backup.cli.diff import Differing
    from hermes_backup.pipeline.learning import TextDifference
    from hermes_backup.snapshots.differences import DatabaseChange

_MOST = 40
_STYLES = {"+": "green", "-": "red", "@": "cyan", "~": "yellow", ">": "cyan"}


@dataclass(frozen=True)
class _Line:
    """A file that differs: a sign (``+ ~ - >``), its name as bytes, and what is said of it."""

    sign: str
    name: bytes
    text: str


def shown(it: Differing, *, everything: bool) -> Text:
    """Write the whole comparison; without ``everything`` only the first of many other files."""
    lines = list(_lines(it))
    paths = {one.path for look in (it.older, it.newer) for one in look.manifest.databases}
    databases: list[_Line] = []
    learned: list[_Line] = []
    rest: list[_Line] = []
    for one in lines:
        (databases if printable(one.name) in paths else learned if is_learned(one.name) else rest).append(one)
    text = Text(_counts(lines, it.files.same) + "\n")
    _section(text, "memories and skills", [*_learned(learned, it.texts)])
    _section(text, "databases", [*_databases(databases, it.databases)])
    cut = rest if everything else rest[:_MOST]
    more = [f"… and {len(rest) - len(cut):,} more: --all"] if len(rest) > len(cut) else []
    _section(text, "the rest", [*(f"{one.sign} {one.text}" for one in cut), *more])
    text.rstrip()
    return text


def _lines(it: Differing) -> Iterator[_Line]:
    files = it.files
    made = [_Line("+", one.name, show_name(one)) for one in leaves(files.added)]
    made += [_Line("-", one.name, show_name(one)) for one in leaves(files.removed)]
    made += [_Line("~", one.new.name, f"{show_name(one.new)} ({', '.join(one.aspects)})") for one in files.changed]
    made += [
        _Line(">", one.new.name, f"{printable(one.old.name)} > {printable(one.new.name)}") for one in files.renamed
    ]
    yield from sorted(made, key=lambda one: one.name)


def _counts(lines: Sequence[_Line], same: int) -> str:
    signs = [one.sign for one in lines]
    words = (("+", "added"), ("~", "changed"), ("-", "removed"), (">", "renamed"))
    return ", ".join(f"{signs.count(sign):,} {word}" for sign, word in words) + f", {same:,} the same"


def _learned(lines: Sequence[_Line], texts: Sequence[TextDifference] | None) -> Iterator[str]:
    """Give a difference of text where there is one, and else a line."""
    differing = {one.lesson.name: one for one in texts or ()}
    for line in lines:
        one = differing.get(line.name)
        if one is not None and one.lines:
            yield from one.lines
        else:
            yield f"{line.sign} {line.text}" + (f": {one.untold}" if one is not None and one.untold else "")


def _databases(lines: Sequence[_Line], changes: Sequence[DatabaseChange]) -> Iterator[str]:
    """Give what happened to rows; what was rewritten without is said, too."""
    told = {one.path for one in changes}
    for one in changes:
        sign = "+" if one.old is None else "-" if one.new is None else "~"
        every = {**(one.old.tables if one.old else {}), **(one.new.tables if one.new else {})}
        rows = own_rows(one.tables, every)
        said = ", ".join(f"{printable(row.table)} {_step(row.old, row.new)}" for row in rows)
        yield f"{sign} {printable(one.path)}: {said or 'only in tables that SQLite keeps for itself'}"
    yield from (f"{one.sign} {one.text}: as many rows as before" for one in lines if printable(one.name) not in told)


def _step(old: int | None, new: int | None) -> str:
    if old is None or new is None:
        return f"{new if old is None else old:,} ({'new' if old is None else 'gone'})"
    return f"{new - old:+,} ({new:,})"


def _section(text: Text, heading: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    text.append(f"\n{heading}\n", style="bold")
    for line in lines:
        text.append(f"  {line}\n", style=_STYLES.get(line[:1]))
