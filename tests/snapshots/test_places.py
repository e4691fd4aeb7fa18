"""What every place promises, on every kind of place."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from hermes_backup.errors import SNAPSHOT_MISSING, Fault
from hermes_backup.snapshots.place import CHUNK, StoredFile
from tests.snapshots.places import FOLDER, Made

DATA = f"{FOLDER}/000001-20261121T033000Z.tar.zst.gpg"
BIG = random.Random(7).randbytes(3 * CHUNK + 17)


def test_an_absent_folder_is_empty(made: Made) -> None:
    assert made.place.list(FOLDER) == ()


@pytest.mark.parametrize("data", [b"", b"x", BIG], ids=["empty", "byte", "big"])
def test_what_is_put_is_what_is_read(made: Made, data: bytes) -> None:
    note = made.place.put(DATA, data)
    assert b"".join(made.place.read(DATA)) == data
    assert made.place.list(FOLDER) == (StoredFile(DATA.rpartition("/")[2], len(data)),)
    assert note.startswith(("verified by size", "size checked"))
    assert made.under() == [DATA.rpartition("/")[2]]


def test_a_sink_is_written_from_another_thread(made: Made) -> None:
    with made.place.sink(DATA) as sink:

        def pump() -> None:
            for start in range(0, len(BIG), 65_536):
                sink.write(BIG[start : start + 65_536])

        thread = threading.Thread(target=pump)
        thread.start()
        thread.join()
        sink.commit()
    assert b"".join(made.place.read(DATA)) == BIG


def test_nothing_lies_under_the_name_before_commit(made: Made) -> None:
    with made.place.sink(DATA) as sink:
        sink.write(BIG)
        time.sleep(0.3)
        assert made.place.list(FOLDER) == ()
        sink.commit()
    assert len(made.place.list(FOLDER)) == 1


@pytest.mark.parametrize("size", [0, 100, len(BIG)])
def test_an_aborted_sink_leaves_nothing(made: Made, size: int) -> None:
    with made.place.sink(DATA) as sink:
        sink.write(BIG[:size])
        time.sleep(0.3)
    assert made.place.list(FOLDER) == ()
    assert made.under() == []


def test_abort_while_a_write_blocks(made: Made) -> None:
    with made.place.sink(DATA) as sink:

        def pump() -> None:
            with contextlib.suppress(Fault):
                while True:
                    sink.write(BIG)

        thread = threading.Thread(target=pump, daemon=True)
        if made.kind == "folder":
            return  # a folder never blocks
        thread.start()
        time.sleep(0.5)
    thread.join(10)
    assert not thread.is_alive()
    assert made.place.list(FOLDER) == ()


def test_deleting_is_final_and_may_be_repeated(made: Made) -> None:
    made.place.put(DATA, b"1")
    made.place.put(f"{FOLDER}/000002-20261121T033000Z.tar", b"2")
    made.place.delete(DATA)
    made.place.delete(DATA)
    assert [file.name for file in made.place.list(FOLDER)] == ["000002-20261121T033000Z.tar"]


def test_deleting_a_folder_s_name_spares_what_is_in_it(made: Made) -> None:
    made.write(f"{DATA}/inner", b"keep")
    with contextlib.suppress(Fault):  # some say that it is a folder, some that there is no such file
        made.place.delete(DATA)
    assert (made.root / DATA / "inner").read_bytes() == b"keep"


def test_reading_what_is_not_there(made: Made) -> None:
    made.place.put(f"{FOLDER}/other.txt", b"1")
    with pytest.raises(Fault) as caught:
        list(made.place.read(DATA))
    assert caught.value.kind is SNAPSHOT_MISSING


def test_a_reader_may_stop_early(made: Made) -> None:
    made.place.put(DATA, BIG)
    reader = made.place.read(DATA)
    assert BIG.startswith(next(reader))
    reader.close()  # type: ignore[attr-defined]


def test_many_files_come_at_once(made: Made, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    names = [f"{number:06d}-20261121T033000Z.manifest.asc" for number in range(1, 6)]
    for number, name in enumerate(names):
        made.write(f"{FOLDER}/{name}", b"manifest %d" % number)
    made.place.fetch_many(FOLDER, [*names[:3], "000999-20261121T033000Z.manifest.asc"], target)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        name: b"manifest %d" % number for number, name in enumerate(names[:3])
    }


def test_only_replace_overwrites(made: Made) -> None:
    made.place.put(DATA, b"first")
    if made.kind == "s3":  # put-only credentials may not ask whether the name is taken: names are unique instead
        made.place.put(DATA, b"second")
    else:
        with pytest.raises(Fault):
            made.place.put(DATA, b"second")
        assert b"".join(made.place.read(DATA)) == b"first"
        assert made.under() == [DATA.rpartition("/")[2]]
    made.place.put(DATA, b"third", replace=True)
    assert b"".join(made.place.read(DATA)) == b"third"


def test_folders_and_foreign_files_are_left_alone(made: Made) -> None:
    made.write(f"{FOLDER}/deeper/file", b"1")
    made.write(f"{FOLDER}/notes.txt", b"12")
    assert made.place.list(FOLDER) == (StoredFile("notes.txt", 2),)
    assert made.place.sweep(FOLDER) == ()


def test_when_files_were_written_is_what_the_place_says(made: Made) -> None:
    assert made.place.modified(FOLDER) == {}
    before = datetime.now(timezone.utc) - timedelta(seconds=2)  # some places know whole seconds only
    made.place.put(DATA, b"x")
    ((name, written),) = made.place.modified(FOLDER).items()
    assert name == DATA.rpartition("/")[2]
    assert before <= written <= datetime.now(timezone.utc) + timedelta(seconds=2)


def test_sweep_takes_what_a_dead_run_left(made: Made) -> None:
    if made.kind == "s3":
        pytest.skip("half an upload does not show on S3")
    left = f"{FOLDER}/.000001-20261121T033000Z.tar.0123456789ab.hermes-backup-part"
    made.write(left, b"half")
    assert made.place.list(FOLDER) == ()
    os.utime(made.root / left, (1, 1))
    with made.place.sink(DATA) as live:
        live.write(b"live")
        time.sleep(0.3)
        assert made.place.sweep(FOLDER, dry_run=True) == (left.rpartition("/")[2],)
        assert left.rpartition("/")[2] in made.under()
        assert made.place.sweep(FOLDER) == (left.rpartition("/")[2],)
        live.commit()
    assert made.under() == [DATA.rpartition("/")[2]]


@pytest.mark.parametrize("path", ["../up", "/etc/x", "a/../b", "a/$(touch x)", "a/`id`", "a/b c", "a/b\n", "", "a//b"])
def test_hostile_paths_are_refused(made: Made, path: str) -> None:
    with pytest.raises(ValueError, match="not a path inside a place"):
        made.place.sink(path)
    with pytest.raises(ValueError, match="not a path inside a place"):
        made.place.delete(path)
    with pytest.raises(ValueError, match="not a path inside a place"):
        next(made.place.read(path))


def test_a_file_is_moved_and_nothing_is_written_over(made: Made) -> None:
    made.place.put(f"{FOLDER}/a.txt", b"mine")
    made.place.put(f"{FOLDER}/b.txt", b"other")
    target = f"quarantine/20261121T033000Z/{FOLDER}"
    made.place.move(f"{FOLDER}/a.txt", f"{target}/a.txt")
    assert [it.name for it in made.place.list(FOLDER)] == ["b.txt"]
    assert b"".join(made.place.read(f"{target}/a.txt")) == b"mine"
    with pytest.raises(Fault):
        made.place.move(f"{FOLDER}/b.txt", f"{target}/a.txt")
    with pytest.raises(Fault):
        made.place.move(f"{FOLDER}/c.txt", f"{target}/c.txt")
    assert b"".join(made.place.read(f"{target}/a.txt")) == b"mine"
    assert b"".join(made.place.read(f"{FOLDER}/b.txt")) == b"other"
    assert [it.name for it in made.place.list(target)] == ["a.txt"]
