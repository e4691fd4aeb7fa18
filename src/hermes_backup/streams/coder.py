"""A coder turns a stream of bytes into another; coders are joined lazily, and nothing runs until someone pulls.

A coded stream is a generator. Closing it before its end means "this failed": whatever runs behind it is killed,
so that no program downstream takes a cut stream for a finished one.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from typing import IO, Protocol

from hermes_backup.streams.process import Process

CHUNK = 1 << 20
Chunks = Generator[bytes, None, None]


class Coder(Protocol):
    """One step of a stream: compression, encryption or its reverse."""

    @property
    def suffix(self) -> str:
        """What the step adds to a file's name, such as ``.zst``."""

    def code(self, chunks: Chunks) -> Chunks:
        """Return the coded stream; it owns ``chunks`` and closes it."""


def join(chunks: Chunks, coders: Iterable[Coder]) -> Chunks:
    """Send a stream through coders, in order."""
    for coder in coders:
        chunks = coder.code(chunks)
    return chunks


def read_chunks(pipe: IO[bytes]) -> Chunks:
    """Yield what comes out of a pipe until its end."""
    while chunk := pipe.read(CHUNK):
        yield chunk


def from_bytes(data: bytes) -> Chunks:
    """A stream of bytes that are already here."""
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


class Feeder(threading.Thread):
    """Feeds a stream into a process from a thread of its own; a failure upstream kills the process at once."""

    def __init__(self, chunks: Chunks, process: Process) -> None:
        super().__init__(daemon=True, name=f"feed {process.name}")
        self._chunks = chunks
        self._process = process
        self.error: BaseException | None = None

    def run(self) -> None:
        """Feed until the stream ends or the process takes no more."""
        try:
            for chunk in self._chunks:
                self._process.stdin.write(chunk)
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # the process ended early: its exit status tells why
        except BaseException as error:
            self.error = error
            self._process.end()
        finally:
            self._chunks.close()
