"""A run shown while it goes: a live table on a terminal, a line for each new stage elsewhere, nothing for programs."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich.live import Live

from hermes_backup.cli.screen import console
from hermes_backup.fleet.view import Row, line, live
from hermes_backup.pipeline.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import Console, RenderableType

    from hermes_backup.fleet.run import Watcher

_A_SECOND = 4
_LOOK = 0.2


class Silent:
    """Shows nothing."""

    def changed(self, host: str, status: Status) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


class Lines:
    """Prints a line when a host comes to another stage or to its end."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._said: dict[str, str] = {}

    def changed(self, host: str, status: Status) -> None:
        """Print where the host is, if that is new."""
        said = line(host, status)
        if self._said.get(host) != said:
            self._said[host] = said
            self._screen.print(said, markup=False)

    def note(self, text: str) -> None:
        """Print it."""
        self._screen.print(text, markup=False)


class Table:
    """Keeps a table up to date."""

    def __init__(self, screen: Console, hosts: Sequence[str]) -> None:
        self._screen = screen
        self._rows = {host: Row(host) for host in hosts}
        self._started = time.monotonic()

    def changed(self, host: str, status: Status) -> None:
        """Take a newer status."""
        self._rows[host] = self._rows.get(host, Row(host)).with_status(status)

    def note(self, text: str) -> None:
        """Print it above the table."""
        self._screen.print(text, markup=False, style="dim")

    def __rich__(self) -> RenderableType:
        rows = tuple(self._rows.values())
        return live(rows, time.monotonic() - self._started, self._screen.width)


@contextmanager
def watcher(hosts: Sequence[str] = (), *, quiet: bool = False) -> Iterator[Watcher]:
    """Show a run on these hosts as long as the block lasts."""
    screen = console()
    if quiet:
        yield Silent()
    elif not screen.is_terminal:
        yield Lines(screen)
    else:
        table = Table(screen, hosts)
        with Live(table, console=screen, refresh_per_second=_A_SECOND, transient=True):
            yield table


@contextmanager
def following(path: Path, seen: Watcher) -> Iterator[None]:
    """Tell ``seen`` what this process writes to its status file."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            with suppress(OSError, ValueError):
                status = Status.read(path)
                if status.pid == os.getpid() and status.state == "running":
                    seen.changed(status.host, status)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
