"""The last drill, from what lies in the state folder of this machine."""

from __future__ import annotations

from pathlib import Path

from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.status import Status
from hermes_backup.report.drills import last_drill
from tests.report.made import status
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
