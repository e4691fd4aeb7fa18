"""What prune may never touch, whatever lies beside our snapshots."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.signing import HostKey
from tests.keys import KeyMaker
from tests.pipeline.forge import BEGUN, Forge
from tests.pipeline.ground import Ground, ground
from tests.site import Site
from tests.snapshots.places import Cold

__all__ = ["ground"]
_PRUNE = {"prune": {"keep_last": 1}}


def folder(top: Path) -> Path:
    return top / "vps1" / "nightly"


def sequences(site: Site, top: Path | None = None) -> list[int]:
    """The numbers of the finished snapshots in a place."""
    return [SnapshotName.parse(it.split(".")[0]).sequence for it in site.snapshots(top) if it.endswith(".manifest.asc")]


def files_of(site: Site, number: int, top: Path | None = None) -> dict[str, bytes]:
    found = (folder(top or site.store) / it for it in site.snapshots(top) if it.startswith(f"{number:06}-"))
    return {it.name: it.read_bytes() for it in found}


def test_foreign_files_beside_ours_stay(ground: Ground) -> None:
    site = ground.site
    stages = site.usual({"push": {"to": [str(site.remote)]}})
    assert site.run(stages).exit_code == 0
    (first,) = [it for it in site.snapshots() if it.endswith(".asc")]
    stem = first.split(".")[0]
    foreign: dict[Path, bytes] = {}
    for top in (site.store, site.remote):
        names = ["notes.txt", f"{stem}.tar.zst.gpg.bak", f"{stem}.manifest.asc~", f"x{stem}.tar.zst.gpg", "state.db",
                 "1-20200101T000000Z.tar.zst.gpg", ".hidden"]  # fmt: skip
        foreign |= {folder(top) / name: name.encode() for name in names}
        (folder(top) / f"{stem}.d").mkdir()
        foreign |= {folder(top) / f"{stem}.d" / "inner": b"x", top / "elsewhere": b"y", folder(top).parent / "z": b"z"}
        foreign[folder(top).parent / "other" / first] = b"of another pipeline"
        (folder(top).parent / "other").mkdir()
    for path, content in foreign.items():
        path.write_bytes(content)
    for _ in range(2):
        assert site.run([*stages, _PRUNE]).exit_code == 0
    assert sequences(site) == sequences(site, site.remote) == [3]
    assert {path: path.read_bytes() for path in foreign} == foreign


def test_a_failed_push_keeps_prune_from_its_work(ground: Ground) -> None:
    site = ground.site
    assert site.run().exit_code == 0
    before = ground.lasting()
    site.remote.write_text("a file where the remote's folder should be")
    status = site.run(site.usual({"push": {"to": [str(site.remote)], "attempts": 1}}, _PRUNE))
    assert status.error is not None
    assert (status.exit_code, status.stage, status.error.where) == (5, "store+push", "push")
    assert status.error.name == "HB-PUSH-FAILED"
    assert before.items() <= ground.lasting().items()
    assert sequences(site) == [1, 2], "nothing is pruned"
    ground.check_clean()
    site.remote.unlink()
    ground.check_next(site.usual({"push": {"to": [str(site.remote)]}}, _PRUNE))
    assert sequences(site) == [3]


def test_a_snapshot_without_manifest_is_left_alone(ground: Ground) -> None:
    site = ground.site
    assert site.run().exit_code == 0
    for path in folder(site.store).glob("000001-*.asc"):
        path.unlink()
    before = files_of(site, 1)
    assert len(before) == 2
    for _ in range(2):
        assert site.run(site.usual(_PRUNE)).exit_code == 0
    assert files_of(site, 1) == before
    assert sequences(site) == [3]


@pytest.mark.parametrize("forgery", ["other key", "edited", "unsigned", "garbage", "of another snapshot", "empty"])
def test_a_forged_manifest_is_left_alone_with_what_it_names(
    ground: Ground, key_maker: KeyMaker, tmp_path: Path, forgery: str
) -> None:
    site = ground.site
    for _ in range(2):
        assert site.run().exit_code == 0
    (manifest,) = folder(site.store).glob("000001-*.asc")
    (other,) = folder(site.store).glob("000002-*.asc")
    text = manifest.read_text()
    body = text[text.index("{") : text.rindex("}") + 1]
    if forgery == "other key":
        thief = key_maker.make("ed25519", "sign", "never")
        argv = ["gpg", "--homedir", str(thief.gnupghome), "--batch", "--clear-sign"]
        forged = subprocess.run(argv, input=body.encode() + b"\n", capture_output=True, check=True).stdout
    else:
        forged = {
            "edited": text.replace('"sequence":1,', '"sequence":1 ,', 1).replace('"files"', '"files" ', 1).encode(),
            "unsigned": body.encode(),
            "garbage": os.urandom(500),
            "of another snapshot": other.read_bytes(),
            "empty": b"",
        }[forgery]
    assert forged != text.encode()
    manifest.write_bytes(forged)
    before = files_of(site, 1)
    assert site.run(site.usual(_PRUNE)).exit_code == 0
    assert files_of(site, 1) == before
    assert sequences(site) == [1, 3], "the honest one went, the forged one stays"


def test_a_snapshot_whose_data_is_cut_is_left_alone(ground: Ground) -> None:
    site = ground.site
    for _ in range(2):
        assert site.run().exit_code == 0
    (data,) = folder(site.store).glob("000002-*.tar.zst.gpg")
    data.write_bytes(data.read_bytes()[:-1])
    before = files_of(site, 2)
    assert site.run(site.usual(_PRUNE)).exit_code == 0
    assert files_of(site, 2) == before
    assert sequences(site) == [2, 3]


def test_the_newest_that_is_proven_stays_though_no_rule_keeps_it(ground: Ground) -> None:
    """A rule by time alone: all are of one hour, so one of them stands for it, and it is a sound one."""
    site = ground.site
    for _ in range(3):
        assert site.run(site.usual({"prune": {"keep_hourly": 1}})).exit_code == 0
    assert sequences(site)[-1] == 3
    ground.check_whole(site.store)


def test_the_manifest_goes_first_so_that_nobody_trusts_a_half_deleted_snapshot(ground: Ground) -> None:
    site = ground.site
    assert site.run().exit_code == 0
    (data,) = folder(site.store).glob("000001-*.tar.zst.gpg")
    try:
        subprocess.run(["chattr", "+i", str(data)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file can be made undeletable here")
    try:
        status = site.run(site.usual(_PRUNE))
        assert status.error is not None
        assert (status.exit_code, status.error.name, status.stage) == (5, "HB-STAGE-FAILED", "prune")
        assert str(data) in status.error.where
        assert sequences(site) == [2]
        assert data.exists()
    finally:
        subprocess.run(["chattr", "-i", str(data)], check=True)
    ground.check_clean()
    ground.check_next(site.usual(_PRUNE))


@pytest.mark.parametrize("own_controller", [False, True])
def test_a_host_prunes_its_remotes_only_where_it_is_its_own_controller(ground: Ground, own_controller: bool) -> None:
    site = ground.site
    stages = site.usual({"push": {"to": [str(site.remote)]}}, _PRUNE)
    for _ in range(3):
        assert site.run(stages, own_controller=own_controller).exit_code == 0
    assert sequences(site) == [3]
    assert sequences(site, site.remote) == ([3] if own_controller else [1, 2, 3])
    ground.check_whole(site.remote)


def test_a_lost_ledger_gives_no_number_twice(ground: Ground) -> None:
    site = ground.site
    for _ in range(2):
        assert site.run().exit_code == 0
    (site.folder / "ledger.json").unlink()
    assert str(site.run().snapshot).startswith("000003-")
    (site.folder / "ledger.json").write_text("{ not json")
    assert str(site.run().snapshot).startswith("000004-")
    shutil.rmtree(site.store)
    assert str(site.run().snapshot).startswith("000005-")


def test_what_a_thief_of_the_hosts_key_writes_stays_and_makes_nothing_go(ground: Ground) -> None:
    """One in a gap that prune left, and one dated years ahead: by the host's own key, into its remote."""
    site = ground.site
    stages = site.usual({"push": {"to": [str(site.remote)]}}, {"prune": {"keep_last": 2}})
    for _ in range(4):
        assert site.run(stages).exit_code == 0
    with HostKey.load(site.root / "state" / "vps1" / "gnupg") as key:
        thief = Forge(replace(site, root=site.root / "thief"), key)
        for number, begun in ((1, BEGUN), (9, datetime(2040, 1, 1, tzinfo=timezone.utc))):
            thief.publish(b"", number=number, begun=begun, members=())
    shutil.copytree(folder(site.root / "thief" / "store"), folder(site.remote), dirs_exist_ok=True)
    status = site.run(stages)
    assert status.exit_code == 0, status.error
    assert sequences(site, site.remote) == [1, 4, 5, 9]
    assert sequences(site) == [4, 5]
    (warning,) = [it for it in status.warnings if "do not count" in it]
    assert all(it in warning for it in ("000001-", "later ones were seen before it", "000009-", "in the future"))


def test_a_damaged_memory_of_what_was_seen_is_told(ground: Ground) -> None:
    site = ground.site
    assert site.run(site.usual(_PRUNE)).exit_code == 0
    (site.folder / "seen.json").write_text("{")
    status = site.run(site.usual(_PRUNE))
    assert status.exit_code == 0, status.error
    assert any("seen.json is damaged" in it for it in status.warnings)
    assert site.run(site.usual(_PRUNE)).warnings == ()
    assert sequences(site) == [3]


def test_a_lost_ledger_gives_no_number_that_is_not_given_away(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one after it stays free, so that the chain is whole once the place gives everything again."""
    site = ground.site
    for _ in range(2):
        assert site.run().exit_code == 0
    (site.folder / "ledger.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Cold, "cold", ("000002-",))
        patch.setattr("hermes_backup.stages.store.FolderPlace", Cold)
        assert str(site.run().snapshot).startswith("000004-")
    ground.check_whole(site.store)
