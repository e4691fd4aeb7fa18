"""Writes docs/run.svg: what ``hermes-backup run demo`` shows on a terminal, exported by rich.

Usage: python tools/picture.py
"""

from __future__ import annotations

import os
import pty
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

OUT = Path(__file__).resolve().parent.parent / "docs" / "run.svg"
WIDTH = 110
SHOW_CURSOR = "\x1b[?25h"  # what rich sends when its live view has gone


def shown_on_a_terminal(argv: list[str], environment: dict[str, str]) -> str:
    """Run a program on a terminal of its own and return everything it wrote."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - no shell is what is wanted
    parts = []
    try:
        while data := os.read(terminal, 65536):
            parts.append(data)
    except OSError:
        pass  # Linux says EIO when the other side has closed
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(argv)} failed: {b''.join(parts).decode()}")
    return b"".join(parts).decode()


def main() -> None:
    """Run the demo twice, so that the picture shows an everyday run, and export the second."""
    program = str(Path(sys.executable).with_name("hermes-backup"))
    with tempfile.TemporaryDirectory(prefix="hb-") as home:  # so short that no line of the run wraps
        environment = {**os.environ, "HOME": home, "XDG_CACHE_HOME": f"{home}/.cache", "TERM": "xterm-256color"}
        environment |= {"COLUMNS": str(WIDTH), "LINES": "40"}
        for _ in range(2):
            said = shown_on_a_terminal([program, "run", "demo"], environment)
        said = said.split(SHOW_CURSOR)[-1].replace(home, "~").lstrip("\r\n")
    screen = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    screen.print(Text("$ hermes-backup run demo", style="bold"))
    screen.print(Text.from_ansi(said.replace("\r", "")))
    screen.save_svg(str(OUT), title="hermes-backup run demo")


if __name__ == "__main__":
    main()
