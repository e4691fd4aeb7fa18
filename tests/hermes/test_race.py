"""The benchmark's race over a tiny home that hermes-agent makes and writes to; what it would not let pass."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from bench.versus.ours import DAILY, LEAN
from bench.versus.pipes import COPY
from bench.versus.proof import Proof
from bench.versus.race import spread
from bench.versus.results import PHASES, read

from tests.hermes.environment import SCRIPTS, hermes_python

ROOT = SCRIPTS.parents[1]


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    hermes_python()
    folder = tmp_path_factory.mktemp("race")
    argv = [sys.executable, str(SCRIPTS / "small_race.py"), str(folder), str(folder / "results.json")]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_everybody_goes_through_all_phases_and_is_counted(raced: Path) -> None:
    results = read(raced / "results.json")
    assert [it.name for it in results.outcomes] == [LEAN, DAILY, COPY]
    for it in results.outcomes:
        known = ["first", "daily", "restore", "one"] if it.name == COPY else list(PHASES)
        assert list(it.phases) == known  # an unchanged home is one more day for a copy
        assert len(it.phases["daily"].seconds) == (2 if it.name == DAILY else 1)
        assert it.peak > 1_000_000
    copy = results.of(COPY)
    assert 2.9 * copy.first_bytes < copy.all_bytes < 3.5 * copy.first_bytes  # a whole one each day, also those between
    assert results.of(LEAN).first_bytes < copy.first_bytes
    assert results.a_day(results.of(DAILY)) < results.a_day(results.of(LEAN)) / 2


@pytest.mark.parametrize(
    ("days", "runs", "chosen"), [(14, 5, {0, 3, 7, 10, 13}), (14, 1, {13}), (5, 5, {0, 1, 2, 3, 4}), (1, 5, {0})]
)
def test_days_are_chosen_evenly_and_the_last_is_one_of_them(days: int, runs: int, chosen: set[int]) -> None:
    assert spread(days, runs) == chosen


def test_a_home_that_came_back_otherwise_is_refused(raced: Path, tmp_path: Path) -> None:
    proof = Proof.of(raced / "home")
    back = tmp_path / "back"
    shutil.copytree(raced / "home", back / "home")
    proof.demand(back, "somebody", indexes=True)
    (back / "home" / "skills" / "skill-3" / "SKILL.md").unlink()
    with pytest.raises(SystemExit, match="did not bring back 1 of"):
        proof.demand(back, "somebody", indexes=True)
    with sqlite3.connect(back / "home" / "state.db") as database:
        database.execute("DELETE FROM messages_fts")
    with pytest.raises(SystemExit, match="a search does not find"):
        proof.demand(back, "somebody", indexes=True)
    with sqlite3.connect(back / "home" / "state.db") as database:
        database.execute("UPDATE messages SET content = 'other' WHERE id = 7")
    with pytest.raises(SystemExit, match="or others"):
        proof.demand(back, "somebody", indexes=False)


def test_more_or_less_than_the_one_file_is_refused(raced: Path, tmp_path: Path) -> None:
    proof = Proof.of(raced / "home")
    with pytest.raises(SystemExit, match="exactly"):
        proof.demand_one(tmp_path, "somebody")
    shutil.copy(raced / "home" / "SOUL.md", tmp_path)
    proof.demand_one(tmp_path, "somebody")
    (tmp_path / "more").write_text("more")
    with pytest.raises(SystemExit, match="exactly"):
        proof.demand_one(tmp_path, "somebody")
