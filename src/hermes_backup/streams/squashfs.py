"""A squashfs image made of a tar stream, and taken apart again, by squashfs-tools 4.5 and later.

mksquashfs reads the stream, and not sqfstar, which takes no level of compression in 4.5.1. It finds holes by itself,
and takes some sparse files of tar for a cut stream (60 MB). It writes here and there in the image, so that is a file
until it is whole: private, and unlinked as soon as it is read. Of a stream that is cut it leaves no image, and ends
with 1. All of this was seen.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hermes_backup.errors import DATA_DAMAGED, DISK_FULL, STAGE_FAILED, Fault
from hermes_backup.streams.coder import Chunks, read_chunks
from hermes_backup.streams.directory import Directory
from hermes_backup.streams.process import PIPE, Argument, Process, clean_environment, find, spawn

Algorithm = Literal["zstd", "lz4", "gzip", "xz", "none"]
SUFFIX = ".sqsh"
_MEMORY = "256M"  # of its buffers: it takes 129 MB in all then; with 64M 42 MB, and 1.6 times as long (measured, 1 GB)
_PLAIN = ("-comp", "gzip", "-noI", "-noId", "-noD", "-noF", "-noX")
_LEVELLED = ("zstd", "gzip")
_SUPERBLOCK = struct.Struct("<4sI")  # magic, number of inodes: linux/fs/squashfs/squashfs_fs.h
_MAGIC = b"hsqs"
_NO_ACL = "SCHILY.acl"
_LATEST = (1 << 32) - 1  # seconds since 1970


@dataclass(frozen=True)
class Root:
    """The topmost folder, of which a tar stream of names does not tell; ``newest`` is its time, in seconds.

    No entry may be newer: mksquashfs reads a stream without heeding ``-root-time``, and then the root has the time of
    now (4.5.1, seen). What SOURCE_DATE_EPOCH says bounds all times, that one, too.
    """

    mode: int
    uid: int
    gid: int
    newest: int

    @classmethod
    def of(cls, folder: Directory, newest: int) -> Root:
        """Read it off a folder."""
        status = folder.status()
        return cls(stat.S_IMODE(status.st_mode) & 0o777, status.st_uid, status.st_gid, newest)


class Squash:
    """Turns a tar stream into an image; the same stream gives the same bytes.

    Attributes:
        workers: threads; 0 is one for each core.
        folder: a private folder for the image.
        warn: hears what squashfs does not keep.
    """

    def __init__(
        self, algorithm: Algorithm, level: int, workers: int, folder: Path, root: Root, warn: Callable[[str], None]
    ) -> None:
        self.algorithm = algorithm
        self._warn = warn
        self._level = level
        self._workers = workers
        self._image = folder / f"image{SUFFIX}"
        self._root = root
        self._size = 0

    @property
    def suffix(self) -> str:
        """``.sqsh``: an image compresses within itself."""
        return SUFFIX

    def plain_size(self, archive: int) -> int:
        """Return the size of the image, whatever that of the ``archive`` was."""
        del archive
        return self._size

    def code(self, chunks: Chunks) -> Chunks:
        """Make the image, then read it.

        Raises:
            Fault: TOOL_MISSING, STAGE_FAILED, DISK_FULL.
        """
        try:
            self._make(chunks)
            with self._image.open("rb") as file:
                self._image.unlink()
                self._size = os.fstat(file.fileno()).st_size
                yield from read_chunks(file)
        finally:
            chunks.close()
            self._image.unlink(missing_ok=True)

    def _make(self, chunks: Chunks) -> None:
        epoch = str(min(max(self._root.newest, 0), _LATEST))
        process = spawn(
            self._command(), stage="archive", stdin=PIPE, env={**clean_environment(), "SOURCE_DATE_EPOCH": epoch}
        )
        try:
            with suppress(BrokenPipeError):  # it ended early: its exit status tells why
                for chunk in chunks:
                    process.stdin.write(chunk)
                process.stdin.close()
            code = process.wait()
        finally:
            process.kill()
        if code != 0:
            raise _failed(process, code, "mksquashfs", self._image)
        if _NO_ACL in process.errors():
            self._warn("squashfs keeps no ACLs, and some files have them")

    def _command(self) -> Sequence[Argument]:
        own = ("-root-mode", f"{self._root.mode:o}", "-root-uid", str(self._root.uid), "-root-gid", str(self._root.gid))
        workers = ("-processors", str(self._workers or len(os.sched_getaffinity(0))))
        how = _PLAIN if self.algorithm == "none" else ("-comp", self.algorithm)
        level = ("-Xcompression-level", str(self._level)) if self.algorithm in _LEVELLED else ()
        return (
            *("mksquashfs", "-", self._image, "-tar", "-noappend", "-exit-on-error", "-quiet", "-no-progress"),
            *(*how, *level, *own, *workers, "-mem", _MEMORY),
        )


def inodes_of(image: Path) -> int:
    """Return how many inodes an image says it has.

    Raises:
        Fault: DATA_DAMAGED for what is no image.
    """
    with image.open("rb") as file:
        head = file.read(_SUPERBLOCK.size)
    magic, inodes = _SUPERBLOCK.unpack(head.ljust(_SUPERBLOCK.size, b"\0"))
    if magic != _MAGIC:
        raise Fault(DATA_DAMAGED, "the data is no squashfs image")
    return int(inodes)


def unsquash(image: Path, root: Path, largest: int) -> None:
    """Unpack an image into a folder that is not there yet; no file may be larger than ``largest`` bytes.

    Of extended attributes only the user's come out: security.capability would be setuid by another name.

    Raises:
        Fault: TOOL_MISSING, DISK_FULL, DATA_DAMAGED.
    """
    limit = ("prlimit", f"--fsize={largest}", "--")
    quiet = ("-quiet", "-no-progress", "-strict-errors", "-user-xattrs")
    argv = (*limit, find("unsquashfs", "extract"), *quiet, "-dest", root, image)
    process = spawn(argv, stage="extract")
    try:
        code = process.wait()
    finally:
        process.kill()
    if code != 0:
        raise _failed(process, code, "unsquashfs", root)


def _failed(process: Process, code: int, program: str, where: Path) -> Fault:
    said = process.errors()
    lines = [it for it in said.splitlines() if it.strip() and "Unrecognised" not in it]
    kind = DISK_FULL if "No space left" in said else STAGE_FAILED if program == "mksquashfs" else DATA_DAMAGED
    return Fault(kind, f"{program} ended with {code}: {lines[0] if lines else 'it says nothing'}", where=str(where))
