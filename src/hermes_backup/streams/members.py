"""The members of a tar stream, noted as its bytes pass, with a hash of every file.

The formats are those that GNU tar's ``--format=posix`` writes: ustar headers (tar(5)), pax records (POSIX pax),
and sparse files of version 1.0 (GNU tar manual, "PAX Format, Version 1.0"). The standard library's tarfile
reads a stream at 200 MB/s and this at 1.3 GB/s (measured, 438 MB), which is why it is written out here.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from hermes_backup.errors import DATA_DAMAGED, Fault
from hermes_backup.streams.headers import (
    BLOCK,
    LONGEST_PAX,
    MAGIC,
    PAX,
    Member,
    MemberKind,
    Records,
    decimal,
    is_sparse,
    member_of,
    octal,
)

_ZEROS = bytes(1 << 20)


class _Body(Protocol):
    """Takes the bytes of one member; ``finish`` gives what came of them."""

    def take(self, data: memoryview) -> None: ...
    def finish(self) -> None: ...


class Follower:
    """Notes the members of a tar stream; feed it every byte in order, then close it.

    ``admit`` sees every member, and how many bytes of holes it has, when its header is complete, before :meth:`feed`
    returns; it may raise to refuse it.

    Attributes:
        size: the bytes that were read.
        end: of those, the bytes up to where the last member ended that is complete; an end mark may follow there.
    """

    def __init__(self, admit: Callable[[Member, int], None] | None = None) -> None:
        self._admit = admit
        self._members: list[Member] = []
        self._records: dict[bytes, bytes] = {}
        self._header = bytearray()
        self._body: _Body | None = None
        self._left = 0
        self._padding = 0
        self._zero_blocks = 0
        self._complete = 0
        self.size = 0
        self.end = 0

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes.

        Raises:
            Fault: DATA_DAMAGED when they are no tar stream; whatever ``admit`` raises.
        """
        view = memoryview(chunk)
        before = self.size
        self.size += len(view)
        at = 0
        while at < len(view):
            if self._left:
                step = min(self._left, len(view) - at)
                if self._body is not None:
                    self._body.take(view[at : at + step])
                self._left -= step
                if not self._left:
                    self._end_body()
            elif self._padding:
                step = min(self._padding, len(view) - at)
                self._padding -= step
            else:
                step = min(BLOCK - len(self._header), len(view) - at)
                self._header += view[at : at + step]
                if len(self._header) == BLOCK:
                    block = bytes(self._header)
                    self._header.clear()
                    self._read_header(block)
            at += step
            if not (self._left or self._padding or self._header or self._records):
                self._complete, self.end = len(self._members), before + at

    def complete(self, since: int = 0) -> tuple[Member, ...]:
        """Return the members up to :attr:`end`, without the first ``since``."""
        return tuple(self._members[since : self._complete])

    def close(self) -> tuple[Member, ...]:
        """End the stream and return its members.

        Raises:
            Fault: DATA_DAMAGED when the stream was cut.
        """
        if self._left or self._padding or self._header or self._zero_blocks < 2:  # noqa: PLR2004 - tar's end mark
            raise Fault(DATA_DAMAGED, "the tar stream ends before its end mark")
        return tuple(self._members)

    def _read_header(self, block: bytes) -> None:
        if not any(block):
            self._zero_blocks += 1
            return
        if self._zero_blocks:
            raise Fault(DATA_DAMAGED, "bytes follow the end of the tar stream")
        if octal(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * ord(" "):
            raise Fault(DATA_DAMAGED, "a header of the tar stream is damaged")
        if block[257:265] != MAGIC:
            raise Fault(DATA_DAMAGED, "a header of the tar stream is not of the POSIX format")
        size = octal(block[124:136])
        if block[156:157] == PAX:
            if self._records or size > LONGEST_PAX:
                raise Fault(DATA_DAMAGED, "the tar stream holds a pax header that tar does not write")
            self._begin_body(Records(self._records), size)
            return
        size = decimal(self._records[b"size"]) if b"size" in self._records else size
        member = member_of(block, size, self._records)
        sparse = is_sparse(self._records)
        self._records = {}
        if self._admit is not None:
            self._admit(member, max(0, member.size - size))
        if size and member.kind != "file":
            raise Fault(DATA_DAMAGED, f"{member.name[:200]!r} has content, and is no file")
        content = _Content(member, self._members) if member.kind == "file" else None
        if content is None:
            self._members.append(member)
        else:
            self._begin_body(_Sparse(content) if sparse else content, size)

    def _begin_body(self, body: _Body | None, size: int) -> None:
        self._body = body
        self._left = size
        self._padding = -size % BLOCK
        if not size:
            self._end_body()

    def _end_body(self) -> None:
        if self._body is not None:
            self._body.finish()
            self._body = None


class _Content:
    """Hashes a file's bytes and notes the member when they are complete."""

    def __init__(self, member: Member, into: list[Member]) -> None:
        self.member = member
        self._into = into
        self._hash = hashlib.sha256()

    def take(self, data: memoryview) -> None:
        self._hash.update(data)

    def finish(self) -> None:
        self._into.append(replace(self.member, sha256=self._hash.hexdigest()))


class _Sparse:
    """Puts the holes back into a sparse file's bytes; its map comes first, in decimal lines, padded to a block."""

    def __init__(self, content: _Content) -> None:
        self._content = content
        self._map = bytearray()
        self._lines = 0
        self._segments: deque[tuple[int, int]] | None = None
        self._at = 0

    def take(self, data: memoryview) -> None:
        if self._segments is None:
            data = self._read_map(data)
        while self._segments and len(data):
            start, end = self._segments[0]
            self._hole(start)
            step = min(len(data), end - self._at)
            self._content.take(data[:step])
            self._at += step
            data = data[step:]
            if self._at == end:
                self._segments.popleft()

    def finish(self) -> None:
        if self._segments is None or self._segments:
            raise Fault(DATA_DAMAGED, "a sparse file of the tar stream ends before its last segment")
        self._hole(self._content.member.size)
        self._content.finish()

    def _read_map(self, data: memoryview) -> memoryview:
        while self._segments is None and len(data):
            step = min(BLOCK - len(self._map) % BLOCK, len(data))
            self._map += data[:step]
            data = data[step:]
            if len(self._map) % BLOCK == 0:
                self._lines += self._map.count(b"\n", len(self._map) - BLOCK)
                self._end_block()
        return data

    def _end_block(self) -> None:
        first = self._map[: self._map.find(b"\n", 0, BLOCK)]
        last = 2 * decimal(first)
        if self._lines <= last:
            return
        values = [decimal(it) for it in self._map.split(b"\n")[1 : last + 1]]
        segments = [(start, start + length) for start, length in zip(values[::2], values[1::2], strict=True)]
        bounds = [0, *(it for segment in segments for it in segment), self._content.member.size]
        if bounds != sorted(bounds):
            raise Fault(DATA_DAMAGED, "the map of a sparse file in the tar stream is not in order")
        self._segments = deque(it for it in segments if it[0] < it[1])

    def _hole(self, until: int) -> None:
        while self._at < until:
            step = min(until - self._at, len(_ZEROS))
            self._content.take(memoryview(_ZEROS)[:step])
            self._at += step


__all__ = ["BLOCK", "Follower", "Member", "MemberKind"]
