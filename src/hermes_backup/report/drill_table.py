"""What drills found, as people see it in a terminal: a row a host, then what failed and what is not proven."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hermes_backup.errors import Fault
from hermes_backup.pipeline.amounts import harmless, show_age, show_seconds

if TYPE_CHECKING:
    from hermes_backup.pipeline.drill_result import Drilled
    from hermes_backup.snapshots.names import SnapshotName
    from hermes_backup.stages.things import Finding

_STYLES = {"passed": "green", "failed": "bold red", "stale": "yellow"}
_NAMED = 5


def show(
    results: Sequence[tuple[str, Drilled | Fault]], undrilled: Sequence[str] = (), *, wrap: bool = True
) -> RenderableType:
    """Return the table and the sentences below it; without ``wrap`` each sentence is a line of its own.

    ``undrilled`` are the hosts that declare no drill.
    """
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("host", "snapshot"):
        table.add_column(name, overflow="ellipsis")
    table.add_column("result", no_wrap=True)
    for name in ("RTO", "RPO", "gap"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("what failed", overflow="ellipsis", no_wrap=True)
    said: list[RenderableType] = []
    for host, it in results:
        table.add_row(*_cells(host, it))
        said += [_indented(one, wrap=wrap) for one in _sentences(host, it)]
    said += [_indented(_sentence(it, "declares no drill: nothing is proven", "yellow"), wrap=wrap) for it in undrilled]
    return Group(table, *said, Text(), _verdict([it for _, it in results]))


def _cells(host: str, it: Drilled | Fault) -> list[RenderableType]:
    if isinstance(it, Fault):
        return [Text(host), "-", Text("failed", style=_STYLES["failed"]), "-", "-", "-", it.kind.name]
    rto = "-" if it.rto is None else show_seconds(it.rto.total)
    rpo = "-" if it.age is None else show_age(max(it.age, it.age * 0))
    gap = "-" if it.largest_gap is None else show_age(it.largest_gap)
    more = f" +{len(it.trials) - 1}" if len(it.trials) > 1 else ""
    first = it.trials[0].name if it.trials else it.newest
    names = dict.fromkeys(one.name or one.what for _, one in it.failures)
    failed = ", ".join(harmless(one) for one in names)
    state = Text(it.result, style=_STYLES[it.result])
    # Text, since what a manifest names is no markup of ours
    return [Text(host), "-" if first is None else f"{first}{more}", state, rto, rpo, gap, Text(failed)]


def _sentences(host: str, it: Drilled | Fault) -> Iterator[Text]:
    if isinstance(it, Fault):
        yield _sentence(host, f"{it.where}: {it.what}" if it.where else it.what, "red")
        return
    for name, one in it.failures:
        yield _sentence(f"{host}{_snapshot(name)}", _said(one), "red")
    if it.result == "stale":
        age = "there is no snapshot at all" if it.age is None else f"the newest snapshot is {show_age(it.age)} old"
        yield _sentence(host, f"{age}, {show_age(it.allowed)} are allowed", "yellow")
    for name, one in it.unproven:
        yield _sentence(f"{host}{_snapshot(name)}", f"not proven: {_said(one)}", "dim")
    for warning in it.warnings:
        yield _sentence(host, f"warning: {warning}", "yellow")
    for file in (*it.files[:1], *(one for one in it.files[1:] if one.endswith(".html"))):
        yield _sentence(host, f"{'page' if file.endswith('.html') else 'evidence'}: {file}", "dim")


def _sentence(who: str, what: str, style: str) -> Text:
    return Text.assemble((f"{harmless(who)}: ", "bold"), (" ".join(harmless(what).split()), style))


def _indented(text: Text, *, wrap: bool) -> RenderableType:
    return Padding(text, (0, 0, 0, 2), expand=False) if wrap else Text("  ") + text


def _said(one: Finding) -> str:
    named = ", ".join(one.named[:_NAMED])
    more = f" and {len(one.named) - _NAMED} more" if len(one.named) > _NAMED else ""
    return f"{one.what}: {one.evidence}{f' ({named}{more})' if named else ''}"


def _snapshot(name: SnapshotName | None) -> str:
    return "" if name is None else f" {name.sequence:06d}"


def _verdict(results: Sequence[Drilled | Fault]) -> Text:
    states = ["failed" if isinstance(it, Fault) else it.result for it in results]
    text = Text(f"{len(states)} drill{'' if len(states) == 1 else 's'}: ", style="bold")
    said = [(state, states.count(state)) for state in _STYLES if state in states]
    for number, (state, count) in enumerate(said):
        text.append(", " if number else "")
        text.append(f"{count} {state}", style=_STYLES[state])
    return text
