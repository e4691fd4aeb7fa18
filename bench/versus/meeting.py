"""Everything for a race in one folder: a copy of the home that may grow, hermes-agent in it, the contestants."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.contestants import Key
from bench.home import Gateway, days, gateway
from bench.table import machine
from bench.versus.contestant import Contestant
from bench.versus.limits import limits
from bench.versus.ours import ours
from bench.versus.peers import peers
from bench.versus.pipes import pipes
from bench.versus.race import Course, Race, Stadium
from bench.versus.results import Results


@dataclass(frozen=True)
class Plan:
    """How often: timed runs a phase, and days; ``spare`` gives the sampling of memory runs of its own.

    ``load`` is what the machine was busy with before anything of this began.
    """

    size: int
    runs: int
    days: int
    spare: bool
    load: float


def hold(base: Path, plan: Plan, key: Key, stadium: Stadium) -> Results:
    """Hold the race over a copy of the home ``base``.

    Raises:
        SystemExit: a contestant failed, or brought back something else.
    """
    timed = days(base)[: plan.days]
    spare = days(base)[plan.days] if plan.spare else None
    with _entered(base, stadium) as (home, held):
        work, env = stadium.work, stadium.env
        field = (*ours(home, work, key, env), *peers(home, work, key), *pipes(home, work, key))
        lacking = [it.name for it in field if it.kind == "peer" and it.version and not _is_there(it, env)]
        if lacking:
            raise SystemExit(f"bench: not installed: {', '.join(lacking)}; `tools/environment bench` installs them")
        versions = {it.name: _version(it, env) for it in field if it.version}
        race = Race(Course(home, held, timed, plan.runs, spare), field, stadium)
        race.go()
        alone = limits(home, key, stadium, held.pid)
    return Results(
        machine=tuple(machine()),
        load=plan.load,
        size=plan.size,
        text=_text(timed),
        runs=plan.runs,
        days=plan.days,
        outcomes=race.outcomes(versions),
        limits=alone,
    )


def peaks(base: Path, key: Key, stadium: Stadium) -> dict[str, int]:
    """Return the peak memory of this program's own variants over a first and a daily backup of the home ``base``."""
    found: dict[str, int] = {}
    with _entered(base, stadium) as (home, held):
        agents = [it for it in ours(home, stadium.work, key, stadium.env) if it.memory]
        for when in ("first", "daily"):
            for one in agents:
                before = one.files()
                stadium.say(f"memory: {when}, {one.name}")
                taken = stadium.run(one.backup, one.env, held.pid, sample=True)
                found[one.name] = max(found.get(one.name, 0), taken.memory)
                one.forget(before)
            if when == "first":
                held.append(days(base)[0])
    return found


@contextmanager
def _entered(base: Path, stadium: Stadium) -> Iterator[tuple[Path, Gateway]]:
    """Copy the home, and let hermes-agent hold the copy open."""
    home = stadium.work / "home"
    shutil.copytree(base, home, symlinks=True)
    with gateway(home) as held:
        yield home, held


def _text(files: Sequence[Path]) -> int:
    """Return the characters that a day adds."""
    return sum(len(json.loads(row)[2]) for it in files for row in it.open(encoding="utf-8")) // len(files)


def _is_there(one: Contestant, env: Mapping[str, str]) -> bool:
    return shutil.which((one.version or ("",))[0], path=env.get("PATH")) is not None


def _version(one: Contestant, env: Mapping[str, str]) -> str:
    argv = one.version or ()
    said = subprocess.run(argv, check=True, capture_output=True, text=True, env={**env, **one.env}).stdout
    found = re.search(r"\d+(\.\d+)+", said)
    return found.group() if found else "?"
