"""Following a tar stream made by the real tar: names, kinds, hashes, damage."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_backup.errors import Fault
from hermes_backup.streams.directory import hold
from hermes_backup.streams.members import Follower, Member
from hermes_backup.streams.tar import Source, make

NAMES = [
    b"plain",
    b"with space",
    b"new\nline",
    b"\xff\xfe not text",
    "emoji 😀".encode(),
    b"-dash",
    b"a" * 255,
    b"back\\slash",
]


def tar_of(root: Path, names: list[bytes], told: list[tuple[bytes, str]] | None = None) -> bytes:
    said = [] if told is None else told
    with hold(root) as held:
        return b"".join(make([Source(held, names)], lambda name, why: said.append((name, why))))


def followed(data: bytes, step: int = 1 << 20) -> tuple[Member, ...]:
    follower = Follower()
    for start in range(0, len(data), step):
        follower.feed(data[start : start + step])
    return follower.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("step", [511, 512, 4096])
def test_what_is_complete_is_an_archive_of_its_own(root: Path, step: int) -> None:
    sizes = {"empty": 0, "block": 512, "two": 1024, "odd": 1500, "n" * 200: 3000}
    for name, size in sizes.items():
        (root / name).write_bytes(os.urandom(size))
    (root / "folder").mkdir()
    (root / "link").symlink_to("odd")
    os.link(root / "odd", root / "other")
    data = tar_of(root, [os.fsencode(it.name) for it in sorted(root.iterdir())])
    follower = Follower()
    counted = set()
    for start in range(0, len(data), step):
        follower.feed(data[start : start + step])
        complete = follower.complete()
        assert followed(data[: follower.end] + bytes(1024)) == complete
        assert follower.complete(since=2) == complete[2:]
        counted.add(len(complete))
    assert follower.complete() == follower.close()
    assert max(counted) == 8
    assert len(counted) >= 4


@pytest.mark.parametrize("step", [1, 511, 512, 4096, 1 << 20])
def test_every_name_kind_and_content_is_seen(root: Path, step: int) -> None:
    for number, name in enumerate(NAMES):
        Path(os.fsdecode(os.path.join(os.fsencode(root), name))).write_bytes(b"x" * number * 300)
    (root / "folder").mkdir()
    (root / "link").symlink_to("plain")
    os.link(root / "with space", root / "zz hard")
    data = tar_of(root, [*NAMES, b"folder", b"link", b"zz hard"])
    seen = {member.name: member for member in followed(data, step)}
    assert set(seen) == {*NAMES, b"folder", b"link", b"zz hard"}
    for number, name in enumerate(NAMES):
        assert seen[name].sha256 == hashlib.sha256(b"x" * number * 300).hexdigest()
        assert seen[name].size == number * 300
    assert (seen[b"folder"].kind, seen[b"link"].kind, seen[b"zz hard"].kind) == ("dir", "link", "hardlink")
    assert (seen[b"link"].link, seen[b"zz hard"].link) == (b"plain", b"with space")


@settings(max_examples=30, deadline=None)
@given(segments=st.lists(st.tuples(st.integers(0, 40), st.binary(min_size=1, max_size=9000)), max_size=6))
def test_a_sparse_file_has_the_hash_of_its_content(
    segments: list[tuple[int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("sparse") / "home"
    root.mkdir()
    path = root / "holes"
    with path.open("wb") as file:
        for place, content in segments:
            file.seek(place * 65536)
            file.write(content)
        file.truncate(3_000_000)
    member = followed(tar_of(root, [b"holes"]), 7777)[0]
    assert member.size == 3_000_000
    assert member.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("cut", [0, 1, 511, 512, 0.5, -1024, -1])
def test_a_cut_stream_is_noticed_even_at_a_member_s_end(root: Path, cut: float) -> None:
    (root / "a").write_bytes(b"a" * 512)
    (root / "b").write_bytes(b"b" * 512)
    data = tar_of(root, [b"a", b"b"]).rstrip(b"\0")
    data += bytes(-len(data) % 512)
    end = len(data) // 2 if cut == 0.5 else int(cut) if cut >= 0 else len(data) + int(cut)
    with pytest.raises(Fault) as caught:
        followed(data[:end])
    assert caught.value.kind.name == "HB-DATA-DAMAGED"


def test_a_damaged_header_and_trailing_bytes_are_noticed(root: Path) -> None:
    (root / "a").write_bytes(b"content")
    data = bytearray(tar_of(root, [b"a"]))
    with pytest.raises(Fault):
        followed(bytes(data) + b"x" * 512)
    data[1024 + 100] ^= 0xFF
    with pytest.raises(Fault):
        followed(bytes(data))


def test_each_member_is_admitted_before_its_bytes_are_released() -> None:
    made = BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("good", "bad"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, BytesIO(b"abc"))
    released = []

    def admit(member: Member, _holes: int) -> None:
        if member.name == b"bad":
            raise ValueError("refused")

    def release() -> None:
        follower = Follower(admit)
        for start in range(0, len(made.getvalue()), 512):
            follower.feed(made.getvalue()[start : start + 512])
            released.append(start)

    with pytest.raises(ValueError, match="refused"):
        release()
    assert released == [0, 512]


def test_the_standard_library_agrees(root: Path) -> None:
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / ("n" * 200)).write_bytes(os.urandom(5000))
    data = tar_of(root, [b"deep", b"deep/er", b"deep/er/" + b"n" * 200])
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        theirs = [(os.fsencode(it.name), it.size, it.mode, it.uid, it.gid) for it in archive]
    assert [(it.name, it.size, it.mode, it.uid, it.gid) for it in followed(data)] == theirs
    assert subprocess.run(["tar", "-tf", "-"], input=data, capture_output=True, check=True).stdout.count(b"\n") == 3
