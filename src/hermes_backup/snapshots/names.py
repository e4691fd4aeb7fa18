"""What snapshots, their files and their folders are called, and which names are ours.

A name has one spelling only: whatever parses prints as it was read, so no name of ours hides in another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Literal

from hermes_backup.errors import CONFIG_INVALID, Fault

Role = Literal["data", "index", "manifest"]

RESTORE_TEXT = "RESTORE.txt"
MANIFEST_SUFFIX = ".manifest.asc"
HOST_RE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,62}(?<![.])", re.ASCII)
_STEM = re.compile(r"([0-9]{6,12})-([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z", re.ASCII)
_STEM_LENGTH = len("000123-20261121T033000Z")
ENCRYPTED = ".gpg"
_DATA_SUFFIX = re.compile(r"\.(?:tar(?:\.(?:delta\.zst|zst|lz4|gz))?|sqsh)(?:\.gpg)?", re.ASCII)
_INDEX_SUFFIX = re.compile(r"\.index(?:\.(?:zst|lz4|gz))?(?:\.gpg)?", re.ASCII)
_IMAGE = ".sqsh"
_DELTA = ".tar.delta"
_COMPRESSION_SUFFIXES = {"zstd": ".zst", "lz4": ".lz4", "gzip": ".gz", "none": ""}
_MAX_SEQUENCE = 10**12 - 1


@dataclass(frozen=True, order=True)
class SnapshotName:
    """A snapshot's name: its number in its pipeline's sequence, and when it was begun (UTC, whole seconds).

    Raises:
        ValueError: the sequence number is not 1 or more, or the time is not a whole second of UTC since 1970.
    """

    sequence: int
    time: datetime

    def __post_init__(self) -> None:
        if not 1 <= self.sequence <= _MAX_SEQUENCE:
            raise ValueError(f"a sequence number is 1 or more, not {self.sequence}")
        if self.time.utcoffset() != timedelta(0) or self.time.microsecond:
            raise ValueError("a snapshot's time is a whole second of UTC")
        if self.time.year < 1970:  # noqa: PLR2004 - the first year of Unix time
            raise ValueError("a snapshot's time lies before 1970")
        object.__setattr__(self, "time", self.time.replace(tzinfo=timezone.utc))

    def __str__(self) -> str:
        # strftime would not pad years below 1000, and has no reason to know our form
        t = self.time
        day = f"{t.year:04d}{t.month:02d}{t.day:02d}"
        return f"{self.sequence:06d}-{day}T{t.hour:02d}{t.minute:02d}{t.second:02d}Z"

    @classmethod
    def parse(cls, stem: str) -> SnapshotName:
        """Read a name in its one spelling.

        Raises:
            ValueError: it is not the name of a snapshot.
        """
        match = _STEM.fullmatch(stem)
        if match is None:
            raise ValueError(f"not the name of a snapshot: {stem[:80]!r}")
        sequence, *parts = (int(group) for group in match.groups())
        name = cls(sequence, datetime(*parts, tzinfo=timezone.utc))  # type: ignore[misc, arg-type]  # six ints
        if str(name) != stem:
            raise ValueError(f"not the one spelling of {name}: {stem[:80]!r}")
        return name


def data_suffix(archive: Literal["tar", "squashfs"], compression: str, *, encrypted: bool, delta: bool = False) -> str:
    """Return the suffix of a snapshot's data, such as ``.tar.zst.gpg``; squashfs compresses within itself.

    Raises:
        KeyError: a compression of tar that this program does not write.
    """
    tar = _DELTA if delta else ".tar"
    body = _IMAGE if archive == "squashfs" else tar + _COMPRESSION_SUFFIXES[compression]
    return body + (ENCRYPTED if encrypted else "")


def data_name(name: SnapshotName, suffix: str) -> str:
    """Return the file name of a snapshot's data.

    Raises:
        ValueError: the suffix is not one of ours.
    """
    return _named(name, suffix, "data")


def index_name(name: SnapshotName, suffix: str) -> str:
    """Return the file name of a snapshot's list of files.

    Raises:
        ValueError: the suffix is not one of ours.
    """
    return _named(name, suffix, "index")


def manifest_name(name: SnapshotName) -> str:
    """Return the file name of a snapshot's manifest."""
    return f"{name}{MANIFEST_SUFFIX}"


def role_of(suffix: str) -> Role | None:
    """Return what a file with this suffix is to a snapshot; None when no file of ours ends so."""
    if suffix == MANIFEST_SUFFIX:
        return "manifest"
    if _DATA_SUFFIX.fullmatch(suffix):
        return "data"
    return "index" if _INDEX_SUFFIX.fullmatch(suffix) else None


def is_image(filename: str) -> bool:
    """Tell whether a file's name is that of a squashfs image."""
    parsed = parse_file(filename)
    return parsed is not None and parsed[1].startswith(_IMAGE)


def is_delta(filename: str) -> bool:
    """Tell whether a file's name is that of a delta's data."""
    parsed = parse_file(filename)
    return parsed is not None and parsed[1].startswith(_DELTA)


def parse_file(filename: str) -> tuple[SnapshotName, str] | None:
    """Return a file's snapshot and its suffix; None for a file that is not ours."""
    stem, dot, rest = filename.partition(".")
    if len(stem) < _STEM_LENGTH or role_of(dot + rest) is None:
        return None
    try:
        return SnapshotName.parse(stem), dot + rest
    except ValueError:
        return None


def check_host(name: str) -> str:
    """Return the host's name when it can be a folder in every place.

    Raises:
        Fault: CONFIG_INVALID.
    """
    return _folder_name(name, "host")


def check_pipeline(name: str) -> str:
    """Return the pipeline's name when it can be a folder in every place.

    Raises:
        Fault: CONFIG_INVALID.
    """
    return _folder_name(name, "pipeline")


def folder_of(host: str, pipeline: str) -> str:
    """Return the folder of a host's pipeline in every place: ``<host>/<pipeline>``.

    Raises:
        Fault: CONFIG_INVALID.
    """
    return f"{check_host(host)}/{check_pipeline(pipeline)}"


def _folder_name(name: str, what: str) -> str:
    if HOST_RE.fullmatch(name) is None:
        raise Fault(
            CONFIG_INVALID,
            f"{name[:80]!r} cannot be the name of a {what}: it becomes a folder",
            mend="Use 1 to 63 letters, digits and _ - . with a letter or digit first and no dot at the end.",
        )
    return name


def _named(name: SnapshotName, suffix: str, role: Role) -> str:
    if role_of(suffix) != role:
        raise ValueError(f"no {role} of a snapshot ends in {suffix!r}")
    return f"{name}{suffix}"
