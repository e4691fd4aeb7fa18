"""The page of a drill: whole in itself, and safe whatever the agent named its files."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from hermes_backup.pipeline.drill_result import Drilled, Trial, evidence_of
from hermes_backup.report.drill_page import page
from hermes_backup.report.drill_table import show
from hermes_backup.snapshots.evidence import Phases, from_json, to_json
from hermes_backup.stages.things import Finding
from tests.report.made import NOW, name, text

EVIL = "<script>alert(1)</script>\"'&\x1b[31m{{ 7*7 }}\u202e"


def drilled(*findings: Finding, hours: float = 7, **more: object) -> Drilled:
    trial = Trial(name(3, hours), "0" * 64, 120, 5_000_000, Phases(look=0.5, fetch=2, extract=3, check=4), findings)
    given = {"newest": name(3, hours), "largest_gap": timedelta(hours=25), "trials": (trial,), **more}
    return Drilled("vps1", "drill", "nightly", "r2:x", NOW, NOW, timedelta(hours=26), **given)  # type: ignore[arg-type]  # any of its fields


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {it[0] for it in attrs}


def test_names_of_the_agent_are_text_and_nothing_else() -> None:
    made = page(drilled(Finding(EVIL, "failed", EVIL, (EVIL,) * 30, "HB-RESTORE-CHECK"), warnings=(EVIL,)))
    tags = Tags()
    tags.feed(made)
    assert "script" not in tags.seen
    assert tags.attributes <= {"lang", "charset", "name", "content", "class", "http-equiv"}
    assert "\x1b" not in made
    assert "\u202e" not in made
    assert "{{ 7*7 }}" in made
    assert "and 10 more" in made


def test_it_needs_nothing_from_elsewhere() -> None:
    made = page(drilled(Finding("files", "ok", "120 of the index")))
    assert not re.search(r"https?://|url\(|src=|href=|@import", made)
    for said in ("passed", "9.5 s", "7 h", "25 h", "120 of the index", "r2:x"):
        assert said in made


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_fits(width: int) -> None:
    several = [
        ("vps1", drilled(Finding("key A", "unproven", "its private key is not at hand"))),
        ("hermes-fra-02", drilled(Finding("files", "failed", "1 of 120: it is missing", ("a\nb",)))),
        ("vps3", drilled(hours=60)),
    ]
    lines = text(show(several), width)
    assert max(map(len, lines)) <= width
    assert [line.split()[:3:2] for line in lines[1:4]] == [
        ["vps1", "passed"], ["hermes-fra-02", "failed"], ["vps3", "stale"],
    ]  # fmt: skip
    shown = "\n".join(lines)
    assert "not proven: key A" in shown
    assert "3 drills: 1 passed, 1 failed, 1 stale" in shown


def test_evidence_is_read_as_it_was_written_and_without_names() -> None:
    evidence = evidence_of(drilled(Finding("files", "failed", "1 of 120: it is missing", ("secret-name",)), hours=1.5))
    assert from_json(to_json(evidence)) == evidence
    assert "secret-name" not in to_json(evidence)
    assert (evidence.result, evidence.age, evidence.largest_gap) == ("failed", 5400.0, 90_000.0)
    with pytest.raises(ValueError, match="extra"):
        from_json(to_json(evidence).replace('"age"', '"more": 1, "age"'))


@pytest.mark.parametrize(("hours", "result"), [(7, "passed"), (27, "stale"), (-0.05, "passed"), (-1, "stale")])
def test_what_is_too_old_or_from_the_future_is_stale(hours: float, result: str) -> None:
    assert drilled(hours=hours).result == result
