"""The race: all contestants back up one home, from its first day over days of growth, and bring it back.

hermes-agent holds the home open all the while and appends a day's messages between two backups. Contestants take turns
in every phase, all write to one file system, and the page cache is warm for all alike. Memory is sampled in one run
of each phase, which is none of those that are timed: of the daily backups that is one more day, after those that count.
A short race has no run to spare, and samples the first that it times, and the last day. What the first run of a restore
brought back is compared with the home.

Whose backups are whole has nothing to do with the day before: it runs on as many days as there are runs, and a day
between counts with the bytes of the backup before it. If it has no other way to back up an unchanged home than the
daily one, that is not timed again.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.home import Gateway
from bench.measure import Run, run
from bench.versus.contestant import Argv, Contestant
from bench.versus.proof import Proof
from bench.versus.results import PHASES, Outcome, Phase, Timed

Say = Callable[[str], None]


@dataclass(frozen=True)
class Course:
    """What is run over: the home, who holds it open, what it says day by day, and how often.

    Attributes:
        days: so many daily backups are timed; ``spare`` is one more day.
        runs: so many runs are timed in each other phase.
        spare: for the runs in which memory is sampled; none where those that are timed have to do.
    """

    home: Path
    gateway: Gateway
    days: Sequence[Path]
    runs: int
    spare: Path | None = None


@dataclass(frozen=True)
class Stadium:
    """Where it is run: a folder, the environment of all, and what ends a gpg-agent that a contestant left."""

    work: Path
    env: Mapping[str, str]
    afterwards: Callable[[], None]
    say: Say

    def run(self, argv: Argv, env: Mapping[str, str], spared: int, *, sample: bool = False) -> Run:
        """Run a command to its end."""
        whole = {**self.env, **env}
        return run(argv, folder=self.work, env=whole, spared=spared, sample=sample, afterwards=self.afterwards)


class Race:
    """One race; what came of it stands in :meth:`outcomes`."""

    def __init__(self, course: Course, field: Sequence[Contestant], stadium: Stadium) -> None:
        self._course = course
        self._field = field
        self._stadium = stadium
        self._timed: dict[tuple[str, Phase], list[Run]] = {}
        self._peaks: dict[tuple[str, Phase], int] = {}
        self._gone = dict.fromkeys((it.name for it in field), 0)
        self._first: dict[str, int] = {}
        self._all: dict[str, int] = {}

    def go(self) -> None:
        """Go through all phases.

        Raises:
            SystemExit: a command failed, or brought back something else.
        """
        for sample, one in self._rounds(self._field):
            one.begin()
            if one.prepare:
                self._stadium.run(one.prepare, one.env, self._course.gateway.pid)
            self._back_up("first", one, one.backup, sample=sample)
        self._first = {it.name: sum(it.files().values()) for it in self._field}
        stayers = [it for it in self._field if not it.first_only]
        self._gone = dict.fromkeys(self._gone, 0)
        self._daily(stayers)
        for _ in range(self._course.runs):
            for one in stayers:
                if one.unchanged or not one.alone:
                    self._back_up("unchanged", one, one.unchanged or one.backup)
        self._restores(stayers)

    def outcomes(self, versions: Mapping[str, str]) -> tuple[Outcome, ...]:
        """Say what came of it."""
        return tuple(
            Outcome(
                name=it.name,
                kind=it.kind,
                note=it.note,
                version=versions.get(it.name, ""),
                allowed=it.memory,
                phases={phase: self._summary(it.name, phase) for phase in PHASES if (it.name, phase) in self._timed},
                first_bytes=self._first[it.name],
                all_bytes=self._all.get(it.name, 0),
            )
            for it in self._field
        )

    def _daily(self, stayers: Sequence[Contestant]) -> None:
        attended = spread(len(self._course.days), self._course.runs)
        for number, day in enumerate(self._course.days):
            sample = self._course.spare is None and day == self._course.days[-1]
            self._one_day(day, [it for it in stayers if not it.alone or number in attended], sample=sample)
            if number not in attended:
                for one in (it for it in stayers if it.alone):
                    self._gone[one.name] += one.newest
        self._all = {it.name: self._gone[it.name] + sum(it.files().values()) for it in stayers}
        if self._course.spare is not None:
            self._one_day(self._course.spare, stayers, sample=True)

    def _one_day(self, day: Path, stayers: Sequence[Contestant], *, sample: bool) -> None:
        self._course.gateway.append(day)
        for one in stayers:
            self._back_up("daily", one, one.backup, sample=sample)

    def _restores(self, stayers: Sequence[Contestant]) -> None:
        proof = Proof.of(self._course.home)
        ways: tuple[tuple[Phase, Callable[[Contestant], Argv | None]], ...] = (
            ("restore", lambda it: it.restore),
            ("leave", lambda it: it.leave),
            ("one", lambda it: it.one),
        )
        for phase, argv_of in ways:
            for sample, one in self._rounds([it for it in stayers if argv_of(it)]):
                one.make_room()
                self._take(phase, one, argv_of(one) or (), sample=sample)
                if sample and phase == "one":
                    proof.demand_one(one.back, one.name)
                elif sample:
                    proof.demand(one.back, one.name, indexes=phase == "restore")
                shutil.rmtree(one.back)

    def _rounds(self, field: Sequence[Contestant]) -> Iterator[tuple[bool, Contestant]]:
        """Give all in turns, the first time to be sampled."""
        for number in range(self._course.runs + (self._course.spare is not None)):
            for one in field:
                yield number == 0, one

    def _back_up(self, phase: Phase, one: Contestant, argv: Argv, *, sample: bool = False) -> None:
        before = one.files()
        self._take(phase, one, argv, sample=sample)
        self._gone[one.name] += one.forget(before)

    def _take(self, phase: Phase, one: Contestant, argv: Argv, *, sample: bool) -> None:
        taken = self._stadium.run(argv, one.env, self._course.gateway.pid, sample=sample)
        self._stadium.say(f"{PHASES[phase]}: {one.name}: {taken.seconds:.2f} s")
        if sample:
            self._peaks[one.name, phase] = taken.memory
        if not sample or self._course.spare is None:
            self._timed.setdefault((one.name, phase), []).append(taken)

    def _summary(self, name: str, phase: Phase) -> Timed:
        taken = self._timed[name, phase]
        cpu = statistics.median(it.cpu for it in taken)
        return Timed(tuple(it.seconds for it in taken), cpu, self._peaks.get((name, phase), 0))


def spread(days: int, runs: int) -> frozenset[int]:
    """Choose ``runs`` of so many days, evenly, the last among them; all if there are no more."""
    if runs >= days:
        return frozenset(range(days))
    return frozenset(days - 1 - round(it * (days - 1) / max(1, runs - 1)) for it in range(runs))
