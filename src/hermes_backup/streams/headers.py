"""Headers of a tar stream: the numbers, names and pax records that say what a member is.

What GNU tar would not write is refused even where tar would read it: whoever made a stream must not get tar to see
members that are not seen here, such as those hidden in the "content" of a link (tar 1.34 extracts them).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hermes_backup.errors import DATA_DAMAGED, Fault

MemberKind = Literal["file", "dir", "link", "hardlink", "other"]
BLOCK = 512
_KINDS: Mapping[bytes, MemberKind] = {b"0": "file", b"1": "hardlink", b"2": "link", b"5": "dir"}
MAGIC = b"ustar\x0000"
PAX = b"x"
LONGEST_PAX = 16 << 20  # extended attributes and ACLs are 64 KiB each (xattr(7))
_SPARSE = {b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.name", b"GNU.sparse.realsize"}
_ATTRIBUTES = (b"SCHILY.xattr.", b"SCHILY.acl.", b"RHT.security.selinux")  # as GNU tar names them
_NUMBER = re.compile(rb"[0-9]{1,20}")
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_TIME = re.compile(rb"-?[0-9]{1,20}(?:\.[0-9]{1,40})?")


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a tar stream.

    ``sha256`` is of a file's content, holes included; ``link`` is a link's target; ``attributes`` is a SHA-256 of
    extended attributes and ACLs, None where there are none.
    """

    name: bytes
    kind: MemberKind
    size: int
    mode: int
    uid: int
    gid: int
    mtime: float
    link: bytes | None = None
    sha256: str | None = None
    attributes: str | None = None


class Records:
    """Collects pax records, ``LENGTH KEY=VALUE`` and a newline each, of one header."""

    def __init__(self, into: dict[bytes, bytes]) -> None:
        self._into = into
        self._data = bytearray()

    def take(self, data: memoryview) -> None:
        """Take the next bytes."""
        self._data += data

    def finish(self) -> None:
        """Read them.

        Raises:
            Fault: DATA_DAMAGED.
        """
        data = bytes(self._data)
        at = 0
        while at < len(data):
            blank = data.find(b" ", at)
            end = at + decimal(data[at:blank])
            key, equals, value = data[blank + 1 : end].partition(b"=")
            if end > len(data) or not key or not equals or not value.endswith(b"\n") or key in self._into:
                raise Fault(DATA_DAMAGED, "a pax header of the tar stream is damaged")
            self._into[key] = value[:-1]
            at = end


def is_sparse(records: Mapping[bytes, bytes]) -> bool:
    """Tell whether the records are those of a sparse file of version 1.0.

    Raises:
        Fault: DATA_DAMAGED for other records of GNU's own: tar reads more from them than is read here.
    """
    own = {key for key in records if key.startswith(b"GNU.")}
    if own and (own != _SPARSE or (records[b"GNU.sparse.major"], records[b"GNU.sparse.minor"]) != (b"1", b"0")):
        raise Fault(DATA_DAMAGED, "the tar stream holds a pax header that tar does not write")
    return bool(own)


def member_of(block: bytes, size: int, records: Mapping[bytes, bytes]) -> Member:
    """Return what a header and the pax records before it describe; ``size`` is that of the content in the stream.

    Raises:
        Fault: DATA_DAMAGED.
    """
    name = records.get(b"path", _path(block))
    name = records.get(b"GNU.sparse.name", name)
    kind = _KINDS.get(block[156:157], "other")
    is_link = kind in ("link", "hardlink")
    return Member(
        name=name.rstrip(b"/") if kind == "dir" else name,
        kind=kind,
        size=decimal(records.get(b"GNU.sparse.realsize", b"%d" % size)) if kind == "file" else 0,
        mode=octal(block[100:108]),
        uid=decimal(records[b"uid"]) if b"uid" in records else octal(block[108:116]),
        gid=decimal(records[b"gid"]) if b"gid" in records else octal(block[116:124]),
        mtime=_seconds(records[b"mtime"]) if b"mtime" in records else float(octal(block[136:148])),
        link=records.get(b"linkpath", _text(block[157:257])) if is_link else None,
        attributes=_attributes(records),
    )


def _attributes(records: Mapping[bytes, bytes]) -> str | None:
    found = sorted(it for it in records.items() if it[0].startswith(_ATTRIBUTES))
    return hashlib.sha256(repr(found).encode()).hexdigest() if found else None


def _path(block: bytes) -> bytes:
    prefix = _text(block[345:500])
    return prefix + b"/" + _text(block[:100]) if prefix else _text(block[:100])


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def octal(field: bytes) -> int:
    """Read a number of a header.

    Raises:
        Fault: DATA_DAMAGED.
    """
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise _no_number()
    return int(match[1] or b"0", 8)


def decimal(field: bytes | bytearray) -> int:
    """Read a number of a pax record.

    Raises:
        Fault: DATA_DAMAGED.
    """
    if _NUMBER.fullmatch(field) is None:
        raise _no_number()
    return int(field)


def _seconds(field: bytes) -> float:
    if _TIME.fullmatch(field) is None:
        raise _no_number()
    return float(field)


def _no_number() -> Fault:
    return Fault(DATA_DAMAGED, "a header of the tar stream holds no number where one belongs")
