"""What a place shows over time: gaps, and what was seen before."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.pipeline.drilled import drilled
from hermes_backup.pipeline.model import Pipeline, parse_pipeline
from hermes_backup.pipeline.remembering import Memory
from hermes_backup.pipeline.surveying import WINDOW, Survey, largest_gap, survey
from hermes_backup.snapshots.folder import FolderPlace
from tests.pipeline.forge import Forge, entry, pinned, tar_of

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=timezone.utc)
TIMES = st.lists(st.timedeltas(timedelta(0), timedelta(days=200)).map(lambda it: NOW - it), max_size=40)


def ago(*days: float) -> list[datetime]:
    return [NOW - timedelta(days=it) for it in days]


@pytest.mark.parametrize(
    ("times", "days"),
    [
        ([], None), (ago(0.25), 0.25), (ago(5, 4, 1), 3), (ago(3, 1), 2), (ago(400), 90), (ago(100, 40, 39), 50),
        (ago(-1), None), (ago(10, -5), 10),
    ],
)  # fmt: skip
def test_the_largest_gap(times: list[datetime], days: float | None) -> None:
    assert largest_gap(times, NOW) == (None if days is None else timedelta(days=days))


@given(TIMES)
def test_no_moment_of_the_window_is_further_from_its_last_snapshot_than_the_gap(times: list[datetime]) -> None:
    gap = largest_gap(times, NOW)
    assert (gap is None) == (not times)
    if gap is not None:
        assert timedelta(0) <= gap <= WINDOW
        later = sorted(it for it in times if it >= NOW - WINDOW)
        assert gap >= (NOW - later[-1] if later else WINDOW)
        assert gap >= max((b - a for a, b in itertools.pairwise(later)), default=gap)


def looked(forge: Forge) -> Survey:
    with pinned(forge.site, forge.key.public()) as key:
        return survey(FolderPlace(forge.site.store), "vps1", "nightly", key)


def chain(forge: Forge, *stages: object) -> list[tuple[str, str, str]]:
    pipeline = pipeline_of(forge.site.config(forge.site.usual(*stages)), "nightly")
    with pinned(forge.site, forge.key.public()) as key:
        return [(it.what, it.verdict, it.name) for it in looked(forge).findings(pipeline, key)]


def published(forge: Forge, *numbers: int) -> None:
    """Snapshots of which each names the one before as its predecessor, if it is that."""
    last: tuple[int, str] = (0, "")
    for number in numbers:
        previous = last[1] if number == last[0] + 1 and last[1] else None
        name = forge.publish(tar_of(entry("a", b"a")), number=number, previous=previous or "0" * 64)
        (known,) = [it for it in looked(forge).known if it.name == name]
        last = (number, known.manifest_sha256)


def test_gaps_that_prune_makes_are_no_news_and_others_are_told(forge: Forge) -> None:
    published(forge, 1, 4, 5, 6)
    assert chain(forge, {"prune": {"keep_last": 3}}) == [("signatures", "ok", ""), ("chain", "ok", "")]
    assert chain(forge, {"prune": {"keep_last": 4}}) == [("signatures", "ok", ""), ("chain", "unproven", "")]
    assert chain(forge) == [("signatures", "ok", ""), ("chain", "unproven", "")]


def test_a_chain_that_is_broken(forge: Forge) -> None:
    for number in (1, 2):
        forge.publish(tar_of(entry("a", b"a")), number=number, previous="0" * 64)
    assert ("chain", "failed", "HB-CHAIN-BROKEN") in chain(forge)


def test_the_memory_only_gets_newer_and_knows_hosts_by_their_keys(forge: Forge, tmp_path: Path) -> None:
    published(forge, 1, 2)
    both = looked(forge).known
    memory = Memory().having_seen("nightly", "A" * 40, both)
    memory.write(tmp_path / "seen.json")
    assert Memory.read(tmp_path / "seen.json") == memory
    assert memory.having_seen("nightly", "A" * 40, both[:1]) == memory
    assert memory.compare("nightly", "A" * 40, both).verdict == "ok"
    assert memory.compare("nightly", "A" * 40, both[:1]).name == "HB-ROLLBACK"
    assert memory.compare("nightly", "A" * 40, ()).name == "HB-ROLLBACK"
    assert memory.compare("nightly", "B" * 40, both[:1]).verdict == "unproven"
    assert memory.compare("other", "A" * 40, both[:1]).verdict == "unproven"
    (tmp_path / "seen.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        Memory.read(tmp_path / "seen.json")


def made(name: str, *stages: object, **more: object) -> Pipeline:
    pipeline = parse_pipeline(name, {"stages": list(stages), **more})
    assert isinstance(pipeline, Pipeline), pipeline
    return pipeline


@pytest.mark.parametrize(
    ("fetch", "whose"),
    [
        ({"from": "r2:a"}, "one"), ({"from": "r2:b"}, "two"), ({"from": "alias:b"}, "one"),
        ({"from": "r2:a", "pipeline": "two"}, "two"),
    ],
)  # fmt: skip
def test_whose_snapshots_a_drill_brings_back(fetch: dict[str, str], whose: str) -> None:
    sealed = ["archive", {"encrypt": {"recipients": ["A" * 40]}}]
    drill = made("drill", {"fetch": fetch}, "decrypt", "extract", "check", runs_on="controller")
    one, two = (made(name, *sealed, {"push": {"to": [to]}}) for name, to in (("one", "r2:a"), ("two", "r2:b")))
    assert drilled(drill, {"drill": drill, "one": one, "two": two}) == whose
    assert drilled(made("drill", {"fetch": {"from": "r2:a"}}), {"drill": drill}) == ""
