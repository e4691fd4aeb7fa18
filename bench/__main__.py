"""Measure this program against shell recipes, in one run on one machine, and print what came out.

Everybody backs up the same home, whose ``state.db`` another process holds open in WAL mode, idle, as a gateway
does between two messages. The page cache cannot be dropped everywhere, so it is hot for all alike: each contestant
runs once before any run counts, and its memory is sampled then. The timed runs alternate, so that whatever else the
machine does meets them all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from rich.console import Console

from bench import coming, imaging, restoring
from bench import contestants as field
from bench.contestants import Contestant, Key
from bench.home import build, held_open
from bench.measure import Run, adopt_orphans, run
from bench.table import Row, Target, machine, show, show_targets
from hermes_backup.snapshots.names import SnapshotName

_MIB = 1 << 20
_SNAPSHOTS = 1_000
_BUSY = 0.7  # processes that want to run, on average of the minute before
_ROOM = 3.5  # times the home's size that the work of one size needs


def main() -> None:
    """Build the homes, measure, print."""
    given = _arguments()
    adopt_orphans()
    load = os.getloadavg()[0]
    screen = Console(width=150, highlight=False)
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [given.size, *([given.large] if given.large else [])]
    for size in sizes:
        _demand_room(folder, size)
        built = build(folder / f"home-{size}", size * _MIB, screen.print)
        permuted = f", {built.permuted / 1e6:.0f} million of them by permuting words" if built.permuted else ""
        screen.print(
            f"home {size}: state.db {built.database / 1e6:.0f} MB, {built.messages} messages, "
            f"{built.text / 1e6:.0f} million characters of this machine's text{permuted}"
        )
    with tempfile.TemporaryDirectory(prefix="work-", dir=folder) as name, field.new_key() as key:
        measured = _Measured(folder, Path(name), key, screen)
        rows = measured.compare(given.size, given.runs)
        targets = _targets(rows)
        if given.large:
            targets.append(measured.large(given.large, _row(rows, field.AGENT).memory))
        targets += measured.commands()
        images = measured.images(given.size, given.runs)
        targets += _targets_of_images(images)
        screen.print("brought to another machine", style="dim")
        at = folder / f"home-{given.size}"
        targets += coming.measure(at, Path(name) / "coming", lambda said: screen.print(said, style="dim")).targets()
        back = measured.back(given.size, given.runs)
        targets += _targets_back(back) + measured.looks()
    screen.print()
    for line in machine():
        screen.print(line)
    busy = "; the machine was busy, so its seconds say little" if load > _BUSY else ""
    screen.print(f"Load before the start: {load:.1f}{busy}")
    screen.print(f"Medians of {given.runs} runs in turns, after one to warm up; all write to one file system.\n")
    show(screen, f"A home with a state.db of {given.size} MiB", rows)
    show(screen, f"As an image, a state.db of {given.size} MiB", images)
    show(screen, f"Bringing it back, a state.db of {given.size} MiB", back)
    screen.print("peak MB: the greatest sum of the whole process tree's proportional set sizes, sampled every 50 ms\n")
    show_targets(screen, targets)


class _Measured:
    """The measuring in one folder."""

    def __init__(self, folder: Path, work: Path, key: Key, screen: Console) -> None:
        self._folder = folder
        self._work = work
        self._key = key
        self._screen = screen
        self._env = field.environment(work)
        self._made: tuple[Contestant, ...] = ()

    def compare(self, size: int, runs: int) -> list[Row]:
        """Let all contestants back up the home of one size."""
        home = self._folder / f"home-{size}"
        with held_open(home / "state.db") as holder:
            return self._timed(field.contestants(home, self._work / str(size), self._key), runs, holder)

    def images(self, size: int, runs: int) -> list[Row]:
        """Let all make an image of the home of one size."""
        home = self._folder / f"home-{size}"
        with held_open(home / "state.db") as holder:
            return self._timed(imaging.images(home, self._work / "images", self._key), runs, holder)

    def _timed(self, all_: Sequence[Contestant], runs: int, holder: int = 0) -> list[Row]:
        """Let each run once to warm up, its memory sampled, and then all in turns."""
        warm = {it.name: self._run(it, holder, sample=True) for it in all_}
        timed: dict[str, list[tuple[Run, int]]] = {it.name: [] for it in all_}
        for number in range(runs):
            for it in all_:
                self._screen.print(f"run {number + 1} of {runs}: {it.name}", style="dim")
                timed[it.name].append(self._run(it, holder))
        return [_summary(it, warm[it.name][0], timed[it.name]) for it in all_]

    def back(self, size: int, runs: int) -> list[Row]:
        """Back up, and let all bring it back."""
        home, work = self._folder / f"home-{size}", self._work / "back"
        self._made = restoring.backups(home, work, self._key)
        for it in (*self._made, self._made[0]):
            self._screen.print(f"to be brought back: {it.name}", style="dim")
            it.out.mkdir(parents=True, exist_ok=True, mode=0o700)
            run(it.argv, folder=self._work, env=self._env, afterwards=self._end_agent)
        return self._timed(restoring.ways_back(self._made, work, self._key), runs)

    def looks(self) -> list[Target]:
        """Time looks into the snapshots that :meth:`back` made."""
        return [self._command(f"{name}, 2 snapshots", argv, 1.0) for name, argv in restoring.looks(self._made).items()]

    def large(self, size: int, small_peak: int) -> Target:
        """Measure the agent's memory on a large home."""
        self._screen.print(f"memory at {size} MiB", style="dim")
        home = self._folder / f"home-{size}"
        with held_open(home / "state.db") as holder:
            taken, kept = self._run(field.agent(home, self._work / str(size), self._key), holder, sample=True)
        peak = taken.memory / 1e6
        said = f"{peak:.0f} MB ({taken.seconds:.0f} s, {kept / 1e6:.0f} MB stored)"
        ok = peak < 300 and taken.memory < 1.1 * small_peak
        return Target(f"peak memory of the agent, {size} MiB", "< 300 MB, and as above", said, ok)

    def commands(self) -> list[Target]:
        """Time commands that only read."""
        inventory = self._many()
        return [
            self._command("hermes-backup --help", (field.PROGRAM, "--help"), 0.3),
            self._command(f"list, {_SNAPSHOTS} snapshots", (field.PROGRAM, "list", str(inventory)), 1.0),
        ]

    def _command(self, name: str, argv: Sequence[str], wanted: float) -> Target:
        self._screen.print(name, style="dim")
        taken = [run(argv, folder=self._work, env=self._env, afterwards=self._end_agent) for _ in range(6)]
        first, *runs = [it.seconds for it in taken]
        median = statistics.median(runs)
        said = f"{median:.2f} s ({min(runs):.2f}…{max(runs):.2f}, median of 5; the first took {first:.2f})"
        return Target(name, f"< {wanted} s", said, median < wanted)

    def _end_agent(self) -> None:
        """End the gpg-agent that decryption starts: it would stay, as a user's does."""
        argv = ["gpgconf", "--homedir", str(self._key.home), "--kill", "all"]
        subprocess.run(argv, check=True, capture_output=True)

    def _many(self) -> Path:
        """Make a local remote of many snapshots: the files of a real one, under as many names."""
        work = self._work / "many"
        home = work / "home"
        home.mkdir(parents=True)
        (home / "SOUL.md").write_text("I am small.\n", encoding="utf-8")
        one = field.agent(home, work, self._key)
        self._run(one, keep=True)
        folder = one.out / field.HOST / field.PIPELINE
        files = [it for it in folder.iterdir() if it.name[:1].isdigit()]
        for number in range(2, _SNAPSHOTS + 1):
            name = SnapshotName(number, datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(hours=number))
            for file in files:
                shutil.copy(file, folder / f"{name}.{file.name.partition('.')[2]}")
        return field.write_inventory(home, work, self._key)

    def _run(
        self, contestant: Contestant, holder: int = 0, *, sample: bool = False, keep: bool = False
    ) -> tuple[Run, int]:
        field.emptied(contestant)
        taken = run(
            contestant.argv, folder=self._work, env=self._env, spared=holder, sample=sample, afterwards=self._end_agent
        )
        kept = field.stored(contestant)
        if not keep:
            shutil.rmtree(contestant.out)
        return taken, kept


