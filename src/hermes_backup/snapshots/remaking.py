"""How search indexes that a snapshot leaves out are made again: lines of the encrypted list of files, after the files.

They are SQL that the agent's own programs wrote, and words that it was told, so no manifest holds them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hermes_backup.errors import DATA_DAMAGED, Fault
from hermes_backup.snapshots.manifest import Count, Sha256

MARK = b'{"left_out":'
"""How such a line begins, and no other."""
_LONGEST = 1 << 20  # characters of a statement


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


Statement = Annotated[str, Field(max_length=_LONGEST)]


class Asked(_Model):
    """A search of the original: how many rows it found, and the SHA-256 of their row ids in order, each on a line."""

    term: str
    hits: Count
    sha256: Sha256


class Remaking(_Model):
    """One full-text table: the statements that make, set up and fill it, those of its triggers, and what it answered.

    ``database`` is as in the manifest. ``insert`` fills it by the rows that ``condition`` means, by all if it is empty.
    """

    database: str
    table: str
    create: Statement
    settings: tuple[Statement, ...] = ()
    insert: Statement
    condition: Statement = ""
    triggers: tuple[Statement, ...] = ()
    rows: Count
    searches: tuple[Asked, ...] = ()


def to_lines(remakings: Iterable[Remaking]) -> Iterator[bytes]:
    """Write them, a line each."""
    for it in remakings:
        yield MARK + json.dumps(it.model_dump(mode="json"), separators=(",", ":")).encode() + b"}\n"


def from_bytes(data: bytes) -> tuple[Remaking, ...]:
    """Read them out of a list of files.

    Raises:
        Fault: DATA_DAMAGED.
    """
    try:
        lines = (it for it in data.splitlines() if it.startswith(MARK))
        return tuple(Remaking.model_validate_json(it.removeprefix(MARK).removesuffix(b"}")) for it in lines)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Fault(DATA_DAMAGED, f"how an index is made again cannot be read: {place}: {first['msg']}") from None
