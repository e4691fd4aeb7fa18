"""A snapshot on its way from the trusted machine to the host that it is brought back on, over one pipe.

First a head, its length in eight bytes before it: what is wanted, the manifest, the list of files. Then the data as
it lies in the snapshot, but decrypted, to the end of the pipe. The host answers in lines of JSON.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_backup.errors import DATA_DAMAGED, Fault
from hermes_backup.home.against import Rows
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.status import Trouble
from hermes_backup.snapshots.index import from_bytes, to_lines
from hermes_backup.snapshots.manifest import Manifest, PartialFile, from_json, to_json
from hermes_backup.snapshots.remaking import Remaking
from hermes_backup.snapshots.remaking import from_bytes as remakings_from_bytes
from hermes_backup.snapshots.remaking import to_lines as remakings_to_lines
from hermes_backup.streams.members import Member

_LENGTH = struct.Struct(">Q")
_LONGEST = 1 << 30


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Wanted(_Message):
    """What the host shall do with a snapshot.

    ``only`` are paths; none means all of the home. ``start``: services that ran are started again afterwards.
    ``leave_indexes``: search indexes that were left out are left to Hermes.
    """

    purpose: Literal["replace", "compare"]
    only: tuple[str, ...] = ()
    start: bool = True
    leave_indexes: bool = False


class Replaced(_Message):
    """What a host did: names are printable.

    ``aside`` is where the old home, or each old file, lies now. ``stopped`` are services that were stopped, ``started``
    those that run again. ``absent`` are absolute paths of the state that lead nowhere there. ``partial`` is what the
    backup could not take whole.
    """

    home: str
    aside: tuple[str, ...]
    files: int
    bytes: int
    stopped: tuple[str, ...]
    started: tuple[str, ...]
    checked: tuple[str, ...]
    absent: tuple[str, ...]
    secrets: tuple[str, ...]
    partial: tuple[PartialFile, ...] = ()


class Compared(_Message):
    """What a restore would change on a host."""

    home: str
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    rows: tuple[Rows, ...]
    unknown: tuple[str, ...]
    partial: tuple[PartialFile, ...] = ()


class Line(_Message):
    """One line of a host's answer: how far it is, something to tell, or how it ended."""

    stage: str = ""
    done: int = 0
    total: int = 0
    warning: str = ""
    replaced: Replaced | None = None
    compared: Compared | None = None
    error: Trouble | None = None


class _Head(_Message):
    wanted: Wanted
    config: HostConfig
    manifest: str
    index: int


@dataclass(frozen=True)
class Handover:
    """The head of what is handed over; ``config`` is of the host that it goes to."""

    wanted: Wanted
    config: HostConfig
    manifest: Manifest
    members: tuple[Member, ...]
    remakings: tuple[Remaking, ...] = ()


def write_head(handover: Handover) -> Iterator[bytes]:
    """Write the head."""
    index = b"".join((*to_lines(handover.members), *remakings_to_lines(handover.remakings)))
    plain = handover.config.model_copy(update={"rclone_config": ""})
    head = _Head(wanted=handover.wanted, config=plain, manifest=to_json(handover.manifest), index=len(index))
    text = head.model_dump_json().encode()
    yield _LENGTH.pack(len(text)) + text
    yield index


def read_head(pipe: IO[bytes]) -> Handover:
    """Read what :func:`write_head` wrote.

    Raises:
        Fault: DATA_DAMAGED when the pipe ends early or says something else.
    """
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    try:
        head = _Head.model_validate_json(_exactly(pipe, length))
    except ValidationError:
        raise Fault(DATA_DAMAGED, "what comes in is no handover of this version", where="restore") from None
    index = _exactly(pipe, head.index)
    return Handover(head.wanted, head.config, from_json(head.manifest), from_bytes(index), remakings_from_bytes(index))


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size) if 0 <= size <= _LONGEST else b""
    if len(data) != size:
        raise Fault(DATA_DAMAGED, "the handover ended early", where="restore")
    return data