def _summary(contestant: Contestant, warm: Run, runs: Sequence[tuple[Run, int]]) -> Row:
    seconds = tuple(it.seconds for it, _ in runs)
    cpu = statistics.median(it.cpu for it, _ in runs)
    kept = round(statistics.median(it for _, it in runs))
    return Row(contestant.name, statistics.median(seconds), seconds, cpu, warm.memory, kept, contestant.note)


def _targets(rows: Sequence[Row]) -> list[Target]:
    ours, recipe = _row(rows, field.AGENT), _row(rows, field.RECIPE)
    pipe = _row(rows, field.COPY_PIPE)
    faster = recipe.seconds / ours.seconds
    slower = ours.seconds / pipe.seconds
    share = ours.stored / recipe.stored
    peak = ours.memory / 1e6
    return [
        Target("the agent against the recipe", "5 times as fast", f"{faster:.1f} times", faster >= 5),
        Target("what is stored against the recipe", "smaller", f"{share:.0%} of it", share < 1),
        Target("the agent against the pipe with a copy", "<= 1.3 times its time", f"{slower:.2f} times", slower <= 1.3),
        Target("peak memory of the agent", "< 300 MB", f"{peak:.0f} MB", peak < 300),
    ]


def _targets_of_images(rows: Sequence[Row]) -> list[Target]:
    ours, bare = _row(rows, imaging.IMAGE), _row(rows, imaging.BARE)
    times = ours.seconds / bare.seconds
    return [
        Target("an image against mksquashfs of a copy", "<= 1.2 times its time", f"{times:.2f} times", times <= 1.2)
    ]


def _targets_back(rows: Sequence[Row]) -> list[Target]:
    ours, recipe = _row(rows, restoring.RESTORE), _row(rows, restoring.UNPACK)
    faster, peak = recipe.seconds / ours.seconds, ours.memory / 1e6
    return [
        Target("restore against gpg -d | tar -xz", "1.5 times as fast", f"{faster:.1f} times", faster >= 1.5),
        Target("peak memory of restore", "< 300 MB", f"{peak:.0f} MB", peak < 300),
    ]


def _row(rows: Sequence[Row], name: str) -> Row:
    return next(it for it in rows if it.name == name)


def _demand_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < _ROOM * size * _MIB:
        raise SystemExit(f"bench: {folder} has {free >> 20} MiB free, and {_ROOM * size:.0f} are needed")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB of state.db (default 1024)")
    parser.add_argument("--large", type=int, default=0, help="MiB of a second one, for memory alone (default none)")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each contestant (default 3)")
    parser.add_argument("--folder", type=Path, default=Path(".cache/bench"), help="where homes are kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
