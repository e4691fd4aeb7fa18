"""Where snapshots lie: what a folder on this machine and a remote have in common.

Paths inside a place are text such as ``<host>/<pipeline>/<file>``, whatever the place is made of.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from hermes_backup.errors import Fault

CHUNK = 1024 * 1024
UNPROVEN = "not verifiable with these credentials"
_TEMPORARY_SUFFIX = ".hermes-backup-part"
_TEMPORARY = re.compile(r"\.[A-Za-z0-9][A-Za-z0-9_.+=@-]{0,199}\.[0-9a-f]{12}\.hermes-backup-part", re.ASCII)
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+=@-]{0,199}", re.ASCII)


@dataclass(frozen=True)
class StoredFile:
    """A file in a place; ``size`` in bytes."""

    name: str
    size: int


class Sink(Protocol):
    """A file on its way into a place: nothing lies under its final name before ``commit``.

    Make it in the main thread; ``write`` may be called from another. Use it as a context manager: leaving it
    without ``commit`` aborts.
    """

    def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            Fault: DISK_FULL, PUSH_FAILED; the sink is of no use afterwards but for ``abort``.
        """

    def stop(self) -> None:
        """Make a ``write`` that waits in another thread end soon; only ``abort`` may follow."""

    def commit(self) -> str:
        """Publish the file; return how far that is proven, such as ``verified by size and sha256``.

        Raises:
            Fault: DISK_FULL, PUSH_FAILED; nothing is left under the final name as far as we may delete it.
        """

    def abort(self) -> None:
        """Give up: leave nothing behind; never raises, and does nothing after ``commit``."""

    def __enter__(self) -> Sink: ...

    def __exit__(self, *exc: object) -> None: ...


class Place(Protocol):
    """A place that holds snapshots. ``label`` names it in messages, without secrets."""

    @property
    def label(self) -> str:
        """What the place is called in messages."""

    def list(self, folder: str) -> tuple[StoredFile, ...]:
        """Return the files of a folder, sorted by name; none when there is no such folder.

        Raises:
            Fault: REMOTE_UNREACHABLE, STAGE_FAILED.
        """

    def read(self, path: str) -> Iterator[bytes]:
        """Return the bytes of a file, in chunks up to a MiB; take all of them in one thread, or close it.

        Raises:
            Fault: SNAPSHOT_MISSING, SNAPSHOT_UNREADABLE, REMOTE_UNREACHABLE; also at the end, when the file did not
                come whole.
        """

    def sink(self, path: str) -> Sink:
        """Open a new file for writing.

        Raises:
            Fault: REMOTE_UNREACHABLE, DISK_FULL, PUSH_FAILED.
        """

    def put(self, path: str, data: bytes, *, replace: bool = False) -> str:
        """Write a small file whole; return how far that is proven. Only ``replace`` overwrites (RESTORE.txt).

        Raises:
            Fault: as ``sink`` and ``Sink.commit``.
        """

    def delete(self, path: str) -> None:
        """Remove a file; a file that is not there is removed already.

        Raises:
            Fault: REMOTE_UNREACHABLE, STAGE_FAILED.
        """

    def move(self, path: str, target: str) -> None:
        """Give a file another path in the same place; what lies there already is not overwritten.

        Raises:
            Fault: REMOTE_UNREACHABLE, REMOTE_REFUSED, STAGE_FAILED.
        """

    def fetch_many(self, folder: str, names: Sequence[str], target: Path) -> Mapping[str, Fault]:
        """Bring many small files of a folder into ``target``, a private folder on this machine.

        Returns a SNAPSHOT_UNREADABLE for each file that is there and is not given; the others come all the same. A
        file that is not there is not an error: it is not in ``target`` afterwards.

        Raises:
            Fault: REMOTE_UNREACHABLE, REMOTE_REFUSED where not even the folder is shown any more; DISK_FULL.
        """

    def modified(self, folder: str) -> Mapping[str, datetime]:
        """Return when each file of a folder was last written (UTC), as the place itself says; none without a folder.

        Raises:
            Fault: REMOTE_UNREACHABLE, STAGE_FAILED.
        """

    def sweep(self, folder: str, *, dry_run: bool = False) -> tuple[str, ...]:
        """Remove what dead runs left half written in a folder; return the names of what went; ``dry_run``: would go.

        Raises:
            Fault: REMOTE_UNREACHABLE, STAGE_FAILED.
        """


def check_path(path: str) -> str:
    """Return a path inside a place when every place can hold it, and nobody can read more into it.

    Raises:
        ValueError: it is empty, absolute, climbs, or holds other than letters, digits and ``_ . + = @ -``.
    """
    segments = path.split("/")
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError(f"not a path inside a place: {path[:120]!r}")
    return path


def temporary_name(name: str) -> str:
    """Return a name under which a file may lie while it is written: hidden, unique, known again as ours."""
    return f".{name}.{secrets.token_hex(6)}{_TEMPORARY_SUFFIX}"


def is_temporary(name: str) -> bool:
    """Tell whether a file name is one that ``temporary_name`` gives."""
    return _TEMPORARY.fullmatch(name) is not None
