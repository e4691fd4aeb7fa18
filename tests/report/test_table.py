"""The report as people see it, at 80 columns and wide, and as programs read it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from hermes_backup.errors import HOST_UNREACHABLE, HOSTS_FAILED, KEY_EXPIRES, REMOTE_UNREACHABLE, Fault
from hermes_backup.pipeline.reported import Deployed, HostWord, LastRun
from hermes_backup.pipeline.status import Trouble
from hermes_backup.report.data import data
from hermes_backup.report.drills import Drill
from hermes_backup.report.keys import KeyEnd
from hermes_backup.report.rows import FleetReport, HostReport
from hermes_backup.report.table import show, show_live
from tests.report.made import NIGHTLY, NOW, RECIPIENT, config, fleet, held, holding, report, status, text, word

DOWN = Fault(HOST_UNREACHABLE, "connect to host 203.0.113.7 port 22: Connection timed out")
EVIL = "\x1b[2J\x1b]0;owned\x07evil\r\nhost"
SOON = KeyEnd(RECIPIENT, NOW + timedelta(days=12), Fault(KEY_EXPIRES, "soon"))


def named(name: str, host: HostReport) -> HostReport:
    return replace(host, host=name, rows=tuple(replace(it, host=name) for it in host.rows))


def example() -> FleetReport:
    failed = LastRun(
        status(
            "failed", seconds=3723, stage="push", error=Trouble(name="HB-PUSH-FAILED", what="403 " * 30, mend="Check.")
        )
    )
    pair = (holding("r2:hermes", held(9, 80)), holding("nas:/srv/hermes", held(8, 104)))
    return fleet(
        named("hermes-fra-01", report(drill=Drill("drill", status(hours=240)), keys=(KeyEnd(RECIPIENT, None),))),
        named("hermes-fra-02", report(pair, DOWN)),
        named("hermes-amsterdam-prod-03", report(said=word(digest="other"), keys=(SOON,))),
        named("hermes-ams-04", report((holding("a", fault=Fault(REMOTE_UNREACHABLE, "no")),), word(failed))),
        named("hermes-ams-05", report((holding("a"),), word(LastRun(status("running", hours=0.01), alive=True)))),
    )


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_it_fits_the_terminal(width: int) -> None:
    lines = text(show(example(), width), width)
    assert max(map(len, lines)) <= width
    assert lines[0].split()[:3] == ["host", "pipeline", "state"]


def test_at_80_columns_nothing_that_matters_is_cut() -> None:
    lines = text(show(example(), 80), 80)
    assert [line.split() for line in lines[1:6]] == [
        ["hermes-fra-01", "nightly", "ok", "6", "h", "1.2", "GB", "+12", "MB", "done", "42", "s", "in", "17", "h"],
        ["hermes-fra-02", "nightly", "STALE", "3", "d", "1.2", "GB", "+12", "MB", "unreachable", "-"],
        [
            "hermes-amsterdam-p…",
            *["nightly", "ok", "6", "h", "1.2", "GB", "+12", "MB", "done", "42", "s", "in", "17", "h"],
        ],
        ["hermes-ams-04", "nightly", "unknown", "-", "-", "-", "failed", "1:02:03", "in", "17", "h"],
        ["hermes-ams-05", "nightly", "NONE", "-", "-", "-", "running", "36", "s", "in", "17", "h"],
    ]
    assert lines[-1] == "5 hosts: 2 fresh, 1 stale, 1 without any, 1 unknown  (2026-11-21 10:00:00 UTC)"
    assert "…" not in "\n".join(lines[6:])


def test_wide_it_shows_places_drill_key_configuration_and_agent() -> None:
    lines = text(show(example(), 140), 140)
    assert lines[0].split()[-6:] == ["next", "drill", "key", "ends", "config", "agent"]
    assert lines[1].split()[-6:] == ["9", "d", "never", "as", "declared", "0.1.0"]
    assert "1/2" in lines[2]
    assert "hermes-amsterdam-prod-03" in lines[3]
    assert lines[3].split()[-3:] == ["2026-12-03", "differs", "0.1.0"]


def test_mends_can_be_copied() -> None:
    said = "\n".join(text(show(fleet(report((holding("a", held(3, 80)),))), 200), 200))
    assert "hermes-backup logs prod vps1" in said
    two = fleet(report((holding("a", held(3, 80)),)), named("vps2", report((holding("a", held(3, 80)),))))
    said = "\n".join(text(show(two, 200), 200))
    assert "vps1/nightly, vps2/nightly: the newest snapshot is 3 d old" in said
    assert "hermes-backup logs prod HOST" in said


def test_of_many_hosts_a_few_are_named() -> None:
    many = fleet(*(named(f"vps{it}", report(said=DOWN)) for it in range(50)))
    lines = text(show(many, 80), 80)
    (line,) = [it for it in lines if "and 44 more" in it]
    assert line.startswith("  vps0, vps1, vps2, vps3, vps4, vps5 and 44 more: ")


def test_without_wrapping_each_sentence_is_a_line() -> None:
    lines = text(show(example(), 80, wrap=False), 400)
    assert any(it.startswith("  hermes-ams-04/nightly: its last run failed, in push: 403 403") for it in lines)


def test_the_worst_first_where_the_screen_may_end() -> None:
    lines = text(show_live(example(), 80), 80)
    assert lines[0].startswith("5 hosts: 2 fresh, 1 stale")
    assert [it.split()[2] for it in lines[3:8]] == ["STALE", "NONE", "unknown", "ok", "ok"]


def test_what_a_host_says_cannot_move_the_cursor() -> None:
    error = Trouble(name="HB-PUSH-FAILED", what=EVIL, mend=EVIL)
    said = word(LastRun(status("failed", stage=EVIL, error=error)))
    said = HostWord("vps1", said.pipelines, Deployed(EVIL, EVIL, NOW), systemd=True)
    for width in (80, 140):
        shown = "\n".join(text(show(fleet(report(said=said)), width), width))
        assert "\x1b" not in shown
        assert "\x07" not in shown
        assert "\\x1b[2J" in shown
    assert "\x1b" not in "\n".join(text(show(fleet(report(said=Fault(HOSTS_FAILED, EVIL))), 80), 80))


def test_a_pipeline_that_nobody_uses_has_no_row() -> None:
    made = config(pipelines={"nightly": NIGHTLY, "snapshot": None})
    assert len(data(fleet(report(made=made)))["hosts"][0]["pipelines"]) == 2
    assert "snapshot" not in "\n".join(text(show(fleet(report(made=made)), 80), 80)).replace("snapshot is", "")
    used = report((holding("a", held(3, 6)), holding("a", held(1, 900), "snapshot")), made=made)
    assert "snapshot manual" in "\n".join(text(show(fleet(used), 80), 80))
    unused = config(pipelines={"nightly": None, "snapshot": None})
    lines = text(show(fleet(report((holding("a"),), HostWord("vps1"), unused)), 80), 80)
    assert [it.split()[:3] for it in lines[1:3]] == [["vps1", "nightly", "NONE"], []]


def test_a_host_that_fails_gives_no_answer() -> None:
    assert "no answer" in text(show(fleet(report(said=Fault(HOSTS_FAILED, "no python"))), 80), 80)[1]
    assert "never" in text(show(fleet(report(said=HostWord("vps1"))), 80), 80)[1]


def test_json_holds_everything() -> None:
    told = json.loads(json.dumps(data(example())))
    assert (told["exit_code"], told["inventory"], told["at"]) == (10, "prod", "2026-11-21T10:00:00+00:00")
    first, second, third, fourth, _ = told["hosts"]
    assert (first["state"], first["reachable"], first["config"], first["agent"]) == (
        "fresh",
        True,
        "as declared",
        "0.1.0",
    )
    assert first["drill"] == {
        "pipeline": "drill", "result": "done", "finished": "2026-11-11T10:00:42+00:00",
        "age": 863_958.0, "due": "2027-02-19T10:00:42+00:00",
    }  # fmt: skip
    (row,) = first["pipelines"]
    assert (row["state"], row["allowed_age"], row["next_run"]) == ("fresh", 93600, "2026-11-22T03:30:00+00:00")
    assert row["newest"] == {
        "snapshot": "000003-20261121T033000Z", "time": "2026-11-21T03:30:00+00:00", "age": 23400, "size": 1_200_000_000,
        "growth": 12_000_000,
    }  # fmt: skip
    assert [it["place"] for it in row["places"]] == ["r2:hermes", "nas:/srv/hermes"]
    assert (row["last_run"]["result"], row["last_run"]["duration"]) == ("done", 42)
    assert (second["reachable"], second["error"]["name"]) == (False, "HB-HOST-UNREACHABLE")
    assert second["pipelines"][0]["last_run"] is None
    assert (third["config"], third["keys"][0]["error"]["name"]) == ("differs", "HB-KEY-EXPIRES")
    assert fourth["pipelines"][0]["last_run"]["error"]["name"] == "HB-PUSH-FAILED"
    assert fourth["pipelines"][0]["places"][0]["error"]["name"] == "HB-REMOTE-UNREACHABLE"
    names = {(it["host"], it["name"]) for it in told["concerns"]}
    assert {("hermes-fra-02", "HB-STALE"), ("hermes-ams-05", "HB-STALE"), ("hermes-ams-04", "HB-AGE-UNKNOWN")} <= names
