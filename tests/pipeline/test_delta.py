"""Deltas: what changed since the last full snapshot, and when a full one is made instead."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import subprocess
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.pipeline.agent import Options
from hermes_backup.snapshots.manifest import Manifest, from_json
from tests.keys import KeyMaker
from tests.pipeline.forge import FOLDER, bring_back, faults, refused, verified
from tests.site import Site, fill, make_home, messages_in

DELTA: dict[str, Any] = {"delta": {"full_every": "7d"}}


def stages(site: Site, *more: Any, **delta: Any) -> list[Any]:
    return site.usual(*more, archive={"delta": delta or DELTA["delta"]})


def back_up(site: Site, *, wanted: Sequence[Any] | None = None, **settings: Any) -> Manifest:
    status = site.run(wanted or stages(site), **settings)
    assert (status.state, status.exit_code) == ("done", 0), status
    return manifest(site, status.snapshot)


def manifest(site: Site, name: str = "", place: Path | None = None) -> Manifest:
    """The manifest of a snapshot, the newest of the store if none is named."""
    path = max((place or site.store).joinpath(FOLDER).glob(f"{name}*.manifest.asc"))
    text = path.read_text()
    return from_json(text[text.index("{") : text.rindex("}") + 1] + "\n")


def grow(site: Site, rows: int = 5) -> None:
    fill(site.home / "state.db", rows)


def noisy(site: Site) -> Site:
    """A site with some text that does not compress away."""
    (site.home / "notes.bin").write_bytes(random.Random(1).randbytes(300_000))
    return site


site = pytest.fixture(noisy)


@pytest.fixture
def chained(site: Site) -> Site:
    """A site with a full snapshot and two deltas of it."""
    assert back_up(site).full_because == "no full one is remembered"
    for _ in range(2):
        grow(site)
        assert back_up(site).kind == "delta"
    return site


def came_back(site: Site, name: str, **words: Any) -> None:
    """A restore brings the home as it is now."""
    back = site.root / f"back {name}"
    bring_back(site, target=back, **words)
    assert messages_in(back / "state.db") == messages_in(site.home / "state.db")
    assert (back / "notes.bin").read_bytes() == (site.home / "notes.bin").read_bytes()


def comes_full(site: Site, said: str) -> None:
    """The next one is full, since what is said, and the base of the one after it; both come back."""
    made = back_up(site)
    assert (made.kind, said in made.full_because) == ("full", True), made.full_because
    came_back(site, "full")
    grow(site)
    assert back_up(site).base == str(made.name)
    came_back(site, "delta")


def base_folder(site: Site) -> Path:
    return site.folder / "base"


def test_between_fulls_only_what_changed_is_sent(chained: Site) -> None:
    full, first, second = (manifest(chained, f"{it:06d}") for it in (1, 2, 3))
    assert (full.kind, full.base) == ("full", None)
    assert {first.base, second.base} == {str(full.name)}
    assert second.data.name.endswith(".tar.delta.zst.gpg")
    assert second.data.size < full.data.size / 20
    assert second.data.plain_size >= full.data.plain_size


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_delta_comes_back_as_a_full_one_does(chained: Site, number: int) -> None:
    bring_back(chained, target=chained.root / "back", wanted=str(number))
    back = chained.root / "back"
    assert messages_in(back / "state.db") == 200 + 5 * (number - 1)
    assert (back / "notes.bin").read_bytes() == (chained.home / "notes.bin").read_bytes()
    assert stat.S_IMODE((back / ".env").stat().st_mode) == 0o600


def test_the_base_is_private_and_nothing_of_a_run_stays_beside_it(chained: Site) -> None:
    folder = base_folder(chained)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(it.stat().st_mode) for it in folder.iterdir()] == [0o600, 0o600]
    assert not list(chained.folder.glob("run-*"))


def test_without_delta_the_base_goes(chained: Site) -> None:
    assert back_up(chained, wanted=chained.usual()).full_because == ""
    assert not base_folder(chained).exists()


def aged(site: Site, days: int) -> None:
    """Let the base be of another day, as the record says; nothing else is touched."""
    told = base_folder(site) / "base.json"
    record = json.loads(told.read_text())
    created = datetime.fromisoformat(record["manifest"]["created"]) - timedelta(days=days)
    name = f"{record['manifest']['sequence']:06d}-{created:%Y%m%dT%H%M%SZ}"
    old = str(manifest(site, "000001").name)
    text = json.dumps(record).replace(old, name)
    text = text.replace(f'"created": "{record["manifest"]["created"]}"', f'"created": "{created:%Y-%m-%dT%H:%M:%SZ}"')
    told.write_text(text)
    next(base_folder(site).glob("*.tar.zst")).rename(base_folder(site) / f"{name}.tar.zst")


def flipped(site: Site) -> None:
    path = next(base_folder(site).glob("*.tar.zst"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(site: Site) -> None:
    path = next(base_folder(site).glob("*.tar.zst"))
    path.write_bytes(path.read_bytes()[:-1])


def gone(site: Site) -> None:
    shutil.rmtree(base_folder(site))


def told_otherwise(site: Site) -> None:
    (base_folder(site) / "base.json").write_text("{}")


def pruned_away(site: Site) -> None:
    for path in (site.store / FOLDER).glob("000001-*"):
        path.unlink()


def nearly_all_new(site: Site) -> None:
    """Next to nothing of the home is in the base."""
    (site.home / "notes.bin").write_bytes(random.Random(2).randbytes(400_000))


def other_key(site: Site) -> None:
    shutil.rmtree(site.root / "state" / "vps1" / "gnupg")


def exchanged(site: Site, other: Path) -> None:
    """What another pipeline keeps lies where this one's was."""
    shutil.rmtree(base_folder(site))
    shutil.copytree(other / "nightly" / "base", base_folder(site))


