"""A tar stream of an exact list of names: what GNU tar makes of it, and what is put in the way while it is written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_backup.streams.coder import CHUNK
from hermes_backup.streams.directory import hold
from hermes_backup.streams.members import Follower, Member
from hermes_backup.streams.tar import Source, make

Told = list[tuple[bytes, str]]


def followed(data: bytes) -> dict[bytes, Member]:
    follower = Follower()
    follower.feed(data)
    return {it.name: it for it in follower.close()}


def names_of(root: Path) -> list[bytes]:
    return sorted(os.fsencode(it.relative_to(root)) for it in root.rglob("*"))


def archived(root: Path, names: list[bytes] | None = None, *, holes: bool = True) -> tuple[bytes, Told]:
    told: Told = []
    with hold(root) as held:
        source = Source(held, names_of(root) if names is None else names)
        return b"".join(make([source], lambda name, why: told.append((name, why)), holes=holes)), told


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with everything that a home may hold."""
    home = tmp_path / "home"
    (home / "folder" / ("deep" * 40)).mkdir(parents=True)
    (home / "empty").touch()
    (home / "odd").write_bytes(os.urandom(1500))
    (home / "large").write_bytes(os.urandom(CHUNK + 7))
    (home / os.fsdecode(b"not \xff text\n")).write_bytes(b"1")
    (home / "folder" / ("n" * 200)).write_bytes(b"2")
    (home / "folder" / "\N{DRAGON}").write_bytes(b"3")
    os.link(home / "odd", home / "other name")
    (home / "link").symlink_to("odd")
    (home / "long link").symlink_to("x" * 150)
    with (home / "holes").open("wb") as file:
        file.write(b"begin")
        file.seek(10 << 20)
        file.write(b"middle")
        file.truncate(20 << 20)
    with (home / "a hole").open("wb") as file:
        file.truncate(3 << 20)
    (home / "run.sh").write_bytes(b"#!/bin/sh")
    (home / "run.sh").chmod(0o4751)
    os.utime(home / "odd", ns=(0, 1_500_000_000_123_456_789))
    os.utime(home / "empty", ns=(0, -1_500_000_000))
    if os.geteuid() == 0:
        os.chown(home / "large", 3_000_000, 4)
    return home


def test_it_is_what_gnu_tar_makes(root: Path) -> None:
    os.setxattr(root / "odd", "user.some", b"\0\1 bytes\n")
    argv = [
        "tar",
        "--create",
        "--format=posix",
        "--pax-option=delete=atime,delete=ctime",
        "--numeric-owner",
        "--sparse",
    ]
    argv += ["--xattrs", "--xattrs-include=*", "--acls", "--no-recursion", "--null", "--file=-", "--files-from=-"]
    listing = b"".join(it + b"\0" for it in names_of(root))
    gnu = subprocess.run(argv, cwd=root, input=listing, capture_output=True, check=True).stdout
    data, told = archived(root)
    assert followed(data) == followed(gnu)
    assert told == []
    assert len(data) == len(gnu), "holes take no room, and records are as long"


def test_gnu_tar_brings_it_back(root: Path, tmp_path: Path) -> None:
    subprocess.run(["setfacl", "-m", "u:12345:r,g:54321:rw", root / "odd"], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:12345:rx", root / "folder"], check=True)
    back = tmp_path / "back"
    back.mkdir()
    argv = ["tar", "--extract", "--preserve-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls"]
    subprocess.run([*argv, "--directory", back], input=archived(root)[0], capture_output=True, check=True)
    assert archived(back)[0] == archived(root)[0]
    told = [subprocess.run(["getfacl", "-Rn", "."], cwd=it, capture_output=True).stdout for it in (root, back)]
    assert told[0] == told[1]
    assert b"user:12345:r--" in told[0]


def test_without_holes_they_are_zeros(root: Path) -> None:
    data, _ = archived(root, [b"holes"], holes=False)
    assert len(data) > 20 << 20
    assert followed(data)[b"holes"].sha256 == followed(archived(root, [b"holes"])[0])[b"holes"].sha256


def test_what_vanished_is_left_out(root: Path) -> None:
    data, told = archived(root, [b"gone", b"gone/too", b"odd"])
    assert (list(followed(data)), told) == ([b"odd"], [])


def stepped(root: Path, names: list[bytes], told: Told) -> Iterator[bytes]:
    with hold(root) as held:
        yield from make([Source(held, names)], lambda name, why: told.append((name, why)))


@pytest.mark.parametrize("change", ["shrinks", "grows", "is written to"])
def test_a_file_that_changes_while_it_is_read_is_told(root: Path, change: str) -> None:
    path, told = root / "large", Told()
    path.write_bytes(bytes(4 * CHUNK))
    stream = stepped(root, [b"large", b"odd"], told)
    data = next(stream)
    if change == "shrinks":
        os.truncate(path, 2 * CHUNK)
    else:
        with path.open("ab" if change == "grows" else "r+b") as file:
            file.write(b"more")
    members = followed(data + b"".join(stream))
    assert told == [(b"large", "changed while it was read")]
    assert members[b"large"].size == 4 * CHUNK
    assert b"odd" in members


def test_a_folder_that_a_link_takes_the_place_of_is_not_followed(root: Path, tmp_path: Path) -> None:
    """Whatever the moment: before its entry, between it and what lies below, or between two files below."""
    secret = tmp_path / "secret"
    secret.mkdir()
    for name in ("a", "b"):
        (secret / name).write_bytes(b"secret")
        (root / "folder" / name).write_bytes(b"own" * CHUNK)
    names = [b"folder", b"folder/a", b"folder/b"]
    for moment in range(4):
        told: Told = []
        stream = stepped(root, names, told)
        data = b"".join(next(stream) for _ in range(moment))
        (root / "folder").rename(root / "moved")
        (root / "folder").symlink_to(secret)
        members = followed(data + b"".join(stream))
        assert all(it.size != 6 for it in members.values()), moment
        kinds = {name: it.kind for name, it in members.items()}
        assert kinds.get(b"folder", "dir") == "dir" or set(kinds) == {b"folder"}, "nothing lies below a link"
        (root / "folder").unlink()
        (root / "moved").rename(root / "folder")


def test_what_is_refused_is_told_and_so_is_nothing_below_it(root: Path) -> None:
    told: Told = []
    with hold(root) as held:
        source = Source(held, names_of(root), lambda name, _: "not wanted" if name in (b"odd", b"folder") else "")
        members = followed(b"".join(make([source], lambda name, why: told.append((name, why)))))
    assert told == [(b"folder", "not wanted"), (b"odd", "not wanted")]
    assert not any(it.startswith(b"folder") for it in members)
    assert members[b"other name"].kind == "file"


def test_a_pipe_in_the_place_of_a_file_hangs_nobody(root: Path) -> None:
    stream = stepped(root, [b"large", b"odd"], told := [])
    data = next(stream)
    os.unlink(root / "odd")
    os.mkfifo(root / "odd")
    assert list(followed(data + b"".join(stream))) == [b"large"]
    assert told == []
    shutil.rmtree(root)
