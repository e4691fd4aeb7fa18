"""A stream pulled in a thread of its own, a few chunks ahead of who reads it."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress

from hermes_backup.streams.coder import Chunks

_DEPTH = 4
_POLL = 0.05  # seconds


def ahead(chunks: Chunks) -> Chunks:
    """Pull a stream from another thread, so that making chunks and using them keep two cores busy.

    The first chunk is pulled here: until it comes, somebody may have to be asked for a passphrase, and be interrupted.
    After it the stream must flow, for closing this early waits for the next chunk. Errors come where they would have.
    """
    try:
        if (first := next(chunks, None)) is None:
            return
        yield first
        puller = _Puller(chunks)
        try:
            puller.start()
            while (chunk := puller.ready.get()) is not None:
                yield chunk
            if puller.error is not None:
                raise puller.error
        finally:
            puller.stop()
    finally:
        chunks.close()


class _Puller(threading.Thread):
    """Fills a queue until the stream ends, fails, or nobody wants more; None is its last word."""

    def __init__(self, chunks: Chunks) -> None:
        super().__init__(daemon=True, name="pull ahead")
        self._chunks = chunks
        self._unwanted = threading.Event()
        self.ready: queue.Queue[bytes | None] = queue.Queue(_DEPTH)
        self.error: BaseException | None = None

    def run(self) -> None:
        """Pull."""
        try:
            for chunk in self._chunks:
                self.ready.put(chunk)
                if self._unwanted.is_set():
                    return
        except BaseException as error:
            self.error = error
        finally:
            self.ready.put(None)

    def stop(self) -> None:
        """Want no more, and wait until nobody pulls."""
        self._unwanted.set()
        while self.is_alive():
            with suppress(queue.Empty):
                self.ready.get(timeout=_POLL)