def of_another_host(site: Site) -> None:
    """One that has a home, a store and a key of its own."""
    other = Site(site.root / "elsewhere", site.recipient)
    make_home(other.home)
    back_up(noisy(other))
    exchanged(site, other.folder.parent)


def of_a_host_set_up_alike(site: Site) -> None:
    """One whose home lies at the same path, and goes to the same store, under its own name."""
    kept = site.home.rename(site.root / "kept")
    make_home(site.home)
    assert noisy(site).run(stages(site), host="vps2", state=str(site.root / "elsewhere")).state == "done"
    shutil.rmtree(site.home)
    kept.rename(site.home)
    exchanged(site, site.root / "elsewhere" / "vps2")


def of_a_clone(site: Site) -> None:
    """One that has the same key and the same past, and went on by itself."""
    folders = {it: it.with_name(f"{it.name}, kept") for it in (site.root / "state", site.home, site.store)}
    for folder, kept in folders.items():
        subprocess.run(["cp", "-a", folder, kept], check=True)
    nearly_all_new(site)
    assert back_up(site).kind == "full"
    site.folder.rename(site.root / "nightly")
    for folder, kept in folders.items():
        shutil.rmtree(folder)
        kept.rename(folder)
    exchanged(site, site.root)


FULL = {
    "flipped": (flipped, "is damaged"),
    "cut": (cut, "is not kept on the host"),
    "gone": (gone, "no full one is remembered"),
    "told otherwise": (told_otherwise, "no full one is remembered"),
    "pruned away": (pruned_away, "is not in"),
    "nearly all new": (nearly_all_new, "would not be half as large"),
    "another host": (of_another_host, "other settings than those of 000001"),
    "a host set up alike": (of_a_host_set_up_alike, "another key signed 000001"),
    "a clone": (of_a_clone, "a later full one than 000004"),
    "other key": (other_key, "another key signed 000001"),
    "a week old": (lambda site: aged(site, 7), "is older than 1w"),
    "from the future": (lambda site: aged(site, -1), "the clock went back"),
}


@pytest.mark.parametrize("case", FULL)
def test_a_full_one_is_made_where_a_delta_would_be_no_use(case: str, chained: Site) -> None:
    change, said = FULL[case]
    change(chained)
    comes_full(chained, said)


def test_other_settings_or_recipients_make_a_full_one(chained: Site, key_maker: KeyMaker) -> None:
    made = back_up(chained, wanted=stages(chained, full_every="8d"))
    assert "other settings" in made.full_because
    other = key_maker.make()
    wanted = stages(chained, full_every="8d")
    wanted[2]["encrypt"]["recipients"].append(other.fingerprint)
    made = back_up(chained, wanted=wanted, public_keys=[chained.recipient.public, other.public])
    assert "other settings" in made.full_because


