"""A home that comes and goes: brought from its newest snapshot, written, saved, and brought again elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import threading
from datetime import datetime, timezone
from pathlib import Path

import pytest

from hermes_backup.errors import Fault
from hermes_backup.pipeline.roaming.attaching import Wanted, attach
from hermes_backup.snapshots.signing import HostKey
from tests.coming import Cloud, Machine, settled
from tests.home.full_text import CARRYING, hits, make
from tests.site import fill, make_home, messages_in

WAYS = ("overlay", "fuse", "unpack")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounts are root's")


@root_only
@pytest.mark.parametrize("way", WAYS)
def test_what_one_machine_wrote_another_goes_on_with(cloud: Cloud, way: str) -> None:
    first = settled(cloud)
    second = cloud.machine()
    attached = second.come(way=way)
    assert (attached.way, str(attached.snapshot)[:6], attached.resumed) == (way, "000001", False)
    assert (second.home / "SOUL.md").read_text() == "I am the test.\n"
    assert os.readlink(second.home / "current") == "skills/report"
    assert (second.home.stat().st_mode & 0o777) == 0o700
    fill(second.home / "state.db", 50)
    (second.home / "memories" / "MEMORY.md").write_text("learned\n")
    (second.home / "SOUL.md").unlink()
    assert second.save().state == "done"
    second.go()
    if way != "unpack":
        assert not any(second.home.iterdir())
        assert not (second.state / "layers").exists()
    third = cloud.machine()
    assert str(third.come().snapshot)[:6] == "000002"
    assert messages_in(third.home / "state.db") == 250
    assert (third.home / "memories" / "MEMORY.md").read_text() == "learned\n"
    assert not (third.home / "SOUL.md").exists()
    assert first.home != third.home


def test_the_first_start_of_all(cloud: Cloud) -> None:
    machine = cloud.machine()
    attached = machine.come()
    assert (attached.way, attached.snapshot) == ("empty", None)
    assert not any(machine.home.iterdir())
    assert "begins empty" in machine.heard.text


def refused(machine: Machine, name: str, **wanted: object) -> Fault:
    """Expect that the home is not brought."""
    with pytest.raises(Fault) as seen:
        machine.come(**wanted)
    assert seen.value.kind.name == name, seen.value
    return seen.value


@root_only
def test_a_remote_that_is_gone_is_not_an_empty_one(begun: Cloud) -> None:
    begun.remote.rename(begun.folder / "elsewhere")
    begun.remote.write_text("not a folder\n")
    machine = begun.machine()
    assert "--start-empty" in refused(machine, "HB-REMOTE-UNREACHABLE").mend
    assert not machine.home.exists()
    assert machine.come(start_empty=True).way == "empty"


@root_only
@pytest.mark.parametrize("damage", ["data", "manifest", "cut"])
def test_the_one_before_where_the_newest_is_damaged(begun: Cloud, damage: str) -> None:
    second = begun.machine()
    second.come()
    (second.home / "SOUL.md").write_text("newer\n")
    assert second.save().state == "done"
    second.go()
    newest = begun.images()[-1]
    if damage == "manifest":
        (it,) = (it for it in begun.snapshots.iterdir() if it.name.startswith("000002") and "manifest" in it.name)
        it.write_text(it.read_text().replace('"sequence": 2', '"sequence": 3').replace("agent", "tnega"))
    else:
        data = bytearray(newest.read_bytes())
        data[len(data) // 2] ^= 1
        newest.write_bytes(data if damage == "data" else data[:-100])
    third = begun.machine()
    attached = third.come()
    assert str(attached.snapshot)[:6] == "000001"
    assert (third.home / "SOUL.md").read_text() == "I am the test.\n"
    assert "000002" in third.heard.text
    assert "warning" in third.heard.text
    assert ["000002" in it for it in attached.passed] == [True]
    (third.home / "SOUL.md").write_text("after\n")
    status = third.save()
    assert status.state == "done", status.error
    third.go()
    fourth = begun.machine()
    fourth.come()
    assert (fourth.home / "SOUL.md").read_text() == "after\n"


@root_only
def test_no_whole_snapshot_is_no_reason_to_begin_empty(begun: Cloud) -> None:
    (image,) = begun.images()
    image.write_bytes(bytes(image.stat().st_size))
    machine = begun.machine()
    refused(machine, "HB-DATA-DAMAGED")
    assert not machine.home.exists() or not any(machine.home.iterdir())


def test_snapshots_that_another_key_signed_are_no_empty_remote(begun: Cloud, tmp_path: Path) -> None:
    (tmp_path / "credentials" / "signing-key").unlink()
    fault = refused(begun.machine(), "HB-SIGNATURE-BAD")
    assert "--start-empty" not in fault.mend, "snapshots were seen"


@root_only
@pytest.mark.parametrize("way", WAYS)
def test_killed_and_started_again_on_the_same_disk_nothing_is_lost(begun: Cloud, way: str) -> None:
    machine = begun.machine()
    machine.come(way=way)
    fill(machine.home / "state.db", 7)
    (machine.home / "new").write_text("not yet saved\n")
    machine.die()
    attached = machine.come(way=way)
    assert attached.resumed
    assert (machine.home / "new").read_text() == "not yet saved\n"
    assert messages_in(machine.home / "state.db") == 207
    assert machine.save().state == "done"


@root_only
@pytest.mark.parametrize("way", WAYS)
def test_a_disk_that_comes_back_after_another_machine_went_on(begun: Cloud, way: str) -> None:
    first, second = begun.machine(), begun.machine()
    first.come(way=way)
    (first.home / "mine").write_text("of the first\n")
    first.die()
    second.come(way=way)
    (second.home / "yours").write_text("of the second\n")
    assert second.save().state == "done"
    second.go()
    second.die()
    fault = refused(first, "HB-HOME-DIVERGED")
    assert "000002" in fault.what
    assert first.come(keep_home=True).resumed
    assert (first.home / "mine").read_text() == "of the first\n"


@root_only
@pytest.mark.parametrize("late", [False, True])
def test_a_folder_that_was_saved_gives_way_when_the_home_comes_back(cloud: Cloud, late: bool) -> None:
    first, second = settled(cloud), cloud.machine()
    second.come()
    (second.home / "SOUL.md").write_text("grown elsewhere\n")
    assert second.save().state == "done"
    second.go()
    if late:
        (first.home / "mine").write_text("after the last snapshot\n")
        refused(first, "HB-HOME-DIVERGED")
        assert (first.home / "mine").exists()
        return
    assert not first.come().resumed
    assert (first.home / "SOUL.md").read_text() == "grown elsewhere\n"
    (aside,) = first.folder.glob("home.left-*")
    assert (aside / "SOUL.md").read_text() == "I am the test.\n"
    assert str(aside) in first.heard.text


@root_only
def test_a_folder_that_is_written_again_is_not_saved_any_more(cloud: Cloud) -> None:
    first, second = settled(cloud), cloud.machine()
    assert first.come().resumed
    (first.home / "mine").write_text("lost with the machine\n")
    os.utime(first.home / "mine", (0, 0))
    second.come(lease=0.5)
    (second.home / "yours").write_text("of the second\n")
    assert second.save().state == "done"
    second.go()
    refused(first, "HB-HOME-DIVERGED")


@root_only
def test_the_home_that_this_machine_saves_anyway_is_gone_on_with(cloud: Cloud) -> None:
    machine = cloud.machine()
    make_home(machine.home)
    assert machine.save().state == "done"
    attached = machine.come()
    assert (attached.way, attached.resumed) == ("kept", False)
    assert (machine.home / "SOUL.md").exists()


@root_only
def test_no_home_is_brought_that_could_not_be_saved(cloud: Cloud) -> None:
    machine = cloud.machine()
    config = machine.config(state=str(machine.folder / "link" / "state"))
    (machine.folder / "link").symlink_to(machine.home)
    with pytest.raises(Fault) as seen:
        attach(config, "snapshot", Wanted(start_empty=True), machine.heard)
    assert (seen.value.kind.name, "hermes_backup_state" in seen.value.mend) == ("HB-CONFIG-INVALID", True)
    assert not machine.home.exists()


def test_a_home_that_lies_there_is_not_overwritten(begun: Cloud) -> None:
    machine = begun.machine()
    make_home(machine.home)
    (machine.home / "SOUL.md").write_text("mine\n")
    assert "--keep-home" in refused(machine, "HB-HOME-OCCUPIED").mend
    assert machine.come(keep_home=True).way == "kept"
    assert (machine.home / "SOUL.md").read_text() == "mine\n"


def test_a_home_that_is_there_and_was_never_saved_is_used(cloud: Cloud) -> None:
    machine = cloud.machine()
    make_home(machine.home)
    assert machine.come().way == "kept"
    assert machine.save().state == "done"
    assert len(cloud.images()) == 1


@root_only
def test_a_killed_unpacking_is_begun_anew(begun: Cloud) -> None:
    machine = begun.machine()
    machine.come(way="unpack")
    record = machine.state / "attached.json"
    record.write_text(record.read_text().replace('"whole":true', '"whole":false'))
    (machine.home / "half").write_text("of a file\n")
    (machine.home / "SOUL.md").unlink()
    assert not machine.come(way="unpack").resumed
    assert (machine.home / "SOUL.md").exists()
    assert not (machine.home / "half").exists()


@root_only
def test_what_no_remote_takes_is_kept_and_sent_at_the_next_start(begun: Cloud) -> None:
    machine = begun.machine()
    machine.come()
    (machine.home / "last").write_text("words\n")
    begun.remote.rename(begun.folder / "elsewhere")
    begun.remote.write_text("not a folder\n")
    assert machine.save(keep=True).state == "failed"
    machine.go(saved=False)
    machine.die()
    assert any((machine.state / "kept").rglob("000002-*.manifest.asc"))
    begun.remote.unlink()
    (begun.folder / "elsewhere").rename(begun.remote)
    assert machine.come().resumed
    assert [it.name[:6] for it in begun.images()] == ["000001", "000002"]
    assert not any(it.is_file() for it in (machine.state / "kept").rglob("0*"))
    machine.die()
    other = begun.machine()
    other.come(lease=0.5)
    assert (other.home / "last").read_text() == "words\n"


@root_only
def test_two_machines_do_not_write_one_home(begun: Cloud) -> None:
    first, second = begun.machine(), begun.machine()
    first.come(lease=4.0)
    second.come(lease=0.5)  # the first says nothing for its time: it counts as dead
    assert "seen whether it goes on" in second.heard.text
    (first.home / "mine").write_text("late\n")
    status = first.save()
    assert status.error is not None
    assert status.error.name == "HB-LEASE-HELD"
    assert (status.exit_code, len(begun.images())) == (7, 1)
    (second.home / "mine").write_text("in time\n")
    assert second.save().state == "done"


@root_only
def test_numbers_tell_of_another_writer_where_a_lease_does_not(begun: Cloud) -> None:
    first, second = begun.machine(), begun.machine()
    first.come()
    (begun.remote / "agent" / "snapshot.lease").unlink()
    second.come()
    (second.home / "mine").write_text("in time\n")
    assert second.save().state == "done"
    (begun.remote / "agent" / "snapshot.lease").unlink()
    status = first.save()
    assert status.error is not None
    assert "000002" in status.error.what


@root_only
def test_a_lease_that_is_renewed_is_respected(begun: Cloud) -> None:
    first = begun.machine()
    first.come(lease=10.0)
    stop = threading.Event()

    def live() -> None:
        path = begun.remote / "agent" / "snapshot.lease"
        while not stop.wait(0.3):
            lease = json.loads(path.read_text())
            lease["renewed"] = datetime.now(timezone.utc).isoformat()
            (begun.folder / "lease").write_text(json.dumps(lease))
            (begun.folder / "lease").replace(path)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        refused(begun.machine(), "HB-LEASE-HELD")
    finally:
        stop.set()
        thread.join()
    first.go(saved=False)
    assert str(begun.machine().come().snapshot)[:6] == "000001"


def test_another_signing_key_than_the_one_that_signed_here_is_refused(cloud: Cloud, tmp_path: Path) -> None:
    machine = settled(cloud)
    with HostKey.ensure(tmp_path / "other", "agent") as other:
        (tmp_path / "credentials" / "signing-key").write_text(other.secret())
    refused(machine, "HB-KEY-INVALID")


@root_only
def test_a_lost_memory_of_the_chain_is_found_again(cloud: Cloud) -> None:
    machine = settled(cloud)
    machine.come()
    shutil.rmtree(machine.state)
    (machine.home / "SOUL.md").write_text("newer\n")
    status = machine.save()
    assert status.state == "done", status.error
    machine.die()


def test_where_nothing_can_be_mounted_it_is_unpacked(begun: Cloud) -> None:
    machine = begun.machine()
    process = machine.start(command=("true",), before=("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all"))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "snapshot 000001-" in said
    assert f"is the home at {machine.home}, unpacked" in said
    assert (machine.home / "SOUL.md").exists()


@root_only
@pytest.mark.parametrize(("form", "way"), [("squashfs", "overlay"), ("squashfs", "unpack"), ("tar", "unpack")])
def test_search_answers_from_the_first_moment(cloud: Cloud, form: str, way: str) -> None:
    """An image holds its search indexes; what a tar leaves out is made again before anybody sees the home."""
    cloud.archive = {"format": form}
    first = settled(cloud)
    first.come()
    make(first.home / "search.db", CARRYING)
    assert first.save().state == "done"
    first.go()
    second = cloud.machine()
    assert second.come(way=way).way == way
    assert hits(second.home / "search.db", "lighthouse") == [[1, 2]]
    assert ("search.db: search indexes: 1 made again" in second.heard.text) == (form == "tar")


@root_only
@pytest.mark.parametrize("way", WAYS)
def test_the_home_belongs_to_whom_it_belonged_to(cloud: Cloud, way: str) -> None:
    first = settled(cloud)
    first.come()
    for path in (first.home, *first.home.rglob("*")):
        os.chown(path, 1234, 1235, follow_symlinks=False)
    assert first.save().state == "done"
    first.go()
    second = cloud.machine()
    second.come(way=way)
    assert (second.home.stat().st_uid, second.home.stat().st_gid) == (1234, 1235)
    assert (second.home / "SOUL.md").stat().st_uid == 1234


@root_only
def test_an_empty_home_belongs_to_the_declared_owner(cloud: Cloud) -> None:
    machine = cloud.machine()
    attach(machine.config(owner="nobody"), "snapshot", Wanted(lease=1.0), machine.heard)
    assert machine.home.owner() == "nobody"


@root_only
def test_a_home_that_is_not_mounted_is_no_empty_home(begun: Cloud) -> None:
    machine = begun.machine()
    machine.come(way="overlay")
    machine.die()
    status = machine.save()
    assert status.error is not None
    assert status.error.name == "HB-HOME-MISSING"
    assert len(begun.images()) == 1


@root_only
def test_what_holds_only_what_changed_is_brought_with_what_it_needs(cloud: Cloud) -> None:
    delta_of_a_home(cloud)
    second = cloud.machine()
    attached = second.come()
    assert (attached.way, str(attached.snapshot)[:6]) == ("unpack", "000002")
    assert (second.home / "SOUL.md").read_text() == "newer\n"
    assert messages_in(second.home / "state.db") == 200


@root_only
@pytest.mark.parametrize("base", ["gone", "flipped"])
def test_what_lost_what_it_needs_is_passed_over(cloud: Cloud, base: str) -> None:
    first = delta_of_a_home(cloud)
    (first.home / "noise").write_bytes(os.urandom(300_000))  # a delta would be no gain
    for text in ("full again", "newest"):
        (first.home / "SOUL.md").write_text(text)
        assert first.save().state == "done"
    first.go()
    (full,) = (it for it in cloud.images() if it.name.startswith("000003"))
    if base == "gone":
        for it in cloud.snapshots.glob("000003-*"):
            it.unlink()
    else:
        data = bytearray(full.read_bytes())
        data[len(data) // 2] ^= 1
        full.write_bytes(data)
    second = cloud.machine()
    assert str(second.come().snapshot)[:6] == "000002"
    assert (second.home / "SOUL.md").read_text() == "newer\n"
    assert "000003" in second.heard.text
    assert second.save().state == "done"
    assert cloud.images()[-1].name.startswith("000005"), "a number that somebody signed is taken"


def delta_of_a_home(cloud: Cloud) -> Machine:
    """A machine with a home of which the remote holds a full snapshot, and what changed since."""
    cloud.archive = {"format": "tar", "delta": {}}
    first = cloud.machine()
    first.come()
    make_home(first.folder / "made")
    for it in (first.folder / "made").iterdir():
        it.rename(first.home / it.name)
    (first.home / "noise").write_bytes(os.urandom(300_000))
    assert first.save().state == "done"
    (first.home / "SOUL.md").write_text("newer\n")
    assert first.save().state == "done"
    assert [".delta." in it.name for it in cloud.images()] == [False, True]
    return first
