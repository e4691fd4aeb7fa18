"""Homes that lie still, and what a run says of its compare."""

from __future__ import annotations

import json
import time

import pytest

from hermes_backup.home import timekeeping
from hermes_backup.home.selection import Rules
from hermes_backup.pipeline.agent import Options
from hermes_backup.stages.archive import Archive
from hermes_backup.stages.things import Home
from hermes_backup.streams.directory import Directory
from tests.held import select, untold
from tests.site import Site

QUICK = Options("test", if_changed=True)


def settle() -> None:
    """Let the next write get another time than all before."""
    time.sleep(timekeeping.SETTLED_NS / 1e9 + 0.05)


def compared(site: Site) -> str:
    """What the last run said of its compare, by marks or by content."""
    events = [json.loads(it) for it in (site.folder / "events.jsonl").read_text().splitlines()]
    return "; ".join(it["text"] for it in events if it["event"] == "note" and it["stage"] in ("compare", "archive"))


def stages_of(site: Site) -> list[str]:
    events = [json.loads(it) for it in (site.folder / "events.jsonl").read_text().splitlines()]
    return [it["stage"] for it in events if it["event"] == "stage"]


def _unopened() -> Directory:
    raise AssertionError("rules need no home")


@pytest.fixture
def quick_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 60 milliseconds do for what takes two seconds elsewhere: here nothing is late."""
    monkeypatch.setattr(timekeeping, "SETTLED_NS", 60_000_000)


@pytest.fixture
def calm(site: Site, quick_to_settle: None) -> Site:
    """A site with a snapshot whose marks are known: the next run ends with a glance."""
    why = untold(site.home, select(site.home, Archive().rules(Home(_unopened, Rules()))))
    if why:
        pytest.skip(f"here no home is believed by its marks: {why}")
    settle()
    assert site.run(options=QUICK).state == "done"
    return site