def test_another_passphrase_makes_a_full_one(site: Site) -> None:
    secret = site.root / "passphrase"
    secret.write_text("one\n")
    encrypt = {"encrypt": {"passphrase_credential": str(secret)}}
    wanted = ["sqlite", {"archive": DELTA}, encrypt, {"store": {"path": str(site.store)}}]
    back_up(site, wanted=wanted)
    assert back_up(site, wanted=wanted).kind == "delta"
    secret.write_text("two\n")
    made = back_up(site, wanted=wanted)
    assert "another passphrase" in made.full_because


def test_what_does_not_fit_the_memory_is_full_each_time_and_not_kept(site: Site) -> None:
    (site.home / "large.bin").write_bytes(random.Random(3).randbytes(600_000))
    for number in range(2):
        made = back_up(site, wanted=stages(site, memory="65M"))
        assert (made.kind, "do not fit the memory" in made.full_because) == ("full", number == 1)
    assert [it.name for it in base_folder(site).iterdir()] == ["base.json"]


def test_what_grew_beyond_the_memory_or_doubled_is_full(site: Site) -> None:
    (site.home / "notes.bin").write_bytes(random.Random(1).randbytes(900_000))
    back_up(site, wanted=stages(site, memory="66M"))
    (site.home / "large.bin").write_bytes(bytes(600_000))
    made = back_up(site, wanted=stages(site, memory="66M"))
    assert "do not fit the memory" in made.full_because
    back_up(site, wanted=stages(site))
    (site.home / "large.bin").write_bytes(bytes(9_000_000))
    assert "more than doubled" in back_up(site).full_because


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_without_room_for_a_patch_a_full_one_is_made(site: Site) -> None:
    state = site.root / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16M", "none", str(state)], check=True)
    try:
        (site.home / "notes.bin").write_bytes(random.Random(1).randbytes(6_000_000))
        back_up(site)
        (site.home / "new.bin").write_bytes(random.Random(2).randbytes(2_500_000))
        free = os.statvfs(state)
        (state / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize - 1_500_000))
        assert "cannot be made here" in back_up(site).full_because
    finally:
        subprocess.run(["umount", "--lazy", str(state)], check=True)


