"""What stands around a glance: commands, other places, prune, the heartbeat, the process."""

from __future__ import annotations

import json
import time

import pytest

from hermes_backup.pipeline.agent import Options
from tests.pipeline.calm import QUICK, calm, compared, quick_to_settle, settle, stages_of
from tests.site import Site, fill
from tests.waiting import until

__all__ = ["calm", "quick_to_settle"]
pytestmark = pytest.mark.usefixtures("quick_to_settle")


def test_commands_run_around_a_glance_as_around_a_compare(site: Site) -> None:
    """What one writes into the home before, such as a dump, is seen."""
    said, dump = site.root / "said", site.home / "dump.sql"
    moments = {"after": "after", "always": "always", "on_failure": "failed"}
    words = {it: ["/bin/sh", "-c", f"echo {word} >> {said}"] for it, word in moments.items()}
    before = ["/bin/sh", "-c", f"cmp -s {site.root}/data {dump} || cp {site.root}/data {dump}"]
    stages = [{"command": {"before": before, **words}}, *site.usual()]
    (site.root / "data").write_text("1\n")
    dump.write_text("1\n")
    settle()
    assert [site.run(stages, options=QUICK).state for _ in range(2)] == ["done", "unchanged"]
    assert "by its marks" in compared(site)
    assert said.read_text().split() == ["after", "always"] * 2
    (site.root / "data").write_text("2\n")
    assert site.run(stages, options=QUICK).state == "done"


def test_prune_comes_after_a_glance_too(site: Site) -> None:
    for _ in range(3):
        assert site.run().state == "done"
    stages = site.usual({"prune": {"keep_last": 4}})
    settle()
    assert [site.run(stages, options=QUICK).state for _ in range(2)] == ["done", "unchanged"]
    assert stages_of(site) == ["compare", "store", "prune"]
    fewer = site.usual({"prune": {"keep_last": 1}})
    assert [site.run(fewer, options=QUICK).state for _ in range(2)] == ["done", "unchanged"]
    assert len([it for it in site.snapshots() if it.endswith(".asc")]) == 1


@pytest.mark.parametrize("way", ["by its marks", "by content"])
def test_a_later_place_that_lacks_the_snapshot_gets_it(site: Site, way: str) -> None:
    """A push behind a prune is a group of its own: that the first places have the snapshot proves nothing of it."""
    stages = site.usual({"prune": {"keep_last": 9}}, {"push": {"to": [str(site.remote)], "attempts": 1}})
    site.remote.write_text("no folder")
    settle()
    failed = site.run(stages, options=QUICK)
    assert (failed.state, failed.places) == ("failed", (str(site.store),))
    site.remote.unlink()
    again = site.run(stages, options=QUICK)
    assert (again.state, again.places) == ("unchanged", (str(site.store), str(site.remote)))
    assert site.snapshots(site.remote) == site.snapshots()
    if way == "by content":
        (site.folder / "marks.json").unlink()
    assert site.run(stages, options=QUICK).places == (str(site.store), str(site.remote))
    assert ("by its marks" in compared(site)) == (way == "by its marks")
    for name in site.snapshots(site.remote):
        (site.remote / "vps1" / "nightly" / name).unlink()
    assert site.run(stages, options=QUICK).state == "unchanged"
    assert site.snapshots(site.remote) == site.snapshots()


def test_the_heartbeat_outlives_runs_that_tell_nothing(calm: Site) -> None:
    assert calm.status().heartbeat is None
    same = calm.run(options=QUICK)
    assert same.heartbeat is not None
    assert (same.heartbeat.snapshot, same.heartbeat.at) == (same.snapshot, same.started)
    assert calm.run(options=Options("t", dry_run=True)).heartbeat == same.heartbeat
    failed = calm.run([*calm.usual()[:-1], {"store": {"path": "/proc/nowhere"}}], options=QUICK)
    assert (failed.state, failed.heartbeat) == ("failed", same.heartbeat)
    fill(calm.home / "state.db", 1)
    assert calm.run(options=QUICK).heartbeat is None


def test_the_agent_ends_with_a_glance_as_a_process_of_its_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds are what it takes for everything to be settled, and no more."""
    monkeypatch.undo()
    for state in ("done", "unchanged"):
        time.sleep(2.1 if state == "done" else 0)
        agent = site.start(None, "--if-changed", "--json")
        out, err = agent.communicate(timeout=60)
        assert (agent.returncode, json.loads(out)["state"]) == (0, state), err
    until(lambda: "by its marks" in compared(site))
