"""A report as people see it: a row a pipeline, then what needs attention. Returns renderables; prints nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group as Parts
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hermes_backup.errors import HOST_UNREACHABLE
from hermes_backup.pipeline.amounts import harmless, show_age, show_seconds, show_size
from hermes_backup.report.concerns import concerns, grouped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from hermes_backup.report.concerns import Group
    from hermes_backup.report.rows import FleetReport, HostReport, Row

WIDE = 130
_NAMED = 6
_STATES = {
    "fresh": ("ok", "green"), "stale": ("STALE", "bold red"), "none": ("NONE", "bold red"),
    "unknown": ("unknown", "bold yellow"), "not judged": ("manual", "dim"),
}  # fmt: skip
_RESULTS = {
    "done": "green", "unchanged": "green", "running": "blue", "partial": "yellow", "planned": "cyan",
    "interrupted": "yellow", "failed": "bold red", "killed": "bold red",
}  # fmt: skip
_URGENCY = ("stale", "none", "unknown", "not judged", "fresh")


def show(report: FleetReport, width: int, *, wrap: bool = True) -> RenderableType:
    """Return the whole report for a terminal of this width; without ``wrap`` each sentence is a line of its own."""
    said = [_said(it, report.inventory, wrap=wrap) for it in grouped(concerns(report))]
    return Parts(_table(report.hosts, report.at, width), *said, Text(), *_drills(report), verdict(report))


def show_live(report: FleetReport, width: int) -> RenderableType:
    """Return the same for a screen that may end before the report does: the verdict and the worst come first."""
    worst_first = sorted(report.hosts, key=lambda it: _URGENCY.index(it.freshness))
    said = [_said(it, report.inventory, wrap=True) for it in grouped(concerns(report))]
    return Parts(verdict(report), Text(), _table(worst_first, report.at, width), *said)


def verdict(report: FleetReport) -> Text:
    """Return one line over all: how many hosts are how, and when that was."""
    counts = {state: sum(it.freshness == state for it in report.hosts) for state in _URGENCY}
    words = {"fresh": "fresh", "stale": "stale", "none": "without any", "unknown": "unknown"}
    text = Text(f"{len(report.hosts)} host{'' if len(report.hosts) == 1 else 's'}: ", style="bold")
    said = [(f"{counts[it]} {word}", _STATES[it][1]) for it, word in words.items() if counts[it]]
    for number, (what, style) in enumerate(said):
        text.append(", " if number else "")
        text.append(what, style=style)
    text.append(f"  ({report.at:%Y-%m-%d %H:%M:%S} UTC)", style="dim")
    return text


def _drills(report: FleetReport) -> Sequence[Text]:
    """Return one line over the drills: the one that is due first; nothing where none is declared."""
    drills = [(it.host, it.drill, it.max_drill_age) for it in report.hosts if it.drill is not None]
    if not drills:
        return ()
    dues = [(due, host) for host, drill, age in drills if (due := drill.due(age)) is not None]
    text = Text(f"{len(drills)} drill{'' if len(drills) == 1 else 's'}: ", style="bold")
    text.append(f"{len(dues)} passed" if dues else "none passed yet")
    if dues:
        due, host = min(dues)
        when = f"due in {show_age(due - report.at)}" if due >= report.at else f"overdue for {show_age(report.at - due)}"
        text.append(f", the next is {when} ({harmless(host)})", style="" if due >= report.at else "bold red")
    return (text,)


def _table(hosts: Sequence[HostReport], now: datetime, width: int) -> Table:
    wide = width >= WIDE
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2 if wide else 1, 0, 0))
    for name in ("host", "pipeline"):  # may be wrapped, so that they are the first to be cut; a name is one word
        table.add_column(name, overflow="ellipsis")
    table.add_column("state", no_wrap=True)
    for name in ("newest", "size", "growth"):
        table.add_column(name, no_wrap=True, justify="right")
    if wide:
        table.add_column("places", no_wrap=True, justify="right")
    table.add_column("last run", no_wrap=True, overflow="ellipsis", max_width=24 if wide else 16)
    table.add_column("next", no_wrap=True, justify="right")
    if wide:
        for name in ("drill", "key ends", "config", "agent"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
    for host in hosts:
        for number, row in enumerate(_shown(host)):
            cells = [host.host, row.pipeline, _state(row), *_newest(row, now)]
            cells += [_places(row)] if wide else []
            cells += [_last(host, row, now), _next(row, now)]
            cells += (_host_cells(host, now) if number == 0 else [""] * 4) if wide else []
            table.add_row(*cells)
    return table


def _shown(host: HostReport) -> Sequence[Row]:
    """Leave out pipelines that nobody uses."""
    return [it for it in host.rows if not it.idle] or host.rows[:1]


def _state(row: Row) -> Text:
    word, style = _STATES[row.freshness]
    return Text(word, style=style)


def _newest(row: Row, now: datetime) -> list[RenderableType]:
    newest = row.newest
    if newest is None:
        return ["-", "-", "-"]
    growth = "-" if newest.growth is None else f"{'+' if newest.growth >= 0 else ''}{show_size(newest.growth)}"
    return [show_age(max(now, newest.name.time) - newest.name.time), show_size(newest.size), growth]


def _places(row: Row) -> Text:
    newest = row.newest
    having = sum(newest is not None and it.newest is not None and it.newest.name == newest.name for it in row.holdings)
    return Text(f"{having}/{len(row.holdings)}", style="" if having == len(row.holdings) else "yellow")


def _last(host: HostReport, row: Row, now: datetime) -> Text:
    if host.silence is not None:
        return Text("unreachable" if host.silence.kind is HOST_UNREACHABLE else "no answer", style="yellow")
    word = row.word
    if word is None or (word.last is None and word.broken_unit is None):
        return Text("unknown" if word is not None and word.problem else "never", style="dim")
    if word.broken_unit is not None or word.last is None:
        return Text("failed", style=_RESULTS["failed"])
    last = word.last
    took = now - last.status.started if last.result == "running" else last.took
    return Text.assemble((last.result, _RESULTS[last.result]), f" {show_seconds(took.total_seconds())}")


def _next(row: Row, now: datetime) -> str:
    moment = None if row.word is None else row.word.next_run
    if moment is None:
        return "-"
    return f"in {show_age(moment - now)}" if moment > now else "due"


def _host_cells(host: HostReport, now: datetime) -> list[RenderableType]:
    drill: RenderableType = "-"
    if host.drill is not None:
        passed, status = host.drill.passed, host.drill.status
        drill = Text("never" if status is None else status.state, style="yellow")
        if passed is not None:
            drill = Text(show_age(now - passed), style="yellow" if now - passed > host.max_drill_age else "")
    key: RenderableType = "-"
    if host.keys:
        first = host.keys[0]
        said = "never" if first.until is None else f"{first.until:%Y-%m-%d}"
        key = Text("unusable" if first.fault is not None and first.until is None else said)
        key.stylize("" if first.fault is None else "bold red")
    config = Text("?" if host.drift == "unknown" else host.drift)
    config.stylize("yellow" if host.drift in ("differs", "not deployed") else "")
    return [drill, key, config, harmless(host.agent) or "-"]


def _said(group: Group, inventory: str, *, wrap: bool) -> RenderableType:
    lines: list[RenderableType] = [Text(), Text(group.name, style="bold red" if group.grave else "yellow")]
    for subjects, what in group.said:
        named = ", ".join(subjects[:_NAMED])
        named += f" and {len(subjects) - _NAMED} more" if len(subjects) > _NAMED else ""
        lines.append(_indented(2, Text.assemble((f"{harmless(named)}: ", "bold"), _one_line(what)), wrap=wrap))
    mend = group.mend.replace("INVENTORY", inventory)
    mend = mend.replace("HOST", group.hosts[0]) if len(group.hosts) == 1 else mend
    if mend:
        lines.append(_indented(4, Text(_one_line(mend), style="cyan"), wrap=wrap))
    return Parts(*lines)


def _indented(by: int, text: Text, *, wrap: bool) -> RenderableType:
    return Padding(text, (0, 0, 0, by), expand=False) if wrap else Text(" " * by) + text


def _one_line(text: str) -> str:
    return " ".join(harmless(text).split())
