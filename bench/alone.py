"""What this program is measured by alone: commands that only read, and images beside a script that makes one."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from rich.console import Console

from bench import contestants as field
from bench import imaging
from bench.contestants import Contestant, Key
from bench.home import gateway
from bench.measure import Run, run
from bench.table import Row, Target
from hermes_backup.snapshots.names import SnapshotName

_SNAPSHOTS = 1_000


class Alone:
    """The measuring of one home in one folder."""

    def __init__(self, home: Path, work: Path, key: Key, screen: Console) -> None:
        self._home = home
        self._work = work
        self._key = key
        self._screen = screen
        self._env: Mapping[str, str] = field.environment(work)

    def images(self, runs: int) -> list[Row]:
        """Let all make an image of the home: each once to warm up, its memory sampled, and then all in turns."""
        with gateway(self._home) as held:
            all_ = imaging.images(self._home, self._work / "images", self._key)
            warm = {it.name: self._run(it, held.pid, sample=True) for it in all_}
            timed: dict[str, list[tuple[Run, int]]] = {it.name: [] for it in all_}
            for number in range(runs):
                for it in all_:
                    self._screen.print(f"run {number + 1} of {runs}: {it.name}", style="dim")
                    timed[it.name].append(self._run(it, held.pid))
        return [_summary(it, warm[it.name][0], timed[it.name]) for it in all_]

    def commands(self) -> list[Target]:
        """Time commands that only read."""
        inventory, two = self._many(), self._two()
        return [
            self._command("hermes-backup --help", (field.PROGRAM, "--help"), 0.3),
            self._command(f"list, {_SNAPSHOTS} snapshots", (field.PROGRAM, "list", str(inventory)), 1.0),
            self._command("ls, 2 snapshots", (field.PROGRAM, "ls", str(two), field.HOST), 1.0),
            self._command("diff, 2 snapshots", (field.PROGRAM, "diff", str(two), field.HOST, "--no-content"), 1.0),
            self._command("find, 2 snapshots", (field.PROGRAM, "find", str(two), field.HOST, "SOUL.md"), 1.0),
        ]

    def _command(self, name: str, argv: Sequence[str], wanted: float) -> Target:
        self._screen.print(name, style="dim")
        taken = [run(argv, folder=self._work, env=self._env, afterwards=self._key.end_agent) for _ in range(6)]
        first, *runs = [it.seconds for it in taken]
        median = statistics.median(runs)
        said = f"{median:.2f} s ({min(runs):.2f}…{max(runs):.2f}, median of 5; the first took {first:.2f})"
        return Target(name, f"< {wanted} s", said, median < wanted)

    def _many(self) -> Path:
        """Make a local remote of many snapshots: the files of a real one, under as many names."""
        work = self._work / "many"
        home = work / "home"
        home.mkdir(parents=True)
        (home / "SOUL.md").write_text("I am small.\n", encoding="utf-8")
        stages = field.standard(self._key, work / "store")
        one = field.agent("many", stages, home, work, self._key)
        self._run(one, keep=True)
        folder = one.out / field.HOST / field.PIPELINE
        files = [it for it in folder.iterdir() if it.name[:1].isdigit()]
        for number in range(2, _SNAPSHOTS + 1):
            name = SnapshotName(number, datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(hours=number))
            for file in files:
                shutil.copy(file, folder / f"{name}.{file.name.partition('.')[2]}")
        return field.write_inventory(stages, home, work, self._key)

    def _two(self) -> Path:
        """Back the home up twice, and return the inventory."""
        work = self._work / "two"
        stages = field.standard(self._key, work / "store")
        one = field.agent("two", stages, self._home, work, self._key)
        for _ in range(2):
            run(one.argv, folder=self._work, env=self._env, afterwards=self._key.end_agent)
        inventory = field.write_inventory(stages, self._home, work, self._key)
        field.pin(inventory, work / "config", self._env)
        return inventory

    def _run(self, one: Contestant, holder: int = 0, *, sample: bool = False, keep: bool = False) -> tuple[Run, int]:
        field.emptied(one)
        taken = run(
            one.argv, folder=self._work, env=self._env, spared=holder, sample=sample, afterwards=self._key.end_agent
        )
        kept = field.stored(one)
        if not keep:
            shutil.rmtree(one.out)
        return taken, kept


def targets_of_images(rows: Sequence[Row]) -> list[Target]:
    """Compare our image with that of the script."""
    ours, bare = (next(it for it in rows if it.name == name) for name in (imaging.IMAGE, imaging.BARE))
    times = ours.seconds / bare.seconds
    return [
        Target("an image against mksquashfs of a copy", "<= 1.2 times its time", f"{times:.2f} times", times <= 1.2)
    ]


def _summary(contestant: Contestant, warm: Run, runs: Sequence[tuple[Run, int]]) -> Row:
    seconds = tuple(it.seconds for it, _ in runs)
    cpu = statistics.median(it.cpu for it, _ in runs)
    kept = round(statistics.median(it for _, it in runs))
    return Row(contestant.name, statistics.median(seconds), seconds, cpu, warm.memory, kept, contestant.note)
