"""One stream into several writers at once; a writer that fails does not stop the others."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from hermes_backup.streams.coder import Chunks

_AHEAD = 4  # chunks that a slow writer may lag behind: memory stays bounded whatever the size


class Writer(Protocol):
    """Takes the bytes of a stream in order."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes, or raise."""

    def stop(self) -> None:
        """Make a ``write`` that waits in another thread end soon."""


class _Lane(threading.Thread):
    def __init__(self, writer: Writer) -> None:
        super().__init__(daemon=True, name="write")
        self._writer = writer
        self._chunks: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self.error: Exception | None = None

    def run(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            if self.error is None:
                try:
                    self._writer.write(chunk)
                except Exception as error:
                    self.error = error

    def put(self, chunk: bytes | None) -> None:
        self._chunks.put(chunk)

    def stop(self) -> None:
        self.error = self.error or InterruptedError("the stream failed")
        self._writer.stop()


def spread(chunks: Chunks, writers: Sequence[Writer], seen: Callable[[bytes], None]) -> tuple[Exception | None, ...]:
    """Write a stream to all writers; return for each what went wrong with it, if anything.

    ``seen`` gets every chunk too. Ends early when no writer is left. What the stream itself raises is raised.
    """
    lanes = [_Lane(writer) for writer in writers]
    for lane in lanes:
        lane.start()
    try:
        for chunk in chunks:
            seen(chunk)
            for lane in lanes:
                lane.put(chunk)
            if all(lane.error is not None for lane in lanes):
                break
    except BaseException:
        for lane in lanes:
            lane.stop()  # a slow remote would otherwise take what it was given, at its own pace
        raise
    finally:
        chunks.close()
        for lane in lanes:
            lane.put(None)
        for lane in lanes:
            lane.join()
    return tuple(lane.error for lane in lanes)
