"""What was hoped for beside the best of the others: each figure against whoever has the best of that figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.table import Target
from bench.versus.ours import DAILY, KEEP, LEAN
from bench.versus.pipes import COPY
from bench.versus.results import Outcome, Phase, Results

_MB = 1e6


def targets(results: Results) -> list[Target]:
    """Compare all."""
    lean, daily = results.of(LEAN), results.of(DAILY)
    peers = [it for it in results.outcomes if it.kind == "peer"]
    return [
        _seconds("first", lean, peers, 0.5),
        _bytes("first backup: bytes", lean, peers, lambda it: it.first_bytes, 0.15),
        _seconds("daily", daily, peers, 0.5),
        _bytes("daily backup: bytes a day", daily, peers, results.a_day, 0.02),
        _seconds("unchanged", daily, peers, 1.0),
        _against_copy(results.of(KEEP), results.of(COPY)),
        *_memory(results),
    ]


def _seconds(phase: Phase, ours: Outcome, peers: Sequence[Outcome], wanted: float) -> Target:
    best = min((it for it in peers if phase in it.phases), key=lambda it: it.phases[phase].median)
    mine, theirs = ours.phases[phase].median, best.phases[phase].median
    said = f"{mine / theirs:.2f} ({ours.name} {mine:.2f} s, {best.name} {theirs:.2f} s)"
    return Target(f"{phase} backup: time", f"<= {wanted} of the best peer's", said, mine <= wanted * theirs)


def _bytes(
    what: str, ours: Outcome, peers: Sequence[Outcome], figure: Callable[[Outcome], float], wanted: float
) -> Target:
    best = min(peers, key=figure)
    mine, theirs = figure(ours), figure(best)
    said = f"{mine / theirs:.2f} ({ours.name} {mine / _MB:.2f} MB, {best.name} {theirs / _MB:.2f} MB)"
    return Target(what, f"<= {wanted} of the best peer's", said, mine <= wanted * theirs)


def _against_copy(keep: Outcome, copy: Outcome) -> Target:
    mine, theirs = keep.phases["first"].median, copy.phases["first"].median
    said = f"{mine / theirs:.2f} ({mine:.2f} s, {theirs:.2f} s)"
    return Target("keep against copy, tar and zstd alone", "<= 1.15 of its time", said, mine <= 1.15 * theirs)


def _memory(results: Results) -> Iterator[Target]:
    for it in results.outcomes:
        if not it.allowed:
            continue
        yield _peak(f"restore, {it.name}, {results.size} MiB", it.phases["restore"].memory, it.allowed)
        sizes = {results.size: it.peak, **({results.large_size: results.large[it.name]} if results.large else {})}
        for size, peak in sizes.items():
            yield _peak(f"{it.name}, {size} MiB", peak, it.allowed)


def _peak(what: str, peak: int, allowed: int) -> Target:
    wanted = f"<= {allowed / _MB:.0f} MB"
    return Target(f"peak memory: {what}", wanted, f"{peak / _MB:.0f} MB", peak <= allowed)
