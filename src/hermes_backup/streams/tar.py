"""A tar stream of an exact list of names, written here because no tar program can be kept from following a folder.

GNU tar follows whatever its user can put in the place of a folder while it reads (1.34, seen): what it reads as root
need not be what was listed. Here every file is opened below a held folder, through no link, and looked at before its
bytes count. The format is what ``tar --format=posix --xattrs --acls --sparse --numeric-owner`` writes: ustar headers
(tar(5)), pax records (POSIX pax), and sparse files of version 1.0 (GNU tar manual, "PAX Format, Version 1.0").
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from hermes_backup.streams.coder import CHUNK, Chunks
from hermes_backup.streams.directory import Directory
from hermes_backup.streams.headers import BLOCK

_RECORD = 20 * BLOCK  # a tar that extracts stops reading after the record with the end mark, and a pipe would break
_OCTAL_7, _OCTAL_11 = 8**7, 8**11
_SHORTEST_PATH = 100
_ACLS = {"system.posix_acl_access": b"SCHILY.acl.access", "system.posix_acl_default": b"SCHILY.acl.default"}
_ACL_ENTRY = struct.Struct("<HHI")  # tag, permissions, id: linux/posix_acl_xattr.h
_ACL_HEADER = 4  # bytes
_ACL_TAGS = {0x01: b"user", 0x02: b"user", 0x04: b"group", 0x08: b"group", 0x10: b"mask", 0x20: b"other"}
_NAMED = (0x02, 0x08)


@dataclass(frozen=True)
class Source:
    """Names below a held folder, in the order in which they are archived.

    ``refuse`` says why what was opened under a name does not go in; empty where it does.
    """

    root: Directory
    names: Sequence[bytes]
    refuse: Callable[[bytes, os.stat_result], str] = lambda _name, _status: ""


def make(sources: Sequence[Source], tell: Callable[[bytes, str], None], *, holes: bool = True) -> Chunks:
    """Yield a tar stream of exactly the names listed.

    Numeric owners, extended attributes, ACLs, holes and hard links are kept. What vanished is left out. What could not
    be read, was refused or changed meanwhile is told by its name, with the reason. Without ``holes`` a sparse file's
    holes come as zeros.
    """
    writer = _Writer(tell, holes=holes)
    buffer = bytearray()
    size = 0
    for source in sources:
        for piece in writer.members(source):
            size += len(piece)
            if len(piece) >= CHUNK and not buffer:
                yield piece
                continue
            buffer += piece
            if len(buffer) >= CHUNK:
                yield bytes(buffer)
                buffer.clear()
    size += 2 * BLOCK
    buffer += bytes(2 * BLOCK + -size % _RECORD)
    yield bytes(buffer)


class _Writer:
    """Writes members, and remembers which files have several names."""

    def __init__(self, tell: Callable[[bytes, str], None], *, holes: bool) -> None:
        self._tell = tell
        self._holes = holes
        self._first: dict[tuple[int, int], bytes] = {}
        self._no_folders: set[bytes] = set()

    def members(self, source: Source) -> Iterator[bytes]:
        """Yield the members of a source, piece by piece; neighbours in one folder share its descriptor."""
        above: bytes | None = None
        with ExitStack() as held:
            folder = source.root
            for name in source.names:
                parent, _, last = name.rpartition(b"/")
                if self._is_below_none(parent):
                    continue
                try:
                    if parent != above:
                        held.close()
                        above = None
                        folder = held.enter_context(source.root.folder(parent))
                        above = parent
                    yield from self._member(source, folder, name, last)
                except FileNotFoundError:
                    self._no_folders.add(name)
                except OSError as error:
                    self._refuse(name, _why(error))

    def _is_below_none(self, parent: bytes) -> bool:
        """Say whether something above is no folder in the archive: what lies below could not be extracted."""
        while parent:
            if parent in self._no_folders:
                return True
            parent = parent.rpartition(b"/")[0]
        return False

    def _refuse(self, name: bytes, why: str) -> None:
        self._no_folders.add(name)
        self._tell(name, why)

    def _member(self, source: Source, folder: Directory, name: bytes, last: bytes) -> Iterator[bytes]:
        status = os.stat(last, dir_fd=folder.descriptor, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            yield from self._file(source, folder, name, last)
            return
        if why := source.refuse(name, status):
            self._refuse(name, why)
        elif stat.S_ISLNK(status.st_mode):
            leads_to = os.readlink(last, dir_fd=folder.descriptor)
            self._no_folders.add(name)
            path = os.fsencode(folder.path) + b"/" + last
            yield _header(name, b"2", status, link=leads_to, records=_attributes(path))
        elif stat.S_ISDIR(status.st_mode):
            records: Mapping[bytes, bytes] = {}
            with suppress(OSError), folder.folder(last) as itself:  # one that may not be opened has a name all the same
                records = _with_access(_attributes(itself.descriptor), status.st_mode)
            yield _header(name + b"/", b"5", status, records=records)

    def _file(self, source: Source, folder: Directory, name: bytes, last: bytes) -> Iterator[bytes]:
        descriptor = folder.open(last)
        try:
            status = os.fstat(descriptor)
            why = source.refuse(name, status) if stat.S_ISREG(status.st_mode) else "it is no file any more"
            if why:
                self._refuse(name, why)
                return
            first = self._first.setdefault((status.st_dev, status.st_ino), name) if status.st_nlink > 1 else name
            records = _attributes(descriptor)
            if first != name:
                yield _header(name, b"1", status, link=first)
                return
            yield from self._content(name, descriptor, status, records)
        finally:
            os.close(descriptor)

    def _content(
        self, name: bytes, descriptor: int, status: os.stat_result, records: Mapping[bytes, bytes]
    ) -> Iterator[bytes]:
        size = status.st_size
        segments = [(0, size)]
        if self._holes and status.st_blocks * 512 < size:
            segments = _segments(descriptor, size)
        written = sum(length for _, length in segments)
        if written == size:
            yield _header(name, b"0", status, size=size, records=records)
        else:
            head = _map([*segments, (size, 0)] if not segments or sum(segments[-1]) < size else segments)
            yield _sparse_header(name, status, size, len(head) + written, records)
            yield head
            written += len(head)
        why = ""
        for start, length in segments:
            why = (yield from _read(descriptor, start, length)) or why
        yield bytes(-written % BLOCK)
        now = os.fstat(descriptor)
        if not why and (now.st_ctime_ns, now.st_size) != (status.st_ctime_ns, size):
            why = "changed while it was read"
        if why:
            self._tell(name, why)


def _read(descriptor: int, start: int, length: int) -> Generator[bytes, None, str]:
    """Yield so many bytes of a file, zeros for what it does not give any more; return why that was."""
    left = length
    os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_SEQUENTIAL)
    while left:
        try:
            piece = os.pread(descriptor, min(CHUNK, left), start + length - left)
        except OSError as error:
            piece, why = b"", _why(error)
        else:
            why = "changed while it was read"
        if not piece:
            while left:
                yield bytes(min(CHUNK, left))
                left -= min(CHUNK, left)
            return why
        left -= len(piece)
        yield piece
    return ""


def _segments(descriptor: int, size: int) -> list[tuple[int, int]]:
    """Return where a file has data, as offset and length (lseek(2), SEEK_DATA)."""
    found = []
    at = 0
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:  # ENXIO: a hole to the end
            break
        at = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        if start < at:
            found.append((start, at - start))
    return found


def _map(segments: Sequence[tuple[int, int]]) -> bytes:
    lines = [len(segments), *(it for segment in segments for it in segment)]
    text = b"".join(b"%d\n" % it for it in lines)
    return text + bytes(-len(text) % BLOCK)


def _sparse_header(
    name: bytes, status: os.stat_result, real: int, stored: int, records: Mapping[bytes, bytes]
) -> bytes:
    own = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": name,
        b"GNU.sparse.realsize": b"%d" % real,
    }
    return _header(b"GNUSparseFile.0", b"0", status, size=stored, records={**own, **records})


def _header(
    name: bytes,
    kind: bytes,
    status: os.stat_result,
    *,
    size: int = 0,
    link: bytes = b"",
    records: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """Write a member's header, with a pax header before it for what it cannot hold."""
    seconds, part = divmod(status.st_mtime_ns, 10**9)
    pax: dict[bytes, bytes] = {}
    if len(name) > _SHORTEST_PATH or not name.isascii():
        pax[b"path"] = name
    if len(link) > _SHORTEST_PATH or not link.isascii():
        pax[b"linkpath"] = link
    if part or not 0 <= seconds < _OCTAL_11:
        pax[b"mtime"] = _decimal_time(status.st_mtime_ns)
    numbers = ((b"uid", status.st_uid, _OCTAL_7), (b"gid", status.st_gid, _OCTAL_7), (b"size", size, _OCTAL_11))
    pax |= {key: b"%d" % value for key, value, limit in numbers if value >= limit}
    pax |= records or {}
    block = _block(name, kind, status, size, link)
    if not pax:
        return block
    data = b"".join(_record(key, value) for key, value in pax.items())
    last = name.rstrip(b"/").rpartition(b"/")[2]
    return _block(b"PaxHeaders/" + last, b"x", status, len(data), b"") + data + bytes(-len(data) % BLOCK) + block


