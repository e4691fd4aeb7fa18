"""What a place holds, read from real snapshots: forged, damaged and future ones do not count."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.errors import SNAPSHOT_UNREADABLE, Fault
from hermes_backup.pipeline.config import HostConfig, pipeline_of
from hermes_backup.pipeline.places import pinned_key
from hermes_backup.pipeline.remembering import Memory, memory_file, whose
from hermes_backup.pipeline.rollback import Records
from hermes_backup.pipeline.surveying import survey
from hermes_backup.report.holdings import Holding, look
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.names import SnapshotName
from tests.keys import KeyMaker
from tests.site import Site, fill


class Kept:
    """A host with two real snapshots in a store and a remote, and its pinned key; ``archive`` is how they are made."""

    def __init__(self, site: Site, archive: Any = None) -> None:
        self.site = site
        self.pins = site.root / "pins"
        self.pins.mkdir()
        self.stages = site.usual({"push": {"to": [str(site.remote)]}}, archive=archive)
        first = site.run(self.stages)
        (self.pins / "vps1.asc").write_text(first.public_key or "")
        self.names = [str(first.snapshot)]
        self.again()

    @property
    def config(self) -> HostConfig:
        return self.site.config(self.stages)

    def again(self) -> None:
        fill(self.site.home / "state.db", 500)
        self.names.append(str(self.site.run(self.stages).snapshot))

    def look(self) -> tuple[Holding, Holding]:
        config = self.config
        targets = [(config, pipeline_of(config, "nightly"))]
        history = self.site.root / "history"
        store, remote = look(
            targets, self.pins, self.site.root / "drills", history, datetime.now(timezone.utc)
        ).results()
        return store, remote

    def files(self, name: str, place: Path | None = None) -> list[Path]:
        return sorted((place or self.site.store).joinpath("vps1", "nightly").glob(f"{name}.*"))

    def copied(self, name: str, new: str) -> None:
        """Put the files of a snapshot into the store under another name, as a thief would."""
        for file in self.files(name):
            shutil.copy(file, file.with_name(file.name.replace(name, new)))


@pytest.fixture
def kept(site: Site) -> Kept:
    return Kept(site)


def newest(holding: Holding) -> str:
    return "" if holding.newest is None else str(holding.newest.name)


def test_the_newest_its_size_and_its_growth(kept: Kept) -> None:
    store, remote = kept.look()
    assert (store.place, remote.place) == (str(kept.site.store), str(kept.site.remote))
    for holding in (store, remote):
        assert (newest(holding), holding.count, holding.fault, holding.doubt) == (kept.names[1], 2, None, None)
        sizes = [sum(it.stat().st_size for it in kept.files(name, Path(holding.place))) for name in kept.names]
        assert holding.newest is not None
        assert (holding.newest.size, holding.newest.growth) == (sizes[1], sizes[1] - sizes[0])
    for file in kept.files(kept.names[0]):
        file.unlink()
    store, _ = kept.look()
    assert store.newest is not None
    assert store.newest.growth is None


def test_an_empty_place_and_one_that_was_never_finished(kept: Kept) -> None:
    (kept.site.store / "vps1" / "nightly" / f"{kept.names[1]}.manifest.asc").unlink()
    shutil.rmtree(kept.site.remote / "vps1")
    store, remote = kept.look()
    assert (newest(store), store.count) == (kept.names[0], 1)
    assert (newest(remote), remote.count, remote.fault) == ("", 0, None)


def test_a_name_that_nobody_signed_does_not_count(kept: Kept) -> None:
    """The newest by name is an old snapshot under a new name: its manifest says another."""
    forged = str(SnapshotName(7, datetime.now(timezone.utc).replace(microsecond=0)))
    kept.copied(kept.names[0], forged)
    store, remote = kept.look()
    assert newest(store) == kept.names[1]
    assert store.doubt is not None
    assert (store.doubt.kind.name, forged in store.doubt.what) == ("HB-UNPROVEN", True)
    assert (newest(remote), remote.doubt) == (kept.names[1], None)


def test_a_snapshot_whose_data_is_cut_does_not_count(kept: Kept) -> None:
    data = next(it for it in kept.files(kept.names[1]) if it.name.endswith(".tar.zst.gpg"))
    data.write_bytes(data.read_bytes()[:-100])
    store, _ = kept.look()
    assert newest(store) == kept.names[0]
    assert store.doubt is not None
    assert "bytes of" in store.doubt.what


def test_a_delta_counts_as_its_base_does(site: Site) -> None:
    (site.home / "notes.bin").write_bytes(random.Random(1).randbytes(300_000))
    kept = Kept(site, {"delta": {}})
    base, delta = kept.names
    assert any(".delta." in it.name for it in kept.files(delta))
    assert [(newest(it), it.doubt) for it in kept.look()] == [(delta, None)] * 2
    for file in kept.files(base):
        file.unlink()
    data = next(it for it in kept.files(base, site.remote) if it.name.endswith(".tar.zst.gpg"))
    data.write_bytes(data.read_bytes()[:-100])
    for holding, said in zip(kept.look(), ("is not there", "bytes of"), strict=True):
        assert (newest(holding), holding.doubt is not None) == ("", True)
        assert holding.doubt is not None
        assert all(it in holding.doubt.what for it in (delta, base, said))


def test_a_delta_without_its_base_gives_way_to_an_older_one(site: Site) -> None:
    (site.home / "notes.bin").write_bytes(random.Random(1).randbytes(300_000))
    kept = Kept(site, {"delta": {}})
    shutil.rmtree(site.folder / "base")
    kept.again()
    kept.again()
    for file in kept.files(kept.names[2]):
        file.unlink()
    store, remote = kept.look()
    assert (newest(store), newest(remote)) == (kept.names[1], kept.names[3])
    assert store.doubt is not None


def test_what_another_key_signed_does_not_count(kept: Kept, key_maker: KeyMaker) -> None:
    (kept.pins / "vps1.asc").write_text(key_maker.make("ed25519", "sign", "never").public)
    store, _ = kept.look()
    assert store.newest is None
    assert store.doubt is not None
    assert "another key" in store.doubt.what


def test_a_snapshot_of_the_future_does_not_count(kept: Kept) -> None:
    ahead = SnapshotName(9, (datetime.now(timezone.utc) + timedelta(days=300)).replace(microsecond=0))
    kept.copied(kept.names[1], str(ahead))
    store, _ = kept.look()
    assert newest(store) == kept.names[1]
    assert store.doubt is not None
    assert "a clock is wrong" in store.doubt.what


def test_without_a_pinned_key_names_are_believed_and_that_is_said(kept: Kept) -> None:
    (kept.pins / "vps1.asc").unlink()
    store, _ = kept.look()
    assert newest(store) == kept.names[1]
    assert store.doubt is not None
    assert "names are believed" in store.doubt.what


def test_a_pinned_key_that_is_none_proves_nothing(kept: Kept) -> None:
    (kept.pins / "vps1.asc").write_text("no key")
    for holding in kept.look():
        assert holding.newest is None
        assert holding.fault is not None


def test_a_place_that_cannot_be_read_says_why_and_stops_no_other(kept: Kept) -> None:
    kept.stages = kept.site.usual({"push": {"to": ["nosuchremote:x"]}})
    store, remote = kept.look()
    assert newest(store) == kept.names[1]
    assert (remote.newest, remote.fault is not None and remote.fault.kind.name) == (None, "HB-REMOTE-UNREACHABLE")


def test_what_a_drill_saw_and_is_gone_is_lost_and_what_retention_took_is_not(kept: Kept) -> None:
    pipeline = pipeline_of(kept.config, "nightly")
    with pinned_key(kept.pins, "vps1") as pinned:
        seen = survey(FolderPlace(kept.site.store), "vps1", "nightly", pinned)
        memory = Memory().having_seen(whose("nightly", str(kept.site.store)), pinned.fingerprint, seen.known)
    file = memory_file(kept.site.root / "drills", "vps1", "drill")
    file.parent.mkdir(parents=True)
    memory.write(file)
    drill = {"stages": [{"fetch": {"from": str(kept.site.store)}}, "decrypt", "extract", "check"]}
    both = {"nightly": {"stages": kept.stages}, "drill": {"runs_on": "controller", **drill}}
    config = kept.site.config((), own_controller=False, pipelines=both)
    records = Records(config, pipeline, kept.pins, kept.site.root / "drills")
    known = records.of(str(kept.site.store))
    assert [(str(it.name), it.said_by) for it in known] == [(kept.names[1], "drill drill of this machine")]
    assert records.of(str(kept.site.remote)) == ()


def test_the_newest_that_the_ledger_knows_is_lost_only_where_nothing_newer_is(kept: Kept) -> None:
    assert [it.lost() for it in kept.look()] == [None, None]
    for file in kept.files(kept.names[0]):
        file.unlink()
    assert [it.lost() for it in kept.look()] == [None, None], "retention takes old ones"
    for file in kept.files(kept.names[1]):
        file.unlink()
    store, remote = (it.lost() for it in kept.look())
    assert store is not None
    assert (store.kind.name, kept.names[1] in store.what, remote) == ("HB-ROLLBACK", True, None)
    shutil.rmtree(kept.site.remote)
    assert all(it.lost() is not None for it in kept.look()), "nor is an empty place one that never held anything"


def test_a_newest_that_is_not_given_leaves_nobody_knowing_its_age(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch_many = FolderPlace.fetch_many

    def cold(place: FolderPlace, folder: str, names: Sequence[str], target: Path) -> Mapping[str, Fault]:
        refused = [it for it in names if it.startswith(kept.names[number])]
        given = fetch_many(place, folder, [it for it in names if it not in refused], target)
        return {**given, **{it: Fault(SNAPSHOT_UNREADABLE, "403") for it in refused}}

    monkeypatch.setattr(FolderPlace, "fetch_many", cold)
    number = 0
    assert (newest(kept.look()[0]), kept.look()[0].fault) == (kept.names[1], None)
    number = 1
    store, _ = kept.look()
    assert store.fault is not None
    assert (store.fault.kind, store.newest) == (SNAPSHOT_UNREADABLE, None)
