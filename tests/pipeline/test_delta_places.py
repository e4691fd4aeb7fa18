"""Deltas and their base across places: remotes that fail, take and do not tell, or lost what they had."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.errors import REMOTE_UNREACHABLE, Fault
from hermes_backup.pipeline.agent import Options
from hermes_backup.pipeline.cadence import pace
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.place import StoredFile
from hermes_backup.snapshots.prune_journal import PruneJournal
from hermes_backup.snapshots.retention import Rules
from hermes_backup.snapshots.sightings import Sightings
from hermes_backup.stages.expire import look, read_all, thin
from tests.pipeline.forge import FOLDER, faults, pinned, verified
from tests.pipeline.test_delta import DELTA, back_up, base_folder, grow, manifest, noisy, stages
from tests.servers import PutOnlyFront, S3Server
from tests.site import Site

site = pytest.fixture(noisy)
PRUNE = {"prune": {"keep_last": 9}}


def pushing(site: Site, *remotes: str | Path) -> list[Any]:
    return [*stages(site)[:-1], {"push": {"to": [str(it) for it in remotes], "attempts": 1}}]


def behind_a_prune(site: Site, remote: str | Path, delta: bool = True) -> list[Any]:
    """A remote that gets what the store has, when that was pruned."""
    made = site.usual(PRUNE, {"push": {"to": [str(remote)], "attempts": 1}}, archive=DELTA if delta else None)
    return list(made)


def numbers(place: Path) -> set[str]:
    return {it.name.split("-")[0] for it in (place / FOLDER).glob("*.manifest.asc")}


@pytest.fixture
def unanswered(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the next so many lists of a remote fail, as over a bad line."""
    real, left = FolderPlace.list, [0]

    def failing(place: FolderPlace, folder: str) -> tuple[StoredFile, ...]:
        if left[0] and not place.is_store:
            left[0] -= 1
            raise Fault(REMOTE_UNREACHABLE, "i/o timeout", where=place.label)
        return real(place, folder)

    monkeypatch.setattr(FolderPlace, "list", failing)

    def begin(times: int) -> None:
        left[0] = times

    return begin


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_remote_that_did_not_answer_keeps_what_it_has(
    site: Site, unanswered: Callable[[int], None], times: int
) -> None:
    wanted = behind_a_prune(site, site.remote)
    back_up(site, wanted=wanted)
    grow(site)
    back_up(site, wanted=wanted)
    unanswered(times)
    grow(site)
    site.run(wanted)
    assert numbers(site.remote) >= {"000001", "000002"}
    assert not faults(verified(site, place=FolderPlace(site.remote)))


def test_a_file_of_another_size_in_a_remote_is_not_taken_for_the_base(site: Site) -> None:
    wanted = behind_a_prune(site, site.remote)
    back_up(site, wanted=wanted)
    (data,) = (site.remote / FOLDER).glob("000001-*.tar.zst.gpg")
    data.write_bytes(data.read_bytes()[:-1])
    grow(site)
    assert site.run(wanted).state == "failed"
    assert numbers(site.remote) == {"000001"}


@pytest.mark.parametrize("delta", [False, True])
def test_a_remote_that_did_not_answer_keeps_the_snapshot_that_is_unchanged(
    site: Site, unanswered: Callable[[int], None], delta: bool
) -> None:
    wanted = behind_a_prune(site, site.remote, delta)
    assert site.run(wanted).state == "done"
    unanswered(1)
    site.run(wanted, options=Options("t", if_changed=True))
    assert numbers(site.remote) == {"000001"}
    assert not faults(verified(site, place=FolderPlace(site.remote)))


def test_a_remote_that_does_not_answer_makes_a_full_one(site: Site, unanswered: Callable[[int], None]) -> None:
    wanted = pushing(site, site.remote)
    site.run(wanted)
    unanswered(1)
    site.run(wanted)
    assert manifest(site, "000002", site.remote).full_because == f"{site.remote} does not answer"


def test_after_a_full_one_that_is_not_kept_no_delta_names_an_older_one(site: Site) -> None:
    """A remote fails for a night, and the other is pruned meanwhile."""
    good, bad = site.root / "good", site.root / "bad"
    wanted = pushing(site, good, bad)
    assert site.run(wanted).state == "done"
    bad.rename(site.root / "away")
    bad.write_text("no folder")
    grow(site)
    assert site.run(wanted).state == "failed"
    assert manifest(site, "000002", good).kind == "full"
    with pinned(site) as pin:
        (stock,), _ = read_all([FolderPlace(good)], "vps1", "nightly", pin)
        now = datetime.now(timezone.utc)
        seen = look(Sightings(fingerprint=pin.fingerprint), [stock], now, pace(None), site.root, complete=True)
        thin(stock, seen, Rules(keep_last=1), now, PruneJournal(site.root / "prune.json"))
    bad.unlink()
    (site.root / "away").rename(bad)
    grow(site)
    assert site.run(wanted).state == "done"
    assert "a later full one" in manifest(site, "000003", good).full_because
    assert not faults(verified(site, place=FolderPlace(good)))


def test_a_remote_that_only_takes_gets_the_base_once(site: Site, s3_server: S3Server) -> None:
    with PutOnlyFront(s3_server) as front:
        wanted = behind_a_prune(site, f"r2:{s3_server.bucket}/once")
        sent: list[set[str]] = []
        for _ in range(3):
            front.asked.clear()
            assert site.run(wanted, rclone_config=front.section).state == "done"
            sent.append({path.rsplit("/", 1)[1][:6] for method, path in front.asked if method == "PUT"})
            grow(site)
    assert [it - {"RESTOR"} for it in sent] == [{"000001"}, {"000002"}, {"000003"}]


def test_a_lost_ledger_makes_a_full_one_where_nothing_can_be_listed(site: Site, s3_server: S3Server) -> None:
    with PutOnlyFront(s3_server) as front:
        wanted = pushing(site, f"r2:{s3_server.bucket}/lost")
        for _ in range(2):
            status = site.run(wanted, rclone_config=front.section)
            assert status.state == "done", status.error
            grow(site)
        (site.folder / "ledger.json").unlink()
        assert site.run(wanted, rclone_config=front.section).state == "done"


@pytest.mark.parametrize("odd", ["a folder", "a file", "a link"])
def test_whatever_lies_where_the_base_was_stops_no_run(site: Site, odd: str) -> None:
    back_up(site)
    folder = base_folder(site)
    if odd == "a folder":
        (folder / "base.json").unlink()
        (folder / "base.json").mkdir()
    else:
        folder.rename(site.root / "elsewhere")
        folder.write_text("") if odd == "a file" else folder.symlink_to(site.root / "elsewhere")
    (site.home / "SOUL.md").write_text("new")
    back_up(site)
    assert back_up(site).kind == "delta"
