"""What a table holds, as one hash: equal for equal rows, whatever pages, free space and page order are like.

Of each column there are up to seven hashes (SHA-256): of a letter for each value's type; of all whole numbers and all
reals, eight bytes each, the greatest first; of the lengths of all texts, eight bytes each, and of the texts in UTF-8;
and likewise of blobs. What a table holds is the hash of these. Columns are taken whole, since Python needs twice the
time row by row. Row ids that no column shows come first, and what SQLite computes itself is left out.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hermes_backup.home.databases.facts import quoted
from hermes_backup.home.databases.tables import read_table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from hermes_backup.home.databases.schema import Entry
    from hermes_backup.home.databases.tables import Table

_LETTERS = {type(None): ord("n"), int: ord("i"), float: ord("r"), bytearray: ord("t"), bytes: ord("b")}
_BATCH_BYTES = 1 << 20
_BATCH_ROWS = 1000
_FIRST_BATCH = 16


@dataclass(frozen=True)
class Content:
    """How many rows a table has, and the hash of all that they hold."""

    rows: int
    sha256: str


def content(connection: sqlite3.Connection, table: Table, schema: str = "main") -> Content:
    """Read and hash a table, in the order in which its rows lie: by row id, or by primary key."""
    names = [*([table.hidden_id] if table.hidden_id else []), *map(quoted, table.columns)]
    query = f"SELECT {', '.join(names)} FROM {schema}.{quoted(table.name)} NOT INDEXED"  # noqa: S608 - quoted
    known = connection.text_factory
    connection.text_factory = bytearray  # what no other type is made of, and needs no decoding
    try:
        cursor = connection.execute(query)
        columns = [_Column() for _ in cursor.description]
        rows, size = 0, _FIRST_BATCH
        while batch := cursor.fetchmany(size):
            rows += len(batch)
            read = sum(column.add(values) for column, values in zip(columns, zip(*batch, strict=True), strict=True))
            size = max(1, min(_BATCH_ROWS, _BATCH_BYTES * len(batch) // max(1, read)))
    finally:
        connection.text_factory = known
    whole = hashlib.sha256()
    for column in columns:
        whole.update(column.digest())
    return Content(rows, whole.hexdigest())


def read_contents(connection: sqlite3.Connection, schema: Sequence[Entry]) -> Mapping[str, Content]:
    """Read and hash every real table of a schema, in the connection's main database."""
    return {it.name: content(connection, read_table(connection, it.name)) for it in schema if it.is_real_table}


class _Column:
    """The hashes of one column, each begun when it is needed."""

    def __init__(self) -> None:
        self._streams: dict[str, Any] = {}

    def add(self, values: Sequence[Any]) -> int:
        """Take the values of some more rows; return how many bytes of text and blobs they have."""
        letters = bytes(map(_LETTERS.__getitem__, map(type, values)))
        self._feed("types", letters)
        return sum(self._take(letter, letters, values) for letter in sorted(set(letters)))

    def digest(self) -> bytes:
        """Return the hash of the hashes, each with its name."""
        named = (f"{name} ".encode() + it.digest() for name, it in sorted(self._streams.items()))
        return hashlib.sha256(b"".join(named)).digest()

    def _take(self, letter: int, letters: bytes, values: Sequence[Any]) -> int:
        kind = chr(letter)
        of_kind = values if letters.count(letter) == len(letters) else _only(letter, letters, values)
        if kind in "ir":
            self._feed(kind, struct.pack(f">{len(of_kind)}{'q' if kind == 'i' else 'd'}", *of_kind))
        if kind not in "tb":
            return 0
        lengths = [len(it) for it in of_kind]
        self._feed(f"{kind} lengths", struct.pack(f">{len(lengths)}Q", *lengths))
        self._feed(kind, b"".join(of_kind))
        return sum(lengths)

    def _feed(self, name: str, data: bytes) -> None:
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = hashlib.sha256()
        stream.update(data)


def _only(letter: int, letters: bytes, values: Sequence[Any]) -> list[Any]:
    return [value for value, it in zip(values, letters, strict=True) if it == letter]
