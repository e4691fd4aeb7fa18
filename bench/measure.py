"""How a contestant is measured: seconds, CPU seconds and memory of it and of every process that it starts.

Memory is the sum of the proportional set sizes (``Pss`` of ``/proc/PID/smaps_rollup``) of the whole tree: a page
that n processes share counts 1/n in each, so the sum is what the tree really takes; with resident sizes shared
libraries would count once a process. Files that the kernel caches are nobody's and not in it. It is sampled every
50 ms in a run of its own, which also warms the page cache, so that sampling costs the timed runs nothing.

This process asks to be the parent of every orphan below it (prctl(2), PR_SET_CHILD_SUBREAPER): so a program that
detaches is still seen in the tree, and its CPU seconds are counted when it is reaped.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_BETWEEN = 0.05
_PATIENCE = 20.0  # seconds that what a contestant leaves behind may take to end


@dataclass(frozen=True)
class Run:
    """One run: wall seconds, CPU seconds (user and system), peak memory in bytes where it was sampled."""

    seconds: float
    cpu: float
    memory: int = 0


def adopt_orphans() -> None:
    """Make this process the parent of all orphans below it."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def run(
    argv: Sequence[str],
    *,
    folder: Path,
    env: Mapping[str, str],
    spared: int = 0,
    sample: bool = False,
    afterwards: Callable[[], None] = lambda: None,
) -> Run:
    """Run a command to its end, and all that it left running; ``spared`` is a child that is none of its own.

    ``afterwards`` ends what would stay for long; its time does not count.

    Raises:
        SystemExit: it failed; its output is shown.
    """
    os.sync()
    log = folder / "output"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("wb") as out:
        started = time.perf_counter()
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder, env=dict(env))
        with _Sampler(spared) if sample else _NoSampler() as sampler:
            code = child.wait()
            seconds = time.perf_counter() - started
    afterwards()
    _reap(spared)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        raise SystemExit(f"bench: {' '.join(argv)} ended with {code}:\n{log.read_text(errors='replace')[-4000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds, cpu, sampler.peak)


def _reap(spared: int) -> None:
    """Wait for what the command left to us, such as an agent that detached."""
    end = time.monotonic() + _PATIENCE
    while children := [it for it in _children().get(os.getpid(), []) if it != spared]:
        for pid in children:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
        if time.monotonic() > end:
            said = {pid: Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ") for pid in children}
            raise SystemExit(f"bench: left running: {said}")
        time.sleep(0.01)


class _NoSampler:
    peak = 0

    def __enter__(self) -> _NoSampler:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class _Sampler(_NoSampler):
    """Watches the memory of all processes below this one as long as the block lasts."""

    def __init__(self, spared: int) -> None:
        self.peak = 0
        self._spared = spared
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Sampler:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_BETWEEN):
            self.peak = max(self.peak, sum(map(_pss, tree(os.getpid(), self._spared))))


def tree(root: int, spared: int = 0) -> list[int]:
    """Return the processes below one, those of a spared child left out."""
    children = _children()
    found: list[int] = []
    todo = list(children.get(root, []))
    while todo:
        pid = todo.pop()
        if pid != spared:
            found.append(pid)
            todo += children.get(pid, [])
    return found


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_bytes()
            except OSError:
                continue
            parent = int(stat[stat.rindex(b")") + 2 :].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    return children


def _pss(pid: int) -> int:
    try:
        lines = Path("/proc", str(pid), "smaps_rollup").read_bytes().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:"))
