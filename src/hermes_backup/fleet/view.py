"""A run as people see it: live while it goes, one row a host when it is over. Returns renderables; prints nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hermes_backup.errors import INTERRUPTED, Fault
from hermes_backup.pipeline.amounts import harmless, show_seconds, show_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from hermes_backup.fleet.outcome import HostRun
    from hermes_backup.pipeline.status import Status

_SHOWN = 5
_INDENT = "    "
_WIDE = 110
_BAR = 20
_WINDOW = 15.0  # seconds over which a rate is taken
_STYLES = {
    "done": "green", "unchanged": "green", "planned": "cyan", "partial": "yellow", "failed": "bold red",
    "interrupted": "yellow", "running": "blue",
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """So many bytes of a stage were done at a time."""

    stage: str
    time: datetime
    done: int


@dataclass(frozen=True)
class Row:
    """A host in the live view: its last status, and what is needed to tell a rate."""

    host: str
    status: Status | None = None
    samples: tuple[Sample, ...] = ()

    def with_status(self, status: Status) -> Row:
        """Return the row with a newer status."""
        now = Sample(status.stage, status.updated, status.done)
        kept = [
            it
            for it in self.samples
            if it.stage == now.stage and it.done <= now.done and (now.time - it.time).total_seconds() <= _WINDOW
        ]
        return Row(self.host, status, (*kept, now))

    @property
    def rate(self) -> float:
        """Bytes a second, 0 while nobody knows."""
        if len(self.samples) < 2:  # noqa: PLR2004 - a rate lies between two
            return 0.0
        first, last = self.samples[0], self.samples[-1]
        seconds = (last.time - first.time).total_seconds()
        return (last.done - first.done) / seconds if seconds > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until the stage is done, None while nobody knows."""
        if self.status is None or not self.status.total or self.rate <= 0:
            return None
        return max(self.status.total - self.status.done, 0) / self.rate


def live(rows: Sequence[Row], elapsed: float, width: int) -> RenderableType:
    """Return the table of a run under way, for a terminal of this width."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("host", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("stage", no_wrap=True, overflow="ellipsis", max_width=20, min_width=11)
    if width >= _WIDE:
        table.add_column("", width=_BAR)
    table.add_column("bytes", no_wrap=True, justify="right", min_width=16)
    table.add_column("rate", no_wrap=True, justify="right", min_width=9)
    table.add_column("left", no_wrap=True, justify="right", min_width=6)
    for row in rows:
        cells = _live_cells(row)
        table.add_row(*(cells if width >= _WIDE else [*cells[:2], *cells[3:]]))
    return Group(table, Text(f"elapsed {show_seconds(elapsed)}", style="dim"))


def line(host: str, status: Status) -> str:
    """Return one line about a host, for where there is no terminal."""
    if status.state != "running":
        return f"{host}: {status.state}"
    return f"{host}: {harmless(status.stage) or 'starting'}"


def summary(runs: Sequence[HostRun], width: int, told: Sequence[str] = ()) -> RenderableType:
    """Return what is to be said of a run that is over: a row a host, then what needs attention.

    ``told`` are warnings about the inventory, which are told once and not by each host that finds the same.
    """
    parts: list[RenderableType] = [_table(runs, width)]
    placed = [(it.host, it.status.places) for it in runs if it.status is not None and it.status.places]
    parts += [Text(harmless(f"{host}: in {', '.join(places)}"), style="dim") for host, places in placed]
    for run in runs:
        parts += _below(run, told)
    return Group(*parts)


def _live_cells(row: Row) -> list[RenderableType]:
    status = row.status
    if status is None:
        return [row.host, Text("starting", style="dim"), "", "", "", ""]
    stage = harmless(status.stage) or "starting"
    if status.state != "running":
        return [row.host, Text(status.state, style=_STYLES[status.state]), "", "", "", ""]
    amount = ""
    if status.done or status.total:
        amount = show_size(status.done) + (f" / {show_size(status.total)}" if status.total else "")
    bar: RenderableType = ""
    if status.total:
        bar = ProgressBar(total=status.total, completed=min(status.done, status.total), width=_BAR)
    rate = f"{show_size(row.rate)}/s" if row.rate > 0 else ""
    left = "" if row.left is None else show_seconds(row.left)
    return [row.host, stage, bar, amount, rate, left]


def _table(runs: Sequence[HostRun], width: int) -> Table:
    wide = width >= _WIDE
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2 if wide else 1, 0, 0))
    table.add_column("host", no_wrap=True, overflow="ellipsis", max_width=24 if wide else 14)
    table.add_column("result", no_wrap=True)
    table.add_column("snapshot", no_wrap=True)
    table.add_column("files", no_wrap=True, justify="right")
    table.add_column("size", no_wrap=True, justify="right")
    table.add_column("stored", no_wrap=True, justify="right")
    table.add_column("time", no_wrap=True, justify="right")
    for run in runs:
        table.add_row(*_cells(run))
    return table


def _cells(run: HostRun) -> list[RenderableType]:
    status, state = run.status, "failed"
    if run.fault is not None and run.fault.kind is INTERRUPTED:
        state = "interrupted"
    elif run.fault is None and status is not None:
        state = status.state
    result = Text(state, style=_STYLES[state])
    if status is None:
        return [run.host, result, "", "", "", "", ""]
    made = status.snapshot is not None
    end = status.finished or status.updated
    return [
        run.host,
        result,
        harmless(status.snapshot or ""),
        f"{status.files:,}" if made else "",
        show_size(status.bytes) if made else "",
        show_size(status.stored) if made else "",
        show_seconds((end - status.started).total_seconds()),
    ]


def _below(run: HostRun, told: Sequence[str]) -> list[RenderableType]:
    status = run.status
    said: list[RenderableType] = []
    if status is not None:
        said += _listed(f"{run.host} would", status.plan, "cyan", shown=len(status.plan))
        own = [it for it in status.warnings if not it.endswith(tuple(told))]
        said += _listed(f"{run.host} warns", own, "yellow")
        partial = [f"{it.path}: {it.reason}" for it in status.partial]
        count = "1 file" if len(partial) == 1 else f"{len(partial)} files"
        said += _listed(f"{run.host} is partial, {count}", partial, "yellow")
    if run.fault is not None:
        said.append(_fault(run.host, run.fault))
    lines = run.log.splitlines()
    return said + _listed(f"the end of the log of {run.host}", lines, "dim", shown=len(lines))


def _listed(head: str, lines: Sequence[str], style: str, shown: int = _SHOWN) -> list[RenderableType]:
    if not lines:
        return []
    said = [Text(f"{head}:", style=style), *(Text(f"{_INDENT}{harmless(it)}") for it in lines[:shown])]
    if len(lines) > shown:
        said.append(Text(f"{_INDENT}and {len(lines) - shown} more", style="dim"))
    return [*said]


def _fault(host: str, fault: Fault) -> RenderableType:
    text = Text()
    text.append(harmless(f"{fault.where or host}: "), style="bold")
    text.append(harmless(fault.what), style="red")
    text.append(f" [{fault.kind.name}]", style="dim")
    text.append("".join(f"\n{_INDENT}{it}" for it in harmless(fault.mend).splitlines()), style="cyan")
    return text
