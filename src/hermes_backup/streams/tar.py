"""A tar stream made by GNU tar from an exact list of names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.streams.coder import Chunks, read_chunks
from hermes_backup.streams.process import PIPE, Argument, spawn

CHANGED = 1  # GNU tar's exit status for "some files differ" (tar manual, "Return values")


@dataclass(frozen=True)
class NameList:
    """Names below a folder, for tar to read; ``path`` is a file of names that end in NUL."""

    folder: Path
    path: Path


def make(lists: Sequence[NameList], *, stage: str, ended: Callable[[int, str], None], holes: bool = True) -> Chunks:
    """Yield a tar stream of exactly the names listed; ``ended`` gets tar's exit status and words.

    Numeric owners, extended attributes, ACLs, holes and hard links are kept. A file that vanished or cannot be
    read is left out; whoever follows the stream sees that. Records have tar's usual size: a tar that extracts stops
    reading after the record with the end mark, and a pipe before it would die of more.
    Without ``holes`` a sparse file's holes come as zeros.
    """
    argv: list[Argument] = [
        "tar", "--create", "--format=posix", "--pax-option=delete=atime,delete=ctime", "--numeric-owner",
        "--xattrs", "--xattrs-include=*", "--acls", "--no-recursion", "--ignore-failed-read", "--quoting-style=escape",
        "--null", "--file=-",
    ]  # fmt: skip
    argv += ["--sparse"] if holes else []
    for it in lists:
        argv += ["--directory", it.folder, "--files-from", it.path]
    process = spawn(argv, stage=stage, stdout=PIPE)
    done = False
    try:
        yield from read_chunks(process.stdout)
        ended(process.wait(), process.errors())
        done = True
    finally:
        if not done:
            process.kill()


def changed_while_read(said: str) -> tuple[str, ...]:
    """Return the names that tar's messages (in the C locale) call changed or shrunk while they were read."""
    marks = (": file changed as we read it", ": File shrank by ")
    return tuple(
        line.removeprefix("tar: ").split(mark)[0] for line in said.splitlines() for mark in marks if mark in line
    )
