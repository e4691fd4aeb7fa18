"""Archives made to do harm, signed by the host's own key: a host that was taken over. Nothing leaves the quarantine."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hermes_backup.snapshots.manifest import Database
from hermes_backup.streams.admission import MOST_HOLES
from hermes_backup.streams.coder import CHUNK, from_bytes
from hermes_backup.streams.compression import Algorithm, Compress, Decompress
from hermes_backup.streams.members import Member
from tests.pipeline.forge import (
    Forge,
    Witness,
    bring_back,
    entry,
    folder_entry,
    link_entry,
    members_of,
    refused,
    tar_of,
)
from tests.site import fill

AS_ROOT = os.geteuid() == 0
SOUL = entry("SOUL.md", b"I am not.\n")
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 7, 0, 0, 0)  # cap_setuid+ep, linux/capability.h
REFUSED, DAMAGED, CHECK = "HB-RESTORE-REFUSED", "HB-DATA-DAMAGED", "HB-RESTORE-CHECK"


def special(name: str, kind: bytes) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=kind, devmajor=1, devminor=3, mode=0o666)


def hard(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.LNKTYPE, linkname=target)


def hostile(canary: Path) -> dict[str, list[tuple[tarfile.TarInfo, bytes]]]:
    """Archives that try to leave the quarantine for a folder, or to bring in what no home holds."""
    return {
        "climbs": [SOUL, entry("../canary/evil", b"x")],
        "climbs in the middle": [SOUL, entry("a/../../canary/evil", b"x")],
        "climbs at the end": [SOUL, folder_entry("a/..")],
        "absolute": [SOUL, entry(f"{canary}/evil", b"x")],
        "starts with a dot": [SOUL, entry("./evil", b"x")],
        "the folder itself": [folder_entry(".", 0o777), SOUL],
        "two slashes": [SOUL, entry("a//b", b"x")],
        "through a link": [SOUL, link_entry("d", str(canary)), entry("d/evil", b"x")],
        "through a link upwards": [SOUL, link_entry("d", "../canary"), entry("d/evil", b"x")],
        "through a link deeper down": [folder_entry("a"), link_entry("a/d", str(canary)), entry("a/d/b/evil", b"x")],
        "a folder through a link": [SOUL, link_entry("d", str(canary)), folder_entry("d/evil")],
        "a link through a link": [SOUL, link_entry("d", str(canary)), link_entry("d/evil", "/")],
        "link then file of its name": [SOUL, link_entry("d", f"{canary}/song"), entry("d", b"silenced")],
        "file then link of its name": [entry("d", b"x"), link_entry("d", str(canary)), SOUL],
        "folder then link of its name": [folder_entry("d"), link_entry("d", str(canary)), SOUL],
        "hard link outside": [SOUL, hard("evil", f"{canary}/song")],
        "hard link upwards": [SOUL, hard("evil", "../canary/song")],
        "hard link to what comes later": [hard("evil", "SOUL.md"), SOUL],
        "hard link to itself": [SOUL, hard("evil", "evil")],
        "hard link to a link": [SOUL, link_entry("l", f"{canary}/song"), hard("evil", "l")],
        "hard link to a folder": [folder_entry("d"), hard("evil", "d")],
        "hard link through a link": [SOUL, link_entry("d", str(canary)), hard("evil", "d/song")],
        "character device": [SOUL, special("null", tarfile.CHRTYPE)],
        "block device": [SOUL, special("disk", tarfile.BLKTYPE)],
        "fifo": [SOUL, special("pipe", tarfile.FIFOTYPE)],
        "contiguous file": [SOUL, special("cont", tarfile.CONTTYPE)],
        "unknown kind": [SOUL, special("odd", b"Z")],
        "twice": [SOUL, entry("a", b"1"), entry("a", b"2")],
        "through a file": [entry("a", b"file"), entry("a/b", b"x")],
        "through a file deeper down": [entry("a", b"file"), entry("a/b/c/d", b"x")],
        "a folder through a file": [entry("a", b"file"), folder_entry("a/b")],
        "through a hard link": [SOUL, hard("a", "SOUL.md"), entry("a/b", b"x")],
        "a link above what was there": [entry("d/evil", b"x"), link_entry("d", str(canary))],
        "a link high above what was there": [entry("d/e/f", b"x"), link_entry("d", str(canary)), SOUL],
        "a file above what was there": [entry("d/e", b"x"), entry("d", b"x")],
        "a hard link above what was there": [SOUL, entry("d/e", b"x"), hard("d", "SOUL.md")],
        "a link to nothing": [SOUL, link_entry("l", "")],
    }  # fmt: skip


@pytest.mark.parametrize("case", hostile(Path("/")))
def test_what_would_leave_the_quarantine_is_refused(case: str, forge: Forge, canary: Path) -> None:
    forge.publish(tar_of(*hostile(canary)[case]))
    refused(forge.site, REFUSED, key=forge.key.public())


def sparse_entry(name: str, size: int, content: bytes = b"") -> tuple[tarfile.TarInfo, bytes]:
    """A file that is a hole, with some content at its beginning, as GNU tar writes it (PAX Format, Version 1.0)."""
    told = f"2\n0\n{len(content)}\n{size}\n0\n"
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name}
    records["GNU.sparse.realsize"] = str(size)
    return entry(f"GNUSparseFile.0/{name}", told.encode().ljust(512, b"\0") + content, pax_headers=records)


@pytest.mark.parametrize("size", [1 << 50, 1 << 62, MOST_HOLES + 4096])
def test_holes_beyond_all_measure_are_refused_before_they_are_hashed(forge: Forge, size: int) -> None:
    (member,) = members_of(tar_of(entry("hole")))
    forge.publish(tar_of(sparse_entry("hole", size)), members=[replace(member, size=size)])
    refused(forge.site, REFUSED, key=forge.key.public(), match=f"bytes of holes, not {MOST_HOLES}")


def test_holes_of_all_files_together_are_bounded(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hermes_backup.streams.admission.MOST_HOLES", 1 << 20)
    forge.publish(tar_of(sparse_entry("one", 600 << 10), sparse_entry("two", 600 << 10)))
    refused(forge.site, REFUSED, key=forge.key.public(), match="'two': with it, sparse files have")


def test_holes_of_a_disk_come_back_as_holes(forge: Forge) -> None:
    forge.publish(tar_of(SOUL, sparse_entry("disk.img", 256 << 20, b"boot")))
    disk = bring_back(forge.site, key=forge.key.public()).target / "disk.img"
    assert (disk.stat().st_size, disk.stat().st_blocks < 1000) == (256 << 20, True)
    with disk.open("rb") as file:
        assert file.read(5) == b"boot\0"


def test_a_hole_that_tar_does_not_make_is_noticed(forge: Forge) -> None:
    """tar lets a file end with its last segment, whatever size its header says."""
    info, content = sparse_entry("disk.img", 1 << 20, b"boot")
    forge.publish(tar_of(SOUL, (info, content.replace(b"2\n0\n4\n1048576\n0\n", b"1\n0\n4\n".ljust(18, b"\0")))))
    refused(forge.site, CHECK, key=forge.key.public(), match="what came out is not what the archive lists: disk.img")


def test_what_does_not_fit_is_said_before_it_is_written(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tar_of(SOUL, entry("bulk", bytes(5 << 20)), sparse_entry("hole", 64 << 20), hard("twice", "bulk"))
    forge.publish(archive)
    key, needed, bulk = forge.key.public(), len(archive), 5 << 20
    for free, said, only in (
        (1, "it needs [0-9]+ bytes, 1 are free", []),  # not even what is fetched
        (needed - 1, f"it needs {needed} bytes, {needed - 1} are free", []),  # a hole needs none
        (bulk - 1, f"it needs {bulk} bytes, {bulk - 1} are free", ["twice"]),
    ):
        monkeypatch.setattr("hermes_backup.stages.room.free_in", lambda _, free=free: free)
        refused(forge.site, "HB-DISK-FULL", code=5, key=key, match=said, only=only)
    monkeypatch.setattr("hermes_backup.stages.room.free_in", lambda _: needed)
    bring_back(forge.site, key=key)


def test_links_may_point_anywhere_and_are_named(forge: Forge, canary: Path) -> None:
    links = link_entry("out", str(canary)), link_entry("up", "../canary"), link_entry("in", "SOUL.md")
    forge.publish(tar_of(SOUL, *links))
    done = bring_back(forge.site, key=forge.key.public())
    assert (done.target / "out").readlink() == canary
    assert {it.rsplit(" ", 1)[1] for it in done.report.tree.warnings} == {"out", "up"}


def test_setuid_and_setgid_are_dropped_and_named(forge: Forge) -> None:
    forge.publish(tar_of(
        folder_entry("open", 0o2775), entry("open/suid", b"#!/bin/sh\n", mode=0o4755), entry("sgid", b"x", mode=0o2755),
        entry("both", b"x", mode=0o6711), folder_entry("closed", 0o6000), entry("sticky", b"x", mode=0o1644),
    ))  # fmt: skip
    follower = Witness()
    done = bring_back(forge.site, key=forge.key.public(), follower=follower)
    modes = {it.relative_to(done.target): it.lstat().st_mode for it in done.target.rglob("*")}
    assert not any(mode & (stat.S_ISUID | stat.S_ISGID) for mode in modes.values())
    assert {it.rsplit(" ", 1)[1] for it in follower.warnings} == {"open", "open/suid", "sgid", "both", "closed"}
    assert (done.target / "open" / "suid").stat().st_mode & 0o777 == 0o755
    assert (done.target / "closed").stat().st_mode & 0o777 == 0


@pytest.mark.skipif(not AS_ROOT, reason="only root can give a file capabilities")
def test_a_capability_is_not_brought_back(forge: Forge) -> None:
    value = CAPABILITY.decode("utf-8", "surrogateescape")
    records = {"SCHILY.xattr.security.capability": value, "SCHILY.xattr.user.kept": "yes"}
    forge.publish(tar_of(entry("tool", b"#!/bin/sh\n", mode=0o755, pax_headers=records)))
    done = bring_back(forge.site, key=forge.key.public())
    assert os.listxattr(done.target / "tool") == ["user.kept"]


def test_a_file_that_only_the_list_has_is_no_fault_of_tar(forge: Forge) -> None:
    listed = members_of(tar_of(SOUL, entry("memory", b"x")))
    forge.publish(tar_of(SOUL), members=listed)
    for only in ([], ["memory"]):
        refused(forge.site, CHECK, key=forge.key.public(), match="archive and its index differ: memory", only=only)


def test_what_comes_after_what_is_wanted_is_not_read(forge: Forge) -> None:
    archive = tar_of(SOUL, entry("bulk", os.urandom(3 << 20)), entry("last", b"x"))
    *listed, last = members_of(archive)
    forge.publish(archive, members=[*listed, replace(last, sha256="0" * 64)])
    key = forge.key.public()
    done = bring_back(forge.site, key=key, only=[SOUL[0].name])
    assert [it.read_bytes() for it in done.target.iterdir()] == [SOUL[1]]
    for only in ([], ["last"], [SOUL[0].name, "last"]):
        refused(
            forge.site,
            CHECK,
            key=key,
            match="archive and its index differ: last",
            only=only,
            target=done.target.with_name("more"),
        )


@pytest.mark.parametrize("size", [-1, +1, -(1 << 20), 1 << 30])
def test_a_lie_about_the_plain_size_is_noticed(size: int, forge: Forge) -> None:
    archive = tar_of(SOUL, entry("bulk", os.urandom(2 << 20)))
    forge.publish(archive, plain_size=len(archive) + size)
    refused(forge.site, DAMAGED, key=forge.key.public(), match="unpacks to")


def test_a_bomb_does_not_fill_the_memory(forge: Forge) -> None:
    archive = tar_of(SOUL, entry("zeros", bytes(256 << 20)))
    forge.publish(archive, members=(), plain_size=20_000)
    del archive
    tracemalloc.start()
    try:
        refused(forge.site, DAMAGED, key=forge.key.public(), match="unpacks to more")
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("algorithm", ["zstd", "lz4", "gzip"])
def test_a_little_data_never_becomes_much_at_once(algorithm: Algorithm) -> None:
    bomb = b"".join(Compress(algorithm).code(from_bytes(bytes(32 << 20))))
    sizes = [len(it) for it in Decompress(algorithm).code(from_bytes(bomb))]
    assert (sum(sizes), max(sizes)) == (32 << 20, CHUNK)


def test_odd_names_come_back(forge: Forge) -> None:
    names = [b"new\nline", b"\xff\xfe", b"tab\there", "größe".encode(), b"n" * 255, b"-rf", b"*", b"a b", b"\\", b"%s"]
    forge.publish(tar_of(*(entry(it, it) for it in names)))
    done = bring_back(forge.site, key=forge.key.public())
    assert {os.fsencode(it.name): it.read_bytes() for it in done.target.iterdir()} == {it: it for it in names}


@pytest.fixture
def cleaned(forge: Forge) -> Iterator[Path]:
    """The site's folder, which pytest could not remove with what is made there."""
    yield forge.site.root
    subprocess.run(["rm", "-rf", str(forge.site.root)], check=True)


