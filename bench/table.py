"""What was measured, as a table, with the targets beside it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

_NO_FIGURE = "-"


@dataclass(frozen=True)
class Row:
    """One contestant's figures: medians of seconds and CPU seconds, all runs' seconds, peak memory, bytes stored."""

    name: str
    seconds: float
    spread: tuple[float, ...]
    cpu: float
    memory: int
    stored: int
    note: str = ""


@dataclass(frozen=True)
class Target:
    """What was hoped for, what came out, and whether that is good enough."""

    what: str
    wanted: str
    measured: str
    ok: bool


def machine() -> Iterable[str]:
    """Say what this was measured on."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0))
    name = cpu.group(1) if cpu else platform.machine()
    yield f"{name}, {cores} cores, {memory / 2**30:.0f} GiB"
    versions = [_version(it) for it in ("tar", "gpg", "zstd", "sqlite3")]
    yield f"Linux {platform.release()}, Python {platform.python_version()}, {', '.join(versions)}"


def _version(program: str) -> str:
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"\d+\.\d+(\.\d+)?", said)
    return f"{program} {found.group() if found else '?'}"


def show(screen: Console, title: str, rows: Sequence[Row]) -> None:
    """Print the contestants."""
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in ("seconds", "fastest…slowest", "CPU s", "peak MB", "stored MB"):
        table.add_column(heading, justify="right")
    table.add_column("note")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.seconds:.2f}",
            f"{min(row.spread):.2f}…{max(row.spread):.2f}",
            f"{row.cpu:.1f}",
            f"{row.memory / 1e6:.0f}" if row.memory else _NO_FIGURE,
            f"{row.stored / 1e6:.1f}" if row.stored else _NO_FIGURE,
            row.note,
        )
    screen.print(table)


def show_targets(screen: Console, targets: Sequence[Target]) -> None:
    """Print the targets."""
    table = Table(title="Targets", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in ("", "wanted", "measured", ""):
        table.add_column(heading)
    for it in targets:
        table.add_row(it.what, it.wanted, it.measured, "ok" if it.ok else "MISSED", style="" if it.ok else "bold red")
    screen.print(table)
