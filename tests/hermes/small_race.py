"""Hold a race over a tiny home between this program and a pipe; in a process of its own, which adopts orphans.

Usage: small_race.py FOLDER RESULTS.json
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.contestants import environment, new_key
from bench.home import build, days, gateway
from bench.measure import adopt_orphans
from bench.versus.ours import DAILY, LEAN, ours
from bench.versus.pipes import COPY, pipes
from bench.versus.race import Course, Race, Stadium
from bench.versus.results import Results


def main() -> None:
    adopt_orphans()
    folder, file = Path(sys.argv[1]), Path(sys.argv[2])
    home, work = folder / "home", folder / "work"
    work.mkdir()
    build(home, 2 << 20, print)
    env = environment(work)
    with new_key() as key, gateway(home) as held:
        everybody = (*ours(home, work, key, env), *pipes(home, work, key))
        field = [it for it in everybody if it.name in (LEAN, DAILY, COPY)]
        race = Race(Course(home, held, days(home)[:2], 1), field, Stadium(work, env, key.end_agent, print))
        race.go()
    Results(("here",), 0.0, 2, 0, 1, 2, race.outcomes({})).write(file)


if __name__ == "__main__":
    main()