def test_a_very_deep_path_comes_back_or_goes_without_a_trace(forge: Forge, cleaned: Path) -> None:
    deep = "/".join("d" * 1500)
    archive = tar_of(SOUL, entry(f"{deep}/leaf", b"far down"))
    forge.publish(archive)
    done = bring_back(forge.site, key=forge.key.public())
    here = os.open(done.target, os.O_RDONLY)
    for _ in range(1500):
        there = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    assert [it.name for it in os.scandir(here)] == ["leaf"]
    os.close(here)
    done.target.rename(cleaned / "deep")
    forge.publish(archive, number=2, files=3)
    refused(forge.site, CHECK, key=forge.key.public())
    forge.publish(tar_of(SOUL, entry(f"{'/'.join('d' * 3000)}/leaf", b"too far")), number=3)
    refused(forge.site, DAMAGED, key=forge.key.public())


def changed(members: tuple[Member, ...], **fields: object) -> tuple[Member, ...]:
    return (replace(members[0], **fields), *members[1:])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("members", "changes"),
    [
        (lambda it: it[:-1], {}),
        (lambda it: (*it, replace(it[0], name=b"more")), {}),
        (lambda it: changed(it, sha256="0" * 64), {}),
        (lambda it: changed(it, mode=0o777), {}),
        (lambda it: changed(it, size=9), {}),
        (lambda it: changed(it, uid=1), {}),
        (lambda it: changed(it, kind="dir"), {}),
        (lambda it: it, {"files": 3}),
        (lambda it: it, {"bytes": 1}),
    ],
)
def test_an_index_or_manifest_that_says_otherwise(
    members: Callable[[tuple[Member, ...]], tuple[Member, ...]], changes: dict[str, int], forge: Forge
) -> None:
    archive = tar_of(SOUL, entry("memories", b"tea"))
    honest = {"files": 2, "bytes": len(SOUL[1]) + 3}
    forge.publish(archive, members=members(members_of(archive)), **{**honest, **changes})
    refused(forge.site, CHECK, key=forge.key.public())


