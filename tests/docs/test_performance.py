"""The figures of a race as they come into the documentation: tables, plots, markers; from a result made up for it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench.page import between, write
from bench.versus.ours import VARIANTS
from bench.versus.peers import BORG, RESTIC
from bench.versus.pipes import COPY, RECIPE
from bench.versus.results import Kind, Limit, Outcome, Phase, Results, Timed, read
from bench.versus.targets import targets

from tests.docs.test_docs import ROOT

_MB = 1_000_000
_LIMITS = (Limit("read from disk", 2.0, 1000 * _MB), Limit("gpg", 0.5, 100 * _MB))


def outcome(name: str, kind: Kind, seconds: float, size: int, *, allowed: int = 0) -> Outcome:
    """One who takes as long in each phase, and stores a tenth of the first backup each day."""
    timed = Timed((seconds, 2 * seconds, seconds / 2), seconds, 100 * _MB)
    phases: tuple[Phase, ...] = ("first", "daily", "unchanged", "restore", "leave", "one")
    whole = dict.fromkeys(phases, timed)
    return Outcome(name, kind, "a note", "1.2.3", allowed, whole, size * _MB, size * _MB * 24 // 10)


@pytest.fixture
def results() -> Results:
    ours = tuple(outcome(it.name, "ours", 1.0, 10, allowed=it.memory) for it in VARIANTS)
    others = (outcome(RESTIC, "peer", 4.0, 90), outcome(BORG, "peer", 3.0, 100), outcome(COPY, "limit", 0.9, 40))
    return Results(
        ("a <processor>, 2 cores, 24 GiB", "Linux 6.1"), 0.1, 1024, 3 * _MB, 3, 14, (*ours, *others), limits=_LIMITS
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/performance.md"):
        (tmp_path / name).write_text((ROOT / name).read_text("utf-8"), "utf-8")
    return tmp_path


def test_this_program_runs_with_and_without_indexes_each_with_and_without_deltas() -> None:
    assert sorted((it.search_indexes, it.delta) for it in VARIANTS) == [
        ("auto", False), ("auto", True), ("keep", False), ("keep", True),
    ]  # fmt: skip


def test_both_pages_get_their_figures_between_their_markers(results: Results, project: Path) -> None:
    write(results, project)
    page = (project / "docs" / "performance.md").read_text("utf-8")
    assert "| `restic` | 4.00 | 4.00 | 4.00 | 4.00 (4.00 without indexes) | 4.00 | 90.0 | 9.00 | 216 | 100 |" in page
    assert "| read from disk | 2.00 | 1000 | 500 |\n| gpg | 0.50 | 100 | 200 |\n" in page
    assert "| daily backup: time | ≤ 0.5 of the best peer's | 0.33 (" in page
    assert "stores 1.0 MB; the quickest other, `borg`, takes 3.0 s, the smallest, `restic`" in (
        project / "README.md"
    ).read_text("utf-8")
    assert "takes 1.0 s, and 1 s with all search indexes made again." in (project / "README.md").read_text("utf-8")
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


def test_what_stands_around_the_figures_is_left_alone(results: Results, project: Path) -> None:
    write(results, project)
    before = {it: (project / it).read_text("utf-8") for it in ("README.md", "docs/performance.md")}
    write(results, project)
    assert {it: (project / it).read_text("utf-8") for it in before} == before
    for name, text in before.items():
        assert between(text, "") == between((ROOT / name).read_text("utf-8"), "")


@pytest.mark.parametrize("text", ["no markers\n", "<!-- written by make bench-docs -->\n"])
def test_a_page_without_its_markers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="0 pairs"):
        between(text, "")


def test_the_plots_are_drawings_of_every_contestant(results: Results, project: Path) -> None:
    write(results, project)
    for name in ("performance", "speed"):
        root = ElementTree.parse(project / "docs" / f"{name}.svg").getroot()
        said = [it.text for it in root.iter("{http://www.w3.org/2000/svg}text")]
        bars = list(root.iter("{http://www.w3.org/2000/svg}rect"))
        assert bars
        assert {it.name for it in results.outcomes} <= set(said)
        widths = [float(it.attrib["width"]) for it in bars]
        assert min(widths) > 0
        assert max(float(it.attrib["x"]) + float(it.attrib["width"]) for it in bars) < float(root.attrib["width"])


def test_what_is_written_is_read_again(results: Results, tmp_path: Path) -> None:
    some = replace(results, large_size=4096, large={VARIANTS[0].name: 299 * _MB, VARIANTS[1].name: 301 * _MB})
    some.write(tmp_path / "results.json")
    assert read(tmp_path / "results.json") == some


def test_each_figure_is_compared_with_whoever_has_the_best_of_it(results: Results) -> None:
    seen = {it.what: it for it in targets(results)}
    assert "borg 3.00 s" in seen["first backup: time"].measured
    assert "restic 90.00 MB" in seen["first backup: bytes"].measured
    assert [seen[it].ok for it in ("first backup: time", "daily backup: bytes a day")] == [True, False]
    assert seen["keep against copy, tar and zstd alone"].measured.startswith("1.11")


def test_who_was_not_timed_with_an_unchanged_home_takes_as_long_as_daily(results: Results, project: Path) -> None:
    recipe = outcome(RECIPE, "peer", 0.5, 100)
    phases = {phase: timed for phase, timed in recipe.phases.items() if phase != "unchanged"}
    some = replace(results, outcomes=(*results.outcomes, replace(recipe, phases=phases)))
    seen = {it.what: it.measured for it in targets(some)}
    assert "borg 3.00 s" in seen["unchanged backup: time"]
    write(some, project)
    page = (project / "docs" / "performance.md").read_text("utf-8")
    assert "gpg -e` | 0.50 | 0.50 | as daily | 0.50" in page


def test_of_how_many_runs_the_medians_are_is_told(results: Results, project: Path) -> None:
    lean = results.outcomes[0]
    daily = Timed((1.0,) * 14, 1.0, 100 * _MB)
    write(
        replace(results, outcomes=(replace(lean, phases={**lean.phases, "daily": daily}), *results.outcomes[1:])),
        project,
    )
    page = (project / "docs" / "performance.md").read_text("utf-8")
    assert "in turns: first backup 3, daily backup 3 or 14, backup of an unchanged home 3," in page


def test_memory_that_is_too_much_with_a_large_home_is_missed(results: Results) -> None:
    large = dict.fromkeys((it.name for it in VARIANTS), 301 * _MB)
    seen = [it for it in targets(replace(results, large_size=4096, large=large)) if it.what.endswith("4096 MiB")]
    assert [it.ok for it in seen] == [it.memory > 301 * _MB for it in VARIANTS]
