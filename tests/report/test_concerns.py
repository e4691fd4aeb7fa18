"""What needs attention is said, each with its name; what is well is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from hermes_backup.errors import HOST_UNREACHABLE, KEY_EXPIRES, REMOTE_UNREACHABLE, UNPROVEN, Fault, catalog
from hermes_backup.pipeline.reported import HostWord, LastRun, UnitRun
from hermes_backup.pipeline.status import PartialFile, Trouble
from hermes_backup.report.concerns import Concern, concerns, grouped
from hermes_backup.report.drills import Drill
from hermes_backup.report.keys import KeyEnd
from hermes_backup.report.rows import HostReport
from tests.report.made import NOW, RECIPIENT, config, fleet, held, holding, name, report, status, word

DOWN = Fault(HOST_UNREACHABLE, "no route")
TROUBLE = Trouble(name="HB-PUSH-FAILED", what="403 Forbidden", mend="Check.")


def said(host: HostReport) -> list[tuple[str, str, str]]:
    return [(it.name, it.subject, it.what) for it in concerns(fleet(host))]


def test_nothing_is_said_of_what_is_well() -> None:
    drilled = Drill("drill", status(hours=24))
    assert said(report(drill=drilled, keys=(KeyEnd(RECIPIENT, None),))) == []
    assert said(report(said=word(LastRun(status("unchanged"))))) == []
    assert said(report(said=word(LastRun(status("running"), alive=True), hours=None))) == []


def with_unit(unit: UnitRun) -> HostWord:
    made = word()
    return replace(made, pipelines=(replace(made.pipelines[0], unit=unit),))


def with_problem(text: str) -> HostWord:
    made = word()
    return replace(made, pipelines=(replace(made.pipelines[0], last=None, problem=text),))


@pytest.mark.parametrize(
    ("host", "name", "subject", "what", "grave"),
    [
        (report((holding("a", held(3, 80)),)), "HB-STALE", "vps1/nightly",
         "the newest snapshot is 3 d old, 26 h are allowed", True),
        (report((holding("a"),)), "HB-STALE", "vps1/nightly", "there is no snapshot at all", True),
        (report((holding("a", held(3, 6)), holding("b", held(2, 30)))), "HB-ROLLBACK", "b",
         "it lacks 000003-20261121T040000Z of vps1/nightly; its newest is 000002-20261120T040000Z", False),
        (report((holding("a", held(3, 6)), holding("b"))), "HB-ROLLBACK", "b",
         "it lacks 000003-20261121T040000Z of vps1/nightly; it holds none", False),
        (report((holding("a", held(3, 6)),), word(LastRun(status(snapshot=str(name(4, 6)), places=("a",))))),
         "HB-ROLLBACK", "a", "000004-20261121T040000Z was there, says the last run of vps1, and is gone: "
         "the newest now is 000003-20261121T040000Z", True),
        (report((holding("a", held(3, 6)), holding("b", fault=Fault(REMOTE_UNREACHABLE, "gone")))),
         "HB-REMOTE-UNREACHABLE", "b", "gone", True),
        (report((holding("a", held(3, 6), doubt=Fault(UNPROVEN, "forged")),)), "HB-UNPROVEN", "a", "forged", False),
        (report(said=DOWN), "HB-HOST-UNREACHABLE", "vps1", "no route", False),
        (report(said=word(LastRun(status("failed", stage="push", error=TROUBLE)))), "HB-PUSH-FAILED", "vps1/nightly",
         "its last run failed, in push: 403 Forbidden", True),
        (report(said=word(LastRun(status("interrupted", error=TROUBLE)))), "HB-PUSH-FAILED", "vps1/nightly",
         "its last run interrupted: 403 Forbidden", False),
        (report(said=word(LastRun(status("running", stage="archive")))), "HB-RUN-LOST", "vps1/nightly",
         "its last run was killed, in archive", True),
        (report(said=word(LastRun(status("partial", partial=(PartialFile(path="x", reason="gone"),)), partial=3))),
         "HB-RUN-PARTIAL", "vps1/nightly", "its last run is partial, 3 files, the first is x: gone", False),
        (report(said=with_problem("not JSON")), "HB-RUN-LOST", "vps1/nightly",
         "its last run is not known: not JSON", False),
        (report(said=with_unit(UnitRun("f" * 32, NOW, "failed", "exit-code"))), "HB-RUN-LOST", "vps1/nightly",
         "its unit failed before the agent could say anything: exit-code", True),
        (report(keys=(KeyEnd(RECIPIENT, NOW, Fault(KEY_EXPIRES, "soon")),)), "HB-KEY-EXPIRES", "vps1", "soon", False),
        (report(said=word(digest="other")), "HB-DEPLOY-STALE", "vps1",
         "what was deployed on 2026-11-12 10:00 UTC, with agent 0.1.0 is not what is declared", False),
        (report(said=word(digest=None)), "HB-DEPLOY-STALE", "vps1",
         "nothing is deployed, so no schedule runs by itself", False),
        (report(said=word(hours=None)), "HB-TIMER-MISSING", "vps1/nightly",
         "its schedule runs nowhere: no timer waits on the host", False),
        (report(drill=Drill("drill", None)), "HB-DRILL-DUE", "vps1",
         "it was never drilled that its backups come back", False),
        (report(drill=Drill("drill", status(hours=101 * 24))), "HB-DRILL-OVERDUE", "vps1",
         "its last drill was 100 d ago, 100 d are allowed", True),
        (report(drill=Drill("drill", status("failed", error=TROUBLE))), "HB-PUSH-FAILED", "vps1/drill",
         "its last drill failed: 403 Forbidden", True),
    ],
)  # fmt: skip
def test_what_is_said(host: HostReport, name: str, subject: str, what: str, grave: bool) -> None:
    (only,) = concerns(fleet(host))
    assert (only.name, only.subject, only.what, only.grave) == (name, subject, what, grave)
    assert only.mend
    assert only.name in {it.name for it in catalog()}


def test_nobody_knows_and_which_place_is_to_blame() -> None:
    host = report((holding("a", held(3, 80)), holding("b", fault=Fault(REMOTE_UNREACHABLE, "no such host"))))
    assert said(host) == [
        ("HB-AGE-UNKNOWN", "vps1/nightly", "nobody knows how old its newest is: b cannot be read"),
        ("HB-REMOTE-UNREACHABLE", "b", "no such host"),
    ]


def test_a_place_may_lag_while_a_run_is_under_way() -> None:
    both = (holding("a", held(3, 6)), holding("b", held(2, 30)))
    assert said(report(both, word(LastRun(status("running"), alive=True)))) == []
    assert said(report(both, word(LastRun(status("running"), alive=False)))) != []


def test_no_timer_is_missed_where_none_can_be() -> None:
    no_schedule = config(pipelines={"nightly": None})
    assert said(report(said=word(hours=None), made=no_schedule)) == []
    assert said(report(said=word(digest=None, hours=None), made=no_schedule)) == []
    assert said(report(said=replace(word(hours=None), systemd=False))) == []


def test_the_gravest_comes_first() -> None:
    first = report(said=word(digest=None), drill=Drill("drill", None))
    second = report((holding("a", held(3, 80)),))
    names = [it.name for it in concerns(fleet(first, second))]
    assert names == ["HB-STALE", "HB-DEPLOY-STALE", "HB-DRILL-DUE"]


def test_what_is_said_of_many_is_said_once() -> None:
    def concern(host: str, name: str, what: str) -> Concern:
        return Concern(host, host, name, what, "Mend it.", grave=False)

    every = [concern("vps1", "A", "x"), concern("vps2", "A", "y"), concern("vps3", "A", "x"), concern("vps3", "B", "x")]
    one, two = grouped(every)
    assert (one.name, one.said, one.hosts) == (
        "A",
        ((("vps1", "vps3"), "x"), (("vps2",), "y")),
        ("vps1", "vps2", "vps3"),
    )
    assert (two.name, two.said) == ("B", ((("vps3",), "x"),))


def test_a_drill_of_today_is_no_concern() -> None:
    assert said(report(drill=Drill("drill", status(hours=timedelta(days=99) / timedelta(hours=1))))) == []