@pytest.mark.parametrize("line", [b"[1]", b"5", b"null", b'"text"', b"[" * 100_000 + b"]" * 100_000])
def test_an_index_of_other_json_is_damage(line: bytes, forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.pipeline.forge.to_lines", lambda _: [line + b"\n"])
    forge.publish(tar_of(SOUL))
    refused(forge.site, DAMAGED, key=forge.key.public(), match="index")


@pytest.mark.parametrize("line", [b"not JSON", b"{}", b"\xff", b'{"name":"a","kind":"file","size":"x"}', b"{"])
def test_an_index_that_cannot_be_read_is_damage(line: bytes, forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.pipeline.forge.to_lines", lambda _: [line + b"\n"])
    forge.publish(tar_of(SOUL))
    refused(forge.site, DAMAGED, key=forge.key.public(), match="index")


def test_a_delta_of_what_was_never_there_is_not_unpacked(forge: Forge) -> None:
    forge.publish(tar_of(SOUL), number=2, kind="delta", base="000001-20260302T033000Z")
    refused(forge.site, "HB-BASE-MISSING", key=forge.key.public(), match="which is not there")


def test_a_manifest_cannot_have_databases_looked_at_outside(forge: Forge, canary: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.db"
    fill(outside, 3)
    promised = {"page_size": 4096, "pages": 2, "tables": {"messages": 3}}
    archive = tar_of(SOUL, link_entry("link", str(tmp_path)), link_entry("state.db", str(outside)))
    for number, path in enumerate((str(outside), "../outside.db", "link/outside.db", "state.db"), 1):
        forge.publish(archive, number=number, databases=(Database(path=path, **promised),))  # type: ignore[arg-type]
        refused(forge.site, CHECK, key=forge.key.public(), match="missing")
