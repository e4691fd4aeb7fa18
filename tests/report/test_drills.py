"""The last drill, from what lies in the state folder of this machine."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.lock import locked
from hermes_backup.pipeline.status import Status
from hermes_backup.report.drills import Drill, last_drill
from tests.report.made import NOW, status
from tests.site import Site

DRILL = {"runs_on": "controller", "stages": [{"fetch": {"from": "r2:x"}}, "decrypt", "extract", "check"]}


def config(site: Site) -> HostConfig:
    plain = {"stages": ["archive", {"store": {"path": "/srv/store"}}]}
    return site.config([], pipelines={"nightly": plain, "drill": DRILL, "other": DRILL})


def write(root: Path, name: str, made: Status, file: str = "status.json") -> Path:
    path = root / "drills" / "vps1" / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    made.write(path)
    return path


def last(site: Site) -> Drill:
    drill = last_drill(config(site), site.root / "drills")
    assert drill is not None
    return drill


def test_a_host_without_a_drill_has_none(site: Site) -> None:
    assert last_drill(site.config(site.usual()), site.root) is None


def test_never(site: Site) -> None:
    write(site.root, "nightly", status())
    write(site.root, "other", status())
    drill = last(site)
    assert (drill.pipeline, drill.status, drill.passed) == ("drill", None, None)
    write(site.root, "drill", status()).write_text("{")
    assert last(site) == drill


def test_the_one_that_is_worst_off_counts(site: Site) -> None:
    write(site.root, "drill", status(hours=100))
    write(site.root, "other", status(hours=200))
    assert (last(site).pipeline, last(site).passed) == ("other", status(hours=200).finished)
    write(site.root, "other", status("failed", hours=50))
    write(site.root, "other", status(hours=200), "passed.json")
    assert (last(site).pipeline, last(site).passed) == ("other", None)


def only_one(site: Site) -> Drill:
    drill = last_drill(site.config([], pipelines={"drill": DRILL}), site.root / "drills")
    assert drill is not None
    return drill


def trouble(drill: Drill) -> tuple[str, str, str]:
    assert drill.status is not None
    assert drill.status.error is not None
    return drill.status.state, drill.status.error.name, drill.status.error.what


def test_one_that_was_killed_or_hangs_does_not_run_for_ever(site: Site) -> None:
    now = datetime.now(timezone.utc)
    running = status("running", stage="check").model_copy(update={"updated": now})
    write(site.root, "drill", running)
    assert trouble(only_one(site)) == ("failed", "HB-RUN-LOST", "it was killed, in check")
    with locked(site.root / "drills" / "vps1" / "drill" / "lock"):
        assert only_one(site).status == running
        write(site.root, "drill", running.model_copy(update={"updated": now - timedelta(days=3, hours=1)}))
        assert trouble(only_one(site)) == ("failed", "HB-RUN-LOST", "nothing was heard of it for 3 d, in check")


def test_while_one_runs_the_one_before_counts(site: Site) -> None:
    write(site.root, "drill", status("running").model_copy(update={"updated": datetime.now(timezone.utc)}))
    with locked(site.root / "drills" / "vps1" / "drill" / "lock"):
        assert only_one(site).passed is None
        write(site.root, "drill", status(hours=48), "passed.json")
        assert only_one(site).passed == status(hours=48).finished
        assert only_one(site).overdue(timedelta(days=1), NOW)


def test_when_the_next_is_due(site: Site) -> None:
    write(site.root, "drill", status(hours=48))
    drill = only_one(site)
    assert drill.passed is not None
    assert drill.due(timedelta(days=100)) == drill.passed + timedelta(days=100)
    assert not drill.overdue(timedelta(days=2), NOW)
    assert drill.overdue(timedelta(days=1), NOW)
    assert not Drill("drill", None).overdue(timedelta(days=1), NOW)