def _block(name: bytes, kind: bytes, status: os.stat_result, size: int, link: bytes) -> bytes:
    seconds = status.st_mtime_ns // 10**9
    fields = (
        name[:_SHORTEST_PATH].ljust(100, b"\0"),
        b"%07o\0" % stat.S_IMODE(status.st_mode),
        b"%07o\0" % (status.st_uid if status.st_uid < _OCTAL_7 else 0),
        b"%07o\0" % (status.st_gid if status.st_gid < _OCTAL_7 else 0),
        b"%011o\0" % (size if size < _OCTAL_11 else 0),
        b"%011o\0" % (seconds if 0 <= seconds < _OCTAL_11 else 0),
        b" " * 8,
        kind,
        link[:_SHORTEST_PATH].ljust(100, b"\0"),
        b"ustar\x0000",
    )
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _record(key: bytes, value: bytes) -> bytes:
    """Write a pax record: its length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _decimal_time(nanoseconds: int) -> bytes:
    sign = b"-" if nanoseconds < 0 else b""
    seconds, part = divmod(abs(nanoseconds), 10**9)
    return b"%s%d.%09d" % (sign, seconds, part) if part else b"%s%d" % (sign, seconds)


def _attributes(of: int | bytes) -> dict[bytes, bytes]:
    """Return extended attributes and ACLs of a descriptor, or of a link by its path, as pax records."""
    records: dict[bytes, bytes] = {}
    follow = isinstance(of, int)
    with suppress(OSError):  # the file system knows none
        for name in os.listxattr(of, follow_symlinks=follow):
            with suppress(OSError):
                value = os.getxattr(of, name, follow_symlinks=follow)
                key = os.fsencode(name).replace(b"%", b"%25").replace(b"=", b"%3D")  # as GNU tar reads it
                records[b"SCHILY.xattr." + key] = value
                if name in _ACLS:  # as text too, for a tar that is told of ACLs alone
                    records[_ACLS[name]] = _acl(value)
    return records


def _with_access(records: dict[bytes, bytes], mode: int) -> dict[bytes, bytes]:
    """Give a folder that has only a default ACL the other one, too: GNU tar would extract the default in its place."""
    if b"SCHILY.acl.default" in records and b"SCHILY.acl.access" not in records:
        entries = ((0x01, mode >> 6 & 7), (0x04, mode >> 3 & 7), (0x20, mode & 7))
        value = b"\2\0\0\0" + b"".join(_ACL_ENTRY.pack(tag, bits, 0xFFFFFFFF) for tag, bits in entries)
        records[b"SCHILY.acl.access"] = _acl(value)
    return records


def _acl(value: bytes) -> bytes:
    """Write an ACL as GNU tar does with --numeric-owner: a line an entry (acl(5), "long text form")."""
    lines = []
    for tag, permissions, number in _ACL_ENTRY.iter_unpack(value[_ACL_HEADER:]):
        letters = b"".join(letter if permissions & bit else b"-" for letter, bit in ((b"r", 4), (b"w", 2), (b"x", 1)))
        who = b"%d" % number if tag in _NAMED else b""
        lines.append(b"%s:%s:%s\n" % (_ACL_TAGS[tag], who, letters))
    return b"".join(lines)


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
