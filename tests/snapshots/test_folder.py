from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_backup.errors import DISK_FULL, SNAPSHOT_UNREADABLE, STAGE_FAILED, Fault
from hermes_backup.snapshots.folder import FolderPlace
from tests.snapshots.places import FOLDER

DATA = f"{FOLDER}/000001-20261121T033000Z.tar"
NAME = DATA.rpartition("/")[2]


def test_folders_and_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        FolderPlace(tmp_path / "deep" / "store").put(DATA, b"1")
    finally:
        os.umask(before)
    modes = {path.relative_to(tmp_path): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes.pop(Path("deep", "store", DATA)) == 0o600
    modes.pop(Path("deep"))
    assert set(modes.values()) == {0o700}


def test_what_exists_is_not_overwritten(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    place.put(DATA, b"first")
    with pytest.raises(Fault, match="not overwritten") as caught:
        place.put(DATA, b"second")
    assert caught.value.kind is STAGE_FAILED
    assert caught.value.where == str(tmp_path / DATA)


def test_without_hard_links_nothing_is_overwritten_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    place = FolderPlace(tmp_path)
    place.put(DATA, b"first")
    with pytest.raises(Fault, match="not overwritten"):
        place.put(DATA, b"second")
    assert (tmp_path / DATA).read_bytes() == b"first"
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [NAME]


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / NAME).write_bytes(b"secret")
    root = tmp_path / "store"
    (root / "web-1").mkdir(parents=True)
    (root / FOLDER).symlink_to(outside)
    place = FolderPlace(root)
    with pytest.raises(Fault, match=r"symbolic link|Not a directory"):
        place.list(FOLDER)
    with pytest.raises(Fault):
        place.put(f"{FOLDER}/new", b"1")
    with pytest.raises(Fault):
        place.delete(DATA)
    (root / "web-1" / "hourly").mkdir()
    (root / "web-1" / "hourly" / "link").symlink_to(outside / NAME)
    assert place.list("web-1/hourly") == ()
    with pytest.raises(Fault, match="symbolic link"):
        next(place.read("web-1/hourly/link"))
    assert [path.name for path in outside.iterdir()] == [NAME]


@contextlib.contextmanager
def mounted(path: Path, options: str) -> Iterator[Path]:
    path.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"cannot mount a small file system: {mount.stderr.decode().strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=1m,mode=700") as root:
        place = FolderPlace(root)
        place.put(f"{FOLDER}/before", b"1")
        with pytest.raises(Fault) as caught, place.sink(DATA) as sink:
            sink.write(b"x" * 2_000_000)
        assert caught.value.kind is DISK_FULL
        assert caught.value.where == str(root / DATA)
        assert [file.name for file in place.list(FOLDER)] == ["before"]
        assert [path.name for path in (root / FOLDER).iterdir()] == ["before"]
        place.put(DATA, b"room again")


def test_no_inodes_left(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "nr_inodes=12,mode=700") as root:
        place = FolderPlace(root)
        place.put(f"{FOLDER}/a", b"1")
        with contextlib.suppress(OSError):
            for number in range(20):
                (root / str(number)).touch()
        with pytest.raises(Fault) as caught:
            place.put(f"{FOLDER}/b", b"1")
        assert caught.value.kind is DISK_FULL


def test_a_disk_that_became_read_only(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=1m,mode=700") as root:
        place = FolderPlace(root)
        place.put(DATA, b"1")
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        for act in (lambda: place.put(f"{FOLDER}/new", b"1"), lambda: place.delete(DATA)):
            with pytest.raises(Fault, match="read-only") as caught:
                act()
            assert caught.value.kind is STAGE_FAILED
        assert b"".join(place.read(DATA)) == b"1"


def test_a_file_size_limit(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys; from pathlib import Path; from hermes_backup.errors import Fault;"
        "from hermes_backup.snapshots.folder import FolderPlace;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));\n"
        f"try: FolderPlace(Path({str(tmp_path)!r})).put({DATA!r}, b'x' * 5000)\n"
        "except Fault as fault: print(fault); sys.exit(5)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, "larger than" in done.stdout) == (5, True)
    assert list((tmp_path / FOLDER).iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_a_folder_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir(parents=True, mode=0o500)
    (tmp_path / FOLDER).chmod(0o500)
    with pytest.raises(Fault, match="permission denied"):
        FolderPlace(tmp_path).put(DATA, b"1")


def test_a_killed_run_is_swept_by_the_next(tmp_path: Path) -> None:
    script = (
        "import os; from pathlib import Path; from hermes_backup.snapshots.folder import FolderPlace;"
        f"sink = FolderPlace(Path({str(tmp_path)!r})).sink({DATA!r}); sink.write(b'half'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    place = FolderPlace(tmp_path)
    assert place.list(FOLDER) == ()
    assert len(list((tmp_path / FOLDER).iterdir())) == 1
    assert len(place.sweep(FOLDER)) == 1
    assert list((tmp_path / FOLDER).iterdir()) == []
    assert place.sweep("no/such") == ()


def test_a_file_that_the_disk_does_not_give_keeps_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = FolderPlace(tmp_path / "store")
    names = [f"{number:06d}-20261121T033000Z.manifest.asc" for number in (1, 2, 3)]
    for name in names:
        place.put(f"{FOLDER}/{name}", name.encode())
    opened = os.open

    def spoilt(path: str, *words: int, **more: int) -> int:
        if path == names[1]:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return opened(path, *words, **more)

    monkeypatch.setattr(os, "open", spoilt)
    target = tmp_path / "target"
    target.mkdir()
    refused = place.fetch_many(FOLDER, names, target)
    assert sorted(it.name for it in target.iterdir()) == [names[0], names[2]]
    assert [(name, it.kind, names[1] in it.where) for name, it in refused.items()] == [
        (names[1], SNAPSHOT_UNREADABLE, True)
    ]