def test_a_base_and_its_delta_that_no_memory_holds_are_refused(chained: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hermes_backup.streams.patching.OVERHEAD", 1 << 50)
    fault = refused(chained, "HB-STAGE-FAILED", code=5, match="too little memory for a delta")
    assert "full snapshot" in fault.mend


def test_delta_goes_with_tar_and_zstd_alone(site: Site) -> None:
    for archive in ({"format": "squashfs", **DELTA}, {"compression": {"algorithm": "gzip"}, **DELTA}):
        with pytest.raises(AssertionError, match="delta goes with format tar"):
            site.config(site.usual(archive=archive))


def test_a_run_that_is_killed_over_a_full_one_leaves_the_old_base(chained: Site) -> None:
    nearly_all_new(chained)
    (chained.home / "much.bin").write_bytes(random.Random(4).randbytes(30_000_000))
    process = chained.start(stages(chained))
    while not list(chained.folder.glob("run-*/base")):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.communicate()
    (chained.home / "much.bin").unlink()
    (chained.home / "notes.bin").write_bytes(random.Random(1).randbytes(300_000))
    made = back_up(chained)
    assert (made.kind, made.base) == ("delta", str(manifest(chained, "000001").name))
    assert not list(chained.folder.glob("run-*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts the base read-only")
def test_after_a_full_one_that_cannot_be_kept_comes_another(chained: Site) -> None:
    folder = str(base_folder(chained))
    nearly_all_new(chained)
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        unkept = back_up(chained)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
    assert unkept.kind == "full"
    assert f"{unkept.name} cannot be kept as a base" in (chained.folder / "events.jsonl").read_text()
    came_back(chained, "unkept")
    grow(noisy(chained))
    made = back_up(chained)
    assert made.full_because == f"a later full one than {manifest(chained, '000001').name} was not kept"
    came_back(chained, "full")
    grow(chained)
    assert back_up(chained).base == str(made.name)
    came_back(chained, "delta")
    assert not faults(verified(chained))


def test_restore_and_verify_name_a_base_that_is_not_there(chained: Site) -> None:
    pruned_away(chained)
    fault = refused(chained, "HB-BASE-MISSING")
    assert str(manifest(chained, "000003").base) in fault.what
    assert faults(verified(chained)) == ["HB-BASE-MISSING"] * 2
    assert faults(verified(chained, wanted="3")) == ["HB-BASE-MISSING"]


def test_a_damaged_base_spoils_its_deltas(chained: Site) -> None:
    (data,) = (chained.store / FOLDER).glob("000001-*.tar.zst.gpg")
    content = bytearray(data.read_bytes())
    content[-100] ^= 1
    data.write_bytes(content)
    refused(chained, "HB-DATA-DAMAGED")
    assert faults(verified(chained)) == ["HB-DATA-DAMAGED"] * 3
    assert [it.name.sequence for it in verified(chained, wanted="3").verdicts] == [1, 3]


@pytest.mark.parametrize("rotten", [False, True])
def test_prune_reads_what_a_new_delta_was_made_against(site: Site, rotten: bool) -> None:
    """Each night two stay; where the base of the newest has rotted, all do."""
    wanted = stages(site, {"prune": {"keep_last": 2}}, **DELTA["delta"])
    back_up(site, wanted=wanted)
    gone(site)
    back_up(site, wanted=wanted)
    if rotten:
        (data,) = (site.store / FOLDER).glob("000002-*.tar.zst.gpg")
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 1
        data.write_bytes(content)
    grow(site)
    status = site.run(wanted)
    assert manifest(site, "000003").base == str(manifest(site, "000002").name)
    assert status.exit_code == (9 if rotten else 0)
    if rotten:
        assert status.error is not None
        assert (status.error.name, status.error.where) == ("HB-DATA-DAMAGED", str(site.store))
        assert f"{manifest(site, '000003').name}, the newest here, does not come back whole" in status.error.what
    verdicts = verified(site).verdicts
    assert [it.name.sequence for it in verdicts] == ([1, 2, 3] if rotten else [2, 3])
    assert [it.name.sequence for it in verdicts if it.fault is None] == ([1] if rotten else [2, 3])


def test_a_single_file_comes_out_of_a_delta(chained: Site) -> None:
    bring_back(chained, target=chained.root / "back", only=("SOUL.md",))
    assert (chained.root / "back" / "SOUL.md").read_text() == "I am the test.\n"


def test_a_later_remote_gets_the_base_too(chained: Site) -> None:
    """``store`` and ``push`` with another stage between them: the snapshot is copied when it is finished."""
    prune, push = {"prune": {"keep_last": 1}}, {"push": {"to": [str(chained.remote)]}}
    back_up(chained, wanted=stages(chained, prune, push, **DELTA["delta"]))
    shutil.rmtree(chained.remote)
    grow(chained)
    made = back_up(chained, wanted=stages(chained, prune, push, **DELTA["delta"]))
    assert made.kind == "delta"
    there = {it.split("-")[0] for it in chained.snapshots(chained.remote) if it.startswith("0")}
    assert there == {"000004", "000005"}
    assert {it.split("-")[0] for it in chained.snapshots() if it.startswith("0")} == {"000004", "000005"}
    wanted = stages(chained, prune, push, **DELTA["delta"])
    bring_back(chained, target=chained.root / "back", source=str(chained.remote), stages=wanted)


def test_a_remote_that_lacks_the_base_gets_a_full_one(chained: Site) -> None:
    push = {"push": {"to": [str(chained.remote)]}}
    made = back_up(chained, wanted=stages(chained, push, **DELTA["delta"]))
    shutil.rmtree(chained.remote)
    made = back_up(chained, wanted=stages(chained, push, **DELTA["delta"]))
    assert made.full_because.endswith(f"is not in {chained.remote}")


def test_if_changed_still_sees_that_nothing_did(chained: Site) -> None:
    status = chained.run(stages(chained), options=Options("test", if_changed=True))
    assert status.state == "unchanged"
    assert len(list((chained.store / FOLDER).glob("*.manifest.asc"))) == 3
