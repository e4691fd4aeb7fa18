"""What follows from what was seen: states of pipelines, hosts and fleets, drift, and the exit code."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.errors import HOST_UNREACHABLE, PIPELINE_MISSING, REMOTE_UNREACHABLE, Fault
from hermes_backup.pipeline.reported import HostWord, LastRun, PipelineWord, UnitRun
from hermes_backup.pipeline.status import Heartbeat
from hermes_backup.report.holdings import Holding
from hermes_backup.report.rows import BY_ITS_WORD
from tests.report.made import NIGHTLY, NOW, config, fleet, held, holding, name, report, status, word

DOWN = Fault(HOST_UNREACHABLE, "no route")
UNREAD = Fault(REMOTE_UNREACHABLE, "no such host")
STORE = ["archive", {"store": {"path": "/srv/store"}}]


@pytest.mark.parametrize(
    ("holdings", "state", "code"),
    [
        ((holding("a", held(3, 6)), holding("b", held(3, 6))), "fresh", 0),
        ((holding("a", held(3, 6)), holding("b", held(1, 900))), "fresh", 0),
        ((holding("a", held(3, 27)), holding("b", held(1, 900))), "stale", 10),
        ((holding("a"), holding("b")), "none", 10),
        ((holding("a", held(3, 6)), holding("b", fault=UNREAD)), "fresh", 0),
        ((holding("a", held(3, 27)), holding("b", fault=UNREAD)), "unknown", 6),
        ((holding("a"), holding("b", fault=UNREAD)), "unknown", 6),
        ((holding("a", fault=UNREAD), holding("b", fault=UNREAD)), "unknown", 6),
    ],
)
def test_the_newest_over_all_places_decides(holdings: tuple[Holding, ...], state: str, code: int) -> None:
    for said in (word(), DOWN):
        made = report(holdings, said)
        assert (made.freshness, made.rows[0].freshness, int(fleet(made).exit_code)) == (state, state, code)


@given(st.lists(st.sampled_from(["fresh", "stale", "none", "unknown", "not judged"])))
def test_a_stale_host_is_worse_than_one_of_which_nobody_knows(states: list[str]) -> None:
    hosts = [replace(report(), freshness=it) for it in states]
    code = int(fleet(*hosts).exit_code)
    assert code == (10 if {"stale", "none"} & set(states) else 6 if "unknown" in states else 0)


def test_a_dead_host_is_stale_by_what_the_places_hold() -> None:
    made = report((holding("a", held(3, 80)),), DOWN)
    assert (made.freshness, made.silence, made.drift, made.rows[0].word) == ("stale", DOWN, "unknown", None)


def test_each_pipeline_with_a_schedule_is_judged_by_itself() -> None:
    """A snapshot every 15 minutes must not hide that the nightly backup has failed for a week."""
    made = config(pipelines={"nightly": NIGHTLY, "often": {"every": "15m"}, "by-hand": None})
    seen = (holding("a", held(3, 170)), holding("a", held(900, 0.1), "often"), holding("a", held(1, 999), "by-hand"))
    host = report(seen, made=made)
    assert [it.freshness for it in host.rows] == ["stale", "fresh", "not judged"]
    assert host.freshness == "stale"
    assert report(seen, made=made, pipeline="often").freshness == "fresh"


def test_a_weekly_backup_is_not_stale_on_tuesday() -> None:
    weekly = config(pipelines={"nightly": {"on_calendar": "Mon 03:30"}})
    assert report((holding("a", held(3, 24 * 6)),), made=weekly).freshness == "fresh"
    assert report((holding("a", held(3, 24 * 8)),), made=weekly).freshness == "stale"


def test_without_any_schedule_the_host_is_judged_by_its_newest_at_all() -> None:
    made = config(pipelines={"nightly": None, "other": None})
    old, new = holding("a", held(3, 170)), holding("a", held(1, 1), "other")
    assert report((old, new), made=made).freshness == "fresh"
    host = report((old,), made=made)
    assert (host.freshness, [it.freshness for it in host.rows]) == ("stale", ["stale", "stale"])
    assert report((holding("a"),), made=made).freshness == "none"
    assert report((holding("a", fault=UNREAD),), made=made).freshness == "unknown"


def beat(number: int, hours: float, *, ago: float) -> Heartbeat:
    return Heartbeat(snapshot=str(name(number, hours)), at=NOW - timedelta(hours=ago))


@pytest.mark.parametrize("state", ["unchanged", "running", "failed", "interrupted", "planned"])
def test_what_found_nothing_changed_is_as_good_as_a_snapshot_whatever_came_of_the_run_after_it(state: str) -> None:
    seen = (holding("a", held(3, 100)),)
    for heartbeat, freshness in [
        (beat(3, 100, ago=6.5), "fresh"),
        (beat(2, 200, ago=6.5), "stale"),
        (beat(3, 100, ago=60), "stale"),
        (beat(3, 100, ago=-60), "stale"),
        (None, "stale"),
    ]:
        last = LastRun(status(state, snapshot=str(name(3, 100)), heartbeat=heartbeat))
        assert report(seen, word(last)).freshness == freshness


def by_word(last: LastRun | None) -> HostWord:
    return HostWord("vps1", (PipelineWord("nightly", last),))


def test_where_only_the_host_holds_them_its_word_is_all_there_is() -> None:
    made = config()
    made = made.model_copy(update={"pipelines": {"nightly": {"stages": STORE, "schedule": NIGHTLY}}})
    done = by_word(LastRun(status(snapshot=str(name(3, 6.5)), stored=77)))
    host = report(said=done, made=made, holdings=(holding("elsewhere", held(9, 1), "other"),))
    (only,) = host.rows[0].holdings
    assert (host.freshness, only.place, only.newest and only.newest.size) == ("fresh", BY_ITS_WORD, 77)
    none = (holding("elsewhere", held(9, 1), "other"),)
    assert report(none, by_word(LastRun(status("failed", snapshot=str(name(3, 6.5))))), made).freshness == "none"
    assert report(none, by_word(LastRun(status(snapshot="../../etc/passwd"))), made).freshness == "none"
    assert report(none, by_word(None), made).freshness == "none"
    assert report(none, DOWN, made).freshness == "unknown"


@pytest.mark.parametrize(
    ("said", "drift"),
    [
        (word(), "as declared"),
        (word(digest="other"), "differs"),
        (word(digest=None), "not deployed"),
        (DOWN, "unknown"),
    ],
)
def test_drift(said: HostWord | Fault, drift: str) -> None:
    made = report(said=said)
    assert made.drift == drift
    assert made.agent == ("0.1.0" if drift in ("as declared", "differs") else "")


def test_a_pipeline_that_the_host_lacks_is_refused() -> None:
    with pytest.raises(Fault) as caught:
        report(pipeline="nigthly")
    assert caught.value.kind is PIPELINE_MISSING


def test_a_run_whose_process_is_gone_was_killed() -> None:
    running = status("running")
    assert LastRun(running, alive=True).result == "running"
    assert LastRun(running, alive=False).result == "killed"
    assert LastRun(status("done"), alive=False).result == "done"
    assert LastRun(status("done", seconds=61)).took == timedelta(seconds=61)


def test_a_unit_that_broke_before_the_agent_spoke() -> None:
    last = LastRun(status(hours=6))
    later = UnitRun("f" * 32, NOW - timedelta(hours=1), "failed", "exit-code")

    def broken(unit: UnitRun, last: LastRun | None = last) -> UnitRun | None:
        return PipelineWord("nightly", last, unit=unit).broken_unit

    assert broken(later) == later
    assert broken(later, None) == later
    assert broken(replace(later, invocation="r")) is None
    assert broken(replace(later, began=NOW - timedelta(hours=7))) is None
    assert broken(replace(later, active="inactive", result="success")) is None
    assert broken(replace(later, active="activating")) is None
    assert broken(replace(later, began=None)) is None
