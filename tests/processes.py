"""The processes of this machine, as /proc shows them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process; its words end with a zero byte each, and its environment is empty where we may not read it."""

    pid: int
    parent: int
    words: bytes
    environment: bytes

    @property
    def program(self) -> str:
        """Its program's name; what runs under setpriv counts as that."""
        words = [os.path.basename(it) for it in self.words.split(b"\0")]
        return os.fsdecode(words[words.index(b"--") + 1] if words[0] == b"setpriv" and b"--" in words else words[0])


def processes() -> Iterator[Process]:
    """Every process that lives."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                words = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
                if words:
                    yield Process(int(entry.name), parent, words, _environment(entry))


def _environment(entry: Path) -> bytes:
    try:
        return (entry / "environ").read_bytes()
    except PermissionError:
        return b""


def descendants(pid: int) -> list[Process]:
    """The children of a process, theirs, and so on."""
    every = list(processes())
    found: list[Process] = []
    wanted = {pid}
    while wanted:
        children = [it for it in every if it.parent in wanted]
        found += children
        wanted = {it.pid for it in children}
    return found
