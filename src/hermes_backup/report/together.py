"""Slow looks at several places at once.

By threads that the program does not wait for when it is interrupted: a remote that never answers would keep it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Value = TypeVar("Value")
_GRACE = 2.0


class Together(Generic[Value]):
    """Calls that have begun, at most ``most`` at a time.

    As a context manager: left by an error, it gives those under way two seconds to clean up after themselves.
    """

    def __init__(self, calls: Sequence[Callable[[], Value]], most: int = 16) -> None:
        self._results: list[Value | BaseException | None] = [None] * len(calls)
        self._waiting: SimpleQueue[tuple[int, Callable[[], Value]]] = SimpleQueue()
        for item in enumerate(calls):
            self._waiting.put(item)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(min(most, len(calls)))]
        for thread in self._threads:
            thread.start()

    def results(self) -> tuple[Value, ...]:
        """Wait for all, and return what they gave, in their order; raise what the first of them raised."""
        for thread in self._threads:
            thread.join()
        for it in self._results:
            if isinstance(it, BaseException):
                raise it
        return tuple(self._results)  # type: ignore[arg-type]  # every call has put its value there

    def __enter__(self) -> Together[Value]:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if kind is None:
            return
        with suppress(Empty):
            while True:
                self._waiting.get_nowait()
        end = time.monotonic() + _GRACE
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while True:
            try:
                at, call = self._waiting.get_nowait()
            except Empty:
                return
            try:
                self._results[at] = call()
            except BaseException as error:
                self._results[at] = error
