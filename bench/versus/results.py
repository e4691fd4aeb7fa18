"""What a race gave, as plain data: printed, written to a file, and drawn from it again."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from bench.versus.contestant import Kind

Phase = Literal["first", "daily", "unchanged", "restore", "leave", "one"]
PHASES: dict[Phase, str] = {
    "first": "first backup",
    "daily": "daily backup",
    "unchanged": "backup of an unchanged home",
    "restore": "restore",
    "leave": "restore, search indexes left to Hermes",
    "one": "restore of one file",
}


@dataclass(frozen=True)
class Timed:
    """All runs of one contestant in one phase: seconds of each, the median of CPU seconds, peak memory in bytes."""

    seconds: tuple[float, ...]
    cpu: float
    memory: int = 0

    @property
    def median(self) -> float:
        """The median of the seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Outcome:
    """What one contestant did, and the bytes that it stored after the first backup and after all days."""

    name: str
    kind: Kind
    note: str
    version: str
    allowed: int
    phases: dict[Phase, Timed]
    first_bytes: int
    all_bytes: int

    def median(self, phase: Phase) -> float | None:
        """The median seconds of a phase, where it took part."""
        timed = self.phases.get(phase)
        return timed.median if timed else None

    @property
    def peak(self) -> int:
        """The greatest peak of all backups, in bytes."""
        return max(timed.memory for phase, timed in self.phases.items() if phase in ("first", "daily"))


@dataclass(frozen=True)
class Limit:
    """One step of a backup alone: the median of its seconds, and how many bytes went in."""

    name: str
    seconds: float
    size: int


@dataclass(frozen=True)
class Results:
    """A whole race: where it was run, over what, and what came out.

    Attributes:
        machine: lines that name the machine and its programs.
        load: processes that wanted to run in the minute before.
        size: MiB of the home's state.db.
        text: characters that a day added.
        runs: timed runs of all phases but daily, which has one for each of ``days``.
        large: peak memory in bytes by contestant, with a state.db of ``large_size`` MiB.
        limits: what the machine does with the home's bytes, one step at a time.
    """

    machine: tuple[str, ...]
    load: float
    size: int
    text: int
    runs: int
    days: int
    outcomes: tuple[Outcome, ...]
    large_size: int = 0
    large: dict[str, int] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()

    def of(self, name: str) -> Outcome:
        """The outcome of one contestant."""
        return next(it for it in self.outcomes if it.name == name)

    def a_day(self, outcome: Outcome) -> float:
        """The bytes that a day of growth made a contestant store."""
        return (outcome.all_bytes - outcome.first_bytes) / self.days

    def write(self, file: Path) -> None:
        """Write them as JSON."""
        file.write_bytes(_ADAPTER.dump_json(self, indent=2) + b"\n")


def read(file: Path) -> Results:
    """Read what :meth:`Results.write` wrote."""
    return _ADAPTER.validate_json(file.read_bytes())


_ADAPTER = TypeAdapter(Results)
