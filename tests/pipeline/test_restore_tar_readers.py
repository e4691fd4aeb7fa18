"""Streams that GNU tar reads in another way than they look: members that nobody admitted must not come of them."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_backup.errors import Fault
from hermes_backup.stages.examining import examine
from tests.pipeline.forge import Forge, bring_back, entry, folder_entry, link_entry, members_of, tar_of


def block(name: str, kind: bytes = b"0", size: int = 0, mode: int = 0o4755, link: str = "") -> bytearray:
    """A header that the standard library would not write; seal it afterwards."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = kind, mode, link
    made = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    made[124:136] = b"%011o\0" % size
    return made


def sealed(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def pax(*records: tuple[str, str], kind: bytes = b"x") -> bytes:
    made = b""
    for key, value in records:
        size = len(key) + len(value) + 5
        made += f"{size} {key}={value}\n".encode() if size > 9 else b""
    return sealed(block("PaxHeaders/x", kind, len(made))) + padded(made)


HIDDEN = sealed(block("hidden", size=5)) + padded(b"evil\n")
FIRST = sealed(block("a", size=2, mode=0o644)) + padded(b"hi")
END = bytes(1024)


def gnu_prefix() -> bytes:
    header = block("b", size=5)
    header[257:265] = b"ustar  \0"
    header[345:348] = b"pre"
    return sealed(header) + padded(b"evil\n")


def number(field: slice, text: bytes) -> bytes:
    header = block("b", size=len(HIDDEN))
    header[field] = text.ljust(field.stop - field.start, b"\0")
    return sealed(header) + HIDDEN


# each is read in one way by GNU tar 1.34 and could be read in another here: tar then makes what nobody admitted
TWO_FACED: dict[str, bytes] = {
    "members in the content of a hard link": sealed(block("b", b"1", len(HIDDEN), 0o644, "a")) + HIDDEN,
    "members in the content of a link": sealed(block("b", b"2", len(HIDDEN), 0o777, "a")) + HIDDEN,
    "members in the content of a folder": sealed(block("b", b"5", len(HIDDEN), 0o755)) + HIDDEN,
    "a hard link's content by pax": pax(("size", "0001024")) + sealed(block("b", b"1", 0, 0o644, "a")) + HIDDEN,
    "a global header": pax(("path", "elsewhere"), kind=b"g") + sealed(block("b", size=5)) + padded(b"evil\n"),
    "two headers for one member": pax(("path", "harmless")) + pax(("mtime", "10000")) + HIDDEN,
    "a prefix that is none": gnu_prefix(),
    "an old sparse size": pax(("GNU.sparse.size", "00000")) + sealed(block("b", size=len(HIDDEN))) + HIDDEN,
    "a sparse size alone": pax(("GNU.sparse.realsize", "00000")) + sealed(block("b", size=len(HIDDEN))) + HIDDEN,
    "a sparse file of unknown kind": pax(
        ("GNU.sparse.major", "00002"), ("GNU.sparse.minor", "00000"),
        ("GNU.sparse.name", "bbbbb"), ("GNU.sparse.realsize", "00001"),
    ) + sealed(block("b", size=512)) + padded(b"0\n"),
    "a negative size": pax(("size", "-00512")) + sealed(block("b")) + HIDDEN,
    "a size with an underscore": pax(("size", "10_24")) + sealed(block("b")) + HIDDEN,
    "a size that is no number": pax(("size", "many!")) + sealed(block("b")) + HIDDEN,
    "a size with a sign": number(slice(124, 136), b"+0000002000"),
    "a size in binary": number(slice(124, 136), b"\x80" + bytes(9) + b"\x04\x00"),
    "a size in another notation": number(slice(124, 136), b"0o2000"),
    "an owner that is no number": pax(("uid", "-00001")) + sealed(block("b")),
    "a time that is none": pax(("mtime", "nan00000")) + sealed(block("b")),
    "a record twice": pax(("path", "harmless"), ("path", "harmful!")) + sealed(block("b")),
    "a record without an end": sealed(block("x", b"x", 12)) + padded(b"99 path=evil\n"[:12]) + sealed(block("b")),
    "a record without a length": sealed(block("x", b"x", 10)) + padded(b" path=evi\n") + sealed(block("b")),
    "an empty name": pax(("path", "")) + sealed(block("", size=0)),
    "a name with a zero byte": pax(("path", "good\0evil")) + sealed(block("b")),
    "a link with a zero byte": pax(("linkpath", "good\0evil")) + sealed(block("b", b"2")),
    "a pax header without end": sealed(block("x", b"x", 1 << 32)) + padded(b"x" * 5000),
    "an old file header": sealed(block("b/", b"\0")),
    "a GNU long name": sealed(block("././@LongLink", b"L", 5)) + padded(b"evil\0") + sealed(block("b")),
    "a volume label": sealed(block("label", b"V")),
    "an incremental folder": sealed(block("d", b"D", 3)) + padded(b"Yx\0"),
    "members after the end": bytes(1024) + HIDDEN,
    "members after one block of zeros": bytes(512) + HIDDEN,
}  # fmt: skip


@pytest.mark.parametrize("case", TWO_FACED)
def test_what_tar_could_read_in_another_way_is_refused(case: str, forge: Forge, canary: Path) -> None:
    archive = FIRST + TWO_FACED[case] + END
    forge.publish(archive, members=members_of(FIRST + END))
    with pytest.raises(Fault) as caught:
        bring_back(forge.site, key=forge.key.public())
    assert caught.value.kind.name in ("HB-DATA-DAMAGED", "HB-RESTORE-REFUSED")
    assert not (forge.site.root / "back").exists()
    assert not list(forge.site.root.glob(".hermes-restore-*"))


def test_what_tar_makes_is_looked_at_on_the_disk(tmp_path: Path) -> None:
    """Should tar yet be led astray, its tree is not what was admitted."""
    members = members_of(tar_of(folder_entry("d"), entry("d/a", b"1"), link_entry("l", "d")))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("1")
    (tmp_path / "l").symlink_to("d")
    assert examine(tmp_path, members) == ()
    spoilers: dict[str, Callable[[Path], object]] = {
        "d/hidden": lambda it: it.write_text("x"), "hidden": lambda it: it.mkdir(), "d/a": lambda it: it.unlink(),
    }  # fmt: skip
    for turn, (name, spoil) in enumerate(spoilers.items()):
        tree = tmp_path.with_name(f"{tmp_path.name}-{turn}")
        shutil.copytree(tmp_path, tree, symlinks=True)
        spoil(tree / name)
        with pytest.raises(Fault, match=name) as caught:
            examine(tree, members)
        assert caught.value.kind.name == "HB-RESTORE-CHECK"
    (tmp_path / "l").unlink()
    (tmp_path / "l").mkdir()
    with pytest.raises(Fault, match="lists: l"):
        examine(tmp_path, members)
