"""The last drill, from what lies in the state folder of this machine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.lock import locked
from hermes_backup.pipeline.status import Status
from hermes_backup.report.drills import Drill, last_drill
from tests.report.made import NOW, status
from tests.site import Site

DRILL = {"runs_on": "controller", "stages": [{"fetch": {"from": "r2:x"}}, "decrypt", "extract"]}


def config(site: Site) -> HostConfig:
    plain = {"stages": ["archive", {"store": {"path": "/srv/store"}}]}
    return site.config([], pipelines={"nightly": plain, "drill": DRILL, "other": DRILL})


def write(folder: Path, name: str, made: Status) -> None:
    (folder / "state" / "vps1" / name).mkdir(parents=True, exist_ok=True)
    made.write(folder / "state" / "vps1" / name / "status.json")


def test_a_host_without_a_drill_has_none(site: Site) -> None:
    assert last_drill(site.config(site.usual())) is None


def test_never(site: Site) -> None:
    write(site.root, "nightly", status())
    drill = last_drill(config(site))
    assert drill is not None
    assert (drill.status, drill.passed) == (None, None)
    (site.root / "state" / "vps1" / "drill").mkdir()
    (site.root / "state" / "vps1" / "drill" / "status.json").write_text("{")
    assert last_drill(config(site)) == drill


def test_the_last_one_counts_and_only_if_it_passed(site: Site) -> None:
    write(site.root, "drill", status(hours=100))
    write(site.root, "other", status(hours=200))
    drill = last_drill(config(site))
    assert drill is not None
    assert (drill.pipeline, drill.passed) == ("drill", status(hours=100).finished)
    write(site.root, "other", status("failed", hours=50))
    drill = last_drill(config(site))
    assert drill is not None
    assert (drill.pipeline, drill.passed) == ("other", None)


def test_one_that_was_killed_does_not_run_for_ever(site: Site) -> None:
    write(site.root, "drill", status("running", stage="check"))
    drill = last_drill(config(site))
    assert drill is not None
    assert drill.status is not None
    assert drill.status.error is not None
    assert (drill.status.state, drill.status.error.name, drill.status.error.what) == (
        "failed", "HB-RUN-LOST", "it was killed, in check",
    )  # fmt: skip
    with locked(site.root / "state" / "vps1" / "drill" / "lock"):
        drill = last_drill(config(site))
    assert drill is not None
    assert drill.status == status("running", stage="check")


def test_when_the_next_is_due(site: Site) -> None:
    write(site.root, "drill", status(hours=48))
    drill = last_drill(config(site))
    assert drill is not None
    assert drill.passed is not None
    assert drill.due(timedelta(days=100)) == drill.passed + timedelta(days=100)
    assert not drill.overdue(timedelta(days=2), NOW)
    assert drill.overdue(timedelta(days=1), NOW)
    assert not Drill("drill", None).overdue(timedelta(days=1), NOW)
