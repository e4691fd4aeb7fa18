"""The list of files that lies beside a snapshot: one JSON object a line, sorted by name, always compressed.

After the files may stand how search indexes are made again, which :mod:`hermes_backup.snapshots.remaking` reads.
It is encrypted like the data, because names tell what the agent knows. A name that is not text is written with
Python's surrogate escapes, which JSON carries unchanged.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import get_args

from hermes_backup.errors import DATA_DAMAGED, INDEX_TOO_LARGE, Fault
from hermes_backup.snapshots.manifest import Part
from hermes_backup.snapshots.remaking import MARK
from hermes_backup.streams.headers import MemberKind
from hermes_backup.streams.members import Member

LARGEST = 256 << 20
"""Bytes of a list, plain or as it lies: a million files and more. Read, it takes three times as much memory."""
_LONGEST_NAME = 4096  # bytes; PATH_MAX, limits.h: no home holds a longer one
_REFERENCE, _MEMBER = 8, 300  # bytes of memory for a place in a list, and for a member
_KINDS = frozenset(get_args(MemberKind))
_decode = json.JSONDecoder().decode  # json.loads would guess the encoding of each line, which is an eighth of the time
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def to_lines(members: Iterable[Member]) -> Iterator[bytes]:
    """Write members, a line each."""
    for member in members:
        row = {
            "name": os.fsdecode(member.name),
            "kind": member.kind,
            "size": member.size,
            "mode": f"{member.mode:04o}",
            "uid": member.uid,
            "gid": member.gid,
            "mtime": member.mtime,
        }
        if member.link is not None:
            row["link"] = os.fsdecode(member.link)
        if member.sha256 is not None:
            row["sha256"] = member.sha256
        if member.attributes is not None:
            row["attributes"] = member.attributes
        yield json.dumps(row, separators=(",", ":")).encode() + b"\n"


class Lines(dict[bytes, Member]):
    """Lines that were read, with what they say: lists of one home differ in few, and none is read twice.

    All lists together have ``room`` bytes: a host that was broken into can write many, and each of few bytes.
    """

    def __init__(self, room: int = 2 * LARGEST) -> None:
        super().__init__()
        self._room = room
        self._named: dict[tuple[bytes, Member], Member] = {}

    def __missing__(self, line: bytes) -> Member:
        """Read a line that is not known yet.

        Raises:
            Fault: INDEX_TOO_LARGE.
        """
        self.spend(len(line))
        member = self[line] = _member(_decode(line.decode()))
        return member

    def named(self, name: bytes, target: Member) -> Member:
        """Return a file under another name of its.

        Raises:
            Fault: INDEX_TOO_LARGE.
        """
        known = self._named.get((name, target))
        if known is None:
            self.spend(_MEMBER + len(name))
            known = self._named[name, target] = replace(target, name=name)
        return known

    def spend(self, size: int) -> None:
        """Take so much of the room.

        Raises:
            Fault: INDEX_TOO_LARGE.
        """
        self._room -= size
        if self._room < 0:
            raise Fault(INDEX_TOO_LARGE, "the lists of files are too many, or too different, to be looked at together")


def require_bounded(part: Part) -> None:
    """Refuse a list that is larger than any that is written, before a byte of it is fetched: its host says how large.

    Raises:
        Fault: INDEX_TOO_LARGE.
    """
    size = max(part.size, part.plain_size)
    if size > LARGEST:
        raise Fault(INDEX_TOO_LARGE, f"{part.name} has {size} bytes, at most {LARGEST} are read")


def from_bytes(data: bytes, known: Lines | None = None) -> tuple[Member, ...]:
    """Read what :func:`to_lines` wrote; ``known`` is asked first for each line.

    Raises:
        Fault: DATA_DAMAGED, INDEX_TOO_LARGE.
    """
    try:
        lines = [it for it in data.splitlines() if not it.startswith(MARK)]
        if known is None:
            return tuple(_member(_decode(line.decode())) for line in lines)
        known.spend(_REFERENCE * len(lines))
        return tuple(map(known.__getitem__, lines))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Fault(DATA_DAMAGED, f"the index cannot be read: {error}") from None


def _member(row: dict[str, object]) -> Member:
    link = row.get("link")
    digest, attributes = row.get("sha256"), row.get("attributes")
    hashes = [str(it) for it in (digest, attributes) if it is not None]
    if row["kind"] not in _KINDS or not all(map(_SHA256.fullmatch, hashes)):
        raise ValueError("a line of it is none that this program writes")
    name, target = os.fsencode(str(row["name"])), None if link is None else os.fsencode(str(link))
    if max(len(name), len(target or b"")) > _LONGEST_NAME or b"\0" in name:
        raise ValueError("a name that no file has")
    return Member(
        name=name,
        kind=row["kind"],  # type: ignore[arg-type]  # looked at above
        size=_number(row["size"]),
        mode=int(str(row["mode"]), 8),
        uid=int(str(row["uid"])),
        gid=int(str(row["gid"])),
        mtime=float(str(row["mtime"])),
        link=target,
        sha256=None if digest is None else str(digest),
        attributes=None if attributes is None else str(attributes),
    )


def _number(value: object) -> int:
    """Read a size: no file system holds more than 2**63 bytes of a file."""
    number = int(str(value))
    if not 0 <= number < 1 << 63:
        raise ValueError("a size that no file has")
    return number
