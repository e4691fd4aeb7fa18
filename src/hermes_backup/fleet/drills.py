"""Drills of several hosts, some at once: a process each, for what a process starts must die with it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from hermes_backup.errors import BUG, Fault, catalog
from hermes_backup.pipeline.drilling import Job, drill
from hermes_backup.streams import scratch

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from hermes_backup.pipeline.drill_result import Drilled
    from hermes_backup.snapshots.manifest import Manifest

_GRACE = 30.0  # seconds in which a drill cleans up after itself
_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Word:
    """How far a host is: the stage, and bytes done of bytes in all (0: nobody knows)."""

    host: str
    stage: str
    done: int = 0
    total: int = 0


def drill_hosts(
    jobs: Sequence[Job], forks: int, told: Callable[[Word], None], ended: Callable[[Job, Drilled | Fault], None]
) -> tuple[Drilled | Fault, ...]:
    """Drill every host, ``forks`` at once, and return what became of each, in the order of the jobs.

    One that fails does not stop the others; ``ended`` hears of each as it ends.

    Raises:
        Fault: INTERRUPTED, when all of them have cleaned up.
    """
    results: dict[int, Drilled | Fault] = {}
    left = list(enumerate(jobs))
    running: dict[Connection, tuple[int, SpawnProcess]] = {}
    try:
        while left or running:
            while left and len(running) < max(1, forks):
                number, job = left.pop(0)
                connection, process = _start(job)
                running[connection] = (number, process)
            for ready in wait(list(running)):
                number, process = running[ready]  # type: ignore[index]  # only ours are waited for
                word = _next(ready)  # type: ignore[arg-type]  # as above
                if isinstance(word, Word):
                    told(word)
                    continue
                del running[ready]  # type: ignore[arg-type]  # as above
                process.join()
                scratch.sweep()  # what a killed one left
                results[number] = word
                ended(jobs[number], word)
    finally:
        _stop([it[1] for it in running.values()])
    return tuple(results[number] for number in range(len(jobs)))


def _start(job: Job) -> tuple[Connection, SpawnProcess]:
    context = multiprocessing.get_context("spawn")  # a copy of this process would hold its locks
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, theirs), name=f"drill {job.config.host}")
    with _deaf():
        process.start()
    theirs.close()
    return ours, process


def _next(connection: Connection) -> Word | Drilled | Fault:
    try:
        word = connection.recv()
    except (EOFError, OSError, pickle.UnpicklingError):
        return Fault(BUG, "the drill ended without a last word, as a killed process does")
    if isinstance(word, _Failed):
        kind = next((it for it in catalog() if it.name == word.name), BUG)
        return Fault(kind, word.what, where=word.where, mend=word.mend)
    made: Word | Drilled = word
    return made


def _stop(processes: Sequence[SpawnProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_GRACE)
        if process.is_alive():
            process.kill()
            process.join()


@contextmanager
def _deaf() -> Iterator[None]:
    """Let a child be started that does not hear Ctrl-C: it is told to end by SIGTERM, and cleans up."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass(frozen=True)
class _Failed:
    """A fault on its way between processes."""

    name: str
    what: str
    where: str
    mend: str


def _work(job: Job, connection: Connection) -> None:
    """Drill one host, in a process of its own."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    result: Any
    try:
        result = drill(job, _Teller(job.config.host, connection))
    except Fault as fault:
        result = _Failed(fault.kind.name, fault.what, fault.where, fault.mend)
    except Exception as error:  # whatever it is, the others go on
        result = _Failed(BUG.name, f"{type(error).__name__}: {error}", job.config.host, "")
    connection.send(result)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


class _Teller:
    """A follower whose words go to the process that shows them."""

    def __init__(self, host: str, connection: Connection) -> None:
        self._host = host
        self._connection = connection
        self._stage = ""
        self._told = 0

    def stage(self, name: str) -> None:
        """A stage begins."""
        self._stage, self._told = name, 0
        self._connection.send(Word(self._host, name))

    def progress(self, stage: str, done: int, total: int) -> None:
        """So much is done; told in steps of a megabyte."""
        if done - self._told >= _MEGABYTE or done == total:
            self._told = done
            self._connection.send(Word(self._host, stage, done, total))

    def warn(self, stage: str, text: str) -> None:
        """Warnings are in the result."""

    def note(self, stage: str, text: str) -> None:
        """Notes are in the log."""

    def published(self, manifest: Manifest, places: tuple[str, ...]) -> None:
        """Nothing is published by a drill."""
