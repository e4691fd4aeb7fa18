"""Data without a manifest: of a killed run, of a push under way, and of a snapshot whose manifest was taken away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.pipeline.config import dump
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.prune_journal import PruneJournal
from hermes_backup.snapshots.retention import Rules
from hermes_backup.stages.expire import Thinned
from tests.pipeline.forge import FOLDER, faults, pinned, verified
from tests.site import PROGRAM, Site
from tests.thinning import thin

_DYING = str(Path(__file__).with_name("dying.py"))
_PRUNE = {"prune": {"keep_last": 1}}
_DAYS = timedelta(days=2)


def kill_run(site: Site, event: str, pattern: str, *stages: Any) -> None:
    """Run, and be killed before one step."""
    folder = site.root / "config"
    folder.mkdir(exist_ok=True)
    (folder / "vps1.json").write_text(dump(site.config(site.usual(*stages))))
    argv = [sys.executable, _DYING, event, pattern, *PROGRAM, "agent", "run", "nightly", "--config", str(folder)]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == -9
    time.sleep(1.1)  # names have whole seconds


def killed_run(site: Site) -> SnapshotName:
    """Kill a run when its data and its list of files are there; return the name that it would have had."""
    kill_run(site, "open", "*/.ledger.json.new")
    (name,) = {SnapshotName.parse(it.split(".")[0]) for it in unfinished(site)}
    return name


def unfinished(site: Site) -> list[str]:
    """Data and lists of files without a manifest."""
    names = site.snapshots()
    signed = {it.split(".")[0] for it in names if it.endswith(".manifest.asc")}
    return [it for it in names if it[0] == "0" and it.split(".")[0] not in signed]


def aged(site: Site, name: SnapshotName, *, touched: bool = True) -> SnapshotName:
    """Let a run have been killed two days ago, by the name of what it left, and by the times of its files."""
    older = SnapshotName(name.sequence, name.time - _DAYS)
    for path in (site.store / FOLDER).glob(f"{name}.*"):
        if touched:
            os.utime(path, (path.stat().st_mtime - _DAYS.total_seconds(),) * 2)
        path.rename(path.with_name(path.name.replace(str(name), str(older))))
    return older


def thinned(site: Site, *, keep: int = 1, dry_run: bool = False) -> tuple[Thinned, list[str]]:
    """Prune the store, and return what was told before anything went."""
    told: list[str] = []
    with pinned(site) as pin:
        place, now = FolderPlace(site.store), datetime.now(timezone.utc)
        rules, journal = Rules(keep_last=keep), PruneJournal(site.root / "prune.json")
        return thin(place, ("vps1", "nightly"), rules, pin, now, journal, dry_run=dry_run, tell=told.append), told


def finished(site: Site) -> list[int]:
    return [int(it[:6]) for it in site.snapshots() if it.endswith(".manifest.asc")]


def test_what_a_killed_run_left_goes_when_it_is_a_day_old(site: Site) -> None:
    site.run()
    left = killed_run(site)
    files = unfinished(site)
    assert [it.split(".")[1] for it in files] == ["index", "tar"]
    found = verified(site)
    assert (faults(found), found.warnings) == ([], (f"{left} is not finished yet: its push may be under way",))
    assert site.run(site.usual(_PRUNE)).exit_code == 0
    assert (unfinished(site), finished(site)) == (files, [1, 2]), "what shows that it is nobody's stays with it"
    found = verified(site)
    assert (faults(found), len(found.warnings)) == ([], 1)
    assert found.warnings[0].startswith(f"{left} is left of a run that was killed")
    left = aged(site, left)
    files = unfinished(site)
    site.run()
    planned, told = thinned(site, dry_run=True)
    assert (sorted(planned.leftovers), unfinished(site)) == (files, files)
    assert [it.split()[1] for it in told] == files
    assert site.run(site.usual(_PRUNE)).exit_code == 0
    log = (site.folder / "events.jsonl").read_text()
    assert all(f"{it} goes, for it is left of a run that was killed" in log for it in files)
    assert (unfinished(site), finished(site)) == ([], [4])
    found = verified(site)
    assert (faults(found), found.warnings) == ([], ())


def test_it_goes_though_no_snapshot_does_and_nothing_else(site: Site) -> None:
    left = killed_run(site)
    for _ in range(2):
        site.run()
    left = aged(site, left)
    foreign = site.store / FOLDER / f"{left}.tar.zst.gpg.bak"
    foreign.write_bytes(b"of somebody else")
    done, told = thinned(site, keep=9)
    assert (done.pruned.deleted, len(done.leftovers), len(told)) == ((), 2, 2)
    assert unfinished(site) == [foreign.name]
    assert finished(site) == [1, 2]


def test_files_that_the_place_calls_young_stay(site: Site) -> None:
    site.run()
    left = killed_run(site)
    site.run()
    site.run()
    aged(site, left, touched=False)
    assert (thinned(site)[0].leftovers, len(unfinished(site))) == ((), 2)


def test_what_no_later_number_follows_stays(site: Site) -> None:
    site.run()
    left = aged(site, killed_run(site))
    assert (thinned(site)[0].leftovers, len(unfinished(site))) == ((), 2)
    assert faults(verified(site)) == ["HB-MANIFEST-BAD"], "its manifest may have been taken away"
    site.run()
    assert (thinned(site)[0].leftovers, len(unfinished(site))) == ((), 2), "another of its number is no higher one"
    assert str(left) in verified(site).warnings[0]


@pytest.mark.parametrize("number", [1, 2])
def test_data_whose_manifest_was_taken_away_are_missed_and_stay(site: Site, number: int) -> None:
    for _ in range(3):
        site.run()
    (manifest,) = (site.store / FOLDER).glob(f"00000{number}-*.manifest.asc")
    name = SnapshotName.parse(manifest.name.split(".")[0])
    manifest.unlink()
    before = unfinished(site)
    assert faults(verified(site)) == ["HB-MANIFEST-BAD"]
    assert thinned(site, keep=9)[0].leftovers == ()
    assert unfinished(site) == before
    aged(site, name)
    assert faults(verified(site)) == ["HB-MANIFEST-BAD"]
    assert thinned(site, keep=9)[0].leftovers == ()
    assert len(unfinished(site)) == 2


def test_what_a_killed_run_had_half_written_goes(site: Site) -> None:
    site.run()
    kill_run(site, "os.link", "*.tar.zst.gpg")
    (half,) = (it.name for it in (site.store / FOLDER).iterdir() if it.name.startswith("."))
    planned, told = thinned(site, keep=9, dry_run=True)
    assert (planned.leftovers, len(told)) == ((half,), 1)
    assert (site.store / FOLDER / half).exists()
    assert thinned(site, keep=9)[0].leftovers == (half,)
    assert not (site.store / FOLDER / half).exists()


def test_a_prune_that_was_killed_is_ended_by_the_next(site: Site) -> None:
    """It has taken the manifest of one, and not its data: so does who wants it to be missed."""
    for _ in range(3):
        site.run()
    kill_run(site, "os.remove", "000002-*.tar.zst.gpg", _PRUNE)
    assert [it[:7] for it in unfinished(site)] == ["000002-"] * 2
    assert finished(site) == [3, 4]
    assert site.run(site.usual({"prune": {"keep_last": 9}})).exit_code == 0
    assert (unfinished(site), finished(site)) == ([], [3, 4, 5])
    assert "000002-" in (site.folder / "events.jsonl").read_text()
    assert faults(verified(site)) == []
    for path in (site.store / FOLDER).glob("000003-*.manifest.asc"):
        path.unlink()
    assert site.run(site.usual({"prune": {"keep_last": 9}})).exit_code == 0
    assert [it[:7] for it in unfinished(site)] == ["000003-"] * 2, "what prune had not begun to delete stays"


def test_a_run_that_was_killed_before_its_very_last_step_is_finished_by_the_next(site: Site) -> None:
    """Its number is given and its manifest is signed: the next one names it as its predecessor."""
    site.run()
    kill_run(site, "open", ".000002-*.manifest.asc.*")
    assert [it[:7] for it in unfinished(site)] == ["000002-"] * 2
    assert site.run().exit_code == 0
    found = verified(site)
    assert (faults(found), found.warnings) == ([], ())
    assert (unfinished(site), finished(site)) == ([], [1, 2, 3])
    assert "BEGIN PGP" not in (site.folder / "ledger.json").read_text(), "it is sent"
