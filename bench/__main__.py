"""Measure this program beside other tools, in one run on one machine, and print what came out.

Everybody backs up the same home, day after day, and brings it back: :mod:`bench.versus.race` says how. What no other
tool does is measured after that, alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench import coming
from bench import contestants as field
from bench.alone import Alone, targets_of_images
from bench.contestants import Key
from bench.home import build
from bench.measure import adopt_orphans
from bench.table import Row, Target, show, show_targets
from bench.versus import meeting
from bench.versus.meeting import Plan
from bench.versus.race import Stadium
from bench.versus.results import Results
from bench.versus.tables import by_phase, limit_rows
from bench.versus.targets import targets

_MIB = 1 << 20
_BUSY = 0.7  # processes that want to run, on average of the minute before
_ROOM, _ROOM_A_DAY = 10, 1.5  # times the home's size: at the start, and what three that deduplicate add a day
_ROOM_LARGE = 4  # times the size of the larger home
_RUNS_ALONE = 3


def main() -> None:
    """Build the homes, measure, print."""
    given = _arguments()
    adopt_orphans()
    load = os.getloadavg()[0]
    screen = Console(width=150, highlight=False)
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for size in (given.size, *([given.large] if given.large else [])):
        _build(folder, size, screen, _ROOM + _ROOM_A_DAY * given.days if size == given.size else _ROOM_LARGE)
    home = folder / f"home-{given.size}"
    with field.new_key() as key:
        with _stadium(folder, key, screen) as stadium:
            plan = Plan(given.size, given.runs, given.days, not given.short, load)
            results = meeting.hold(home, plan, key, stadium)
        _write(results, given.json)
        if given.large:
            with _stadium(folder, key, screen) as stadium:
                large = meeting.peaks(folder / f"home-{given.large}", key, stadium)
            results = replace(results, large_size=given.large, large=large)
            _write(results, given.json)
        _show(screen, results, short=given.short)
        if not given.short:
            _show_rest(screen, *_rest(home, folder, key, screen))


def _build(folder: Path, size: int, screen: Console, room: float) -> None:
    if shutil.disk_usage(folder).free < room * size * _MIB:
        raise SystemExit(f"bench: {folder} has too little room: {room * size:.0f} MiB are needed")
    built = build(folder / f"home-{size}", size * _MIB, screen.print)
    permuted = f", {built.permuted / 1e6:.0f} million of them by permuting words" if built.permuted else ""
    screen.print(
        f"home {size}: state.db {built.database / 1e6:.0f} MB, {built.messages} messages, "
        f"{built.text / 1e6:.0f} million characters of this machine's text{permuted}; {built.day} messages a day"
    )


@contextmanager
def _stadium(folder: Path, key: Key, screen: Console) -> Iterator[Stadium]:
    with tempfile.TemporaryDirectory(prefix="work-", dir=folder) as name:
        work = Path(name)
        yield Stadium(work, field.environment(work), key.end_agent, lambda said: screen.print(said, style="dim"))


def _write(results: Results, file: Path | None) -> None:
    if file:
        results.write(file)


def _rest(home: Path, folder: Path, key: Key, screen: Console) -> tuple[list[Row], list[Target]]:
    """Measure what no other tool does."""
    with tempfile.TemporaryDirectory(prefix="work-", dir=folder) as name:
        alone = Alone(home, Path(name), key, screen)
        images = alone.images(_RUNS_ALONE)
        wanted = [*targets_of_images(images), *alone.commands()]
        screen.print("brought to another machine", style="dim")
        brought = coming.measure(home, Path(name) / "coming", lambda said: screen.print(said, style="dim"))
    return images, [*wanted, *brought.targets()]


def _show(screen: Console, results: Results, *, short: bool) -> None:
    screen.print()
    for line in results.machine:
        screen.print(line)
    versions = {f"{it.name} {it.version}" for it in results.outcomes if it.version and it.kind == "peer"}
    screen.print(", ".join(sorted(versions)))
    busy = "; the machine was busy, so its seconds say little" if results.load > _BUSY else ""
    screen.print(f"Load before the start: {results.load:.1f}{busy}")
    how = (
        f"medians of {results.runs} runs in turns, in daily of {results.days} days where a backup is not whole each day"
    )
    if short:
        how = f"a short race: {results.runs} run in turns, {results.days} days, memory sampled in those that are timed"
    screen.print(f"state.db of {results.size} MiB; {how}; all write to one file system.\n")
    for title, rows in by_phase(results):
        show(screen, title, rows)
    show(screen, "One step alone", limit_rows(results))
    screen.print("peak MB: the greatest sum of the whole process tree's proportional set sizes, sampled every 50 ms\n")
    show_targets(screen, targets(results))


def _show_rest(screen: Console, images: Sequence[Row], wanted: Sequence[Target]) -> None:
    show(screen, "As an image", images)
    show_targets(screen, wanted)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB of state.db (default 1024)")
    parser.add_argument("--large", type=int, default=0, help="MiB of a second one, for memory alone (default none)")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each contestant in each phase (default 5)")
    parser.add_argument("--days", type=int, default=14, choices=range(1, 15), metavar="1…14", help="default 14")
    parser.add_argument("--short", action="store_true", help="no runs beside those that are timed, and the race alone")
    parser.add_argument("--json", type=Path, help="write the race's results to this file")
    parser.add_argument("--folder", type=Path, default=Path(".cache/bench"), help="where homes are kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
