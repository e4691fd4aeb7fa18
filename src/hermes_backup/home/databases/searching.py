"""Some searches with what they find, so that a full-text table that is made again can be asked the same."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.home.databases.facts import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hermes_backup.home.databases.derived import LeftOut

_ROWS = 8  # from the oldest to the newest
_WORD = re.compile(r"(?<![^\W_])[^\W_]{3,60}(?![^\W_])")
_READ = 20_000  # characters of a row


@dataclass(frozen=True)
class Search:
    """A search, how many rows it finds, and the SHA-256 of their row ids in order, each on a line."""

    table: str
    term: str
    hits: int
    sha256: str


def sample(connection: sqlite3.Connection, left_out: LeftOut) -> Iterator[Search]:
    """Search for the longest words of some rows, each once; one that SQLite refuses is left out."""
    known = connection.text_factory
    connection.text_factory = _forgiving
    try:
        terms = dict.fromkeys(word for it in _rows(connection, left_out) if (word := _longest_word(it)))
    finally:
        connection.text_factory = known
    for term in terms:
        with contextlib.suppress(sqlite3.OperationalError):  # such as words of several tokens, by detail=none
            yield _search(connection, left_out.table, term)


def answered_otherwise(connection: sqlite3.Connection, known: Iterable[Search]) -> tuple[Search, ...]:
    """Return the searches that do not find what they found."""
    return tuple(it for it in known if not _finds(connection, it))


def _finds(connection: sqlite3.Connection, known: Search) -> bool:
    try:
        return _search(connection, known.table, known.term) == known
    except sqlite3.DatabaseError as error:
        if "interrupted" in str(error):
            raise
        return False


def _search(connection: sqlite3.Connection, table: str, term: str) -> Search:
    name = quoted(table)
    query = f"SELECT rowid FROM {name} WHERE {name} MATCH ? ORDER BY rowid"  # noqa: S608 - quoted
    found = [row[0] for row in connection.execute(query, (f'"{term}"',))]
    return Search(table, term, len(found), hashlib.sha256(b"".join(b"%d\n" % it for it in found)).hexdigest())


def _rows(connection: sqlite3.Connection, left_out: LeftOut) -> Iterator[str]:
    """Give the text of rows that lie as far apart as their ids allow."""
    held = next(it for it in left_out.shadows if it.endswith(("_content", "_docsize")))
    ids = f"SELECT min(id), max(id) FROM {quoted(held)}"  # noqa: S608 - quoted
    first, last = connection.execute(ids).fetchone()
    if first is None:
        return
    for number in range(_ROWS):
        wanted = first + (last - first) * number // (_ROWS - 1)
        near = f"SELECT id FROM {quoted(held)} WHERE id >= ? ORDER BY id LIMIT 1"  # noqa: S608 - quoted
        (row_id,) = connection.execute(near, (wanted,)).fetchone()
        row = connection.execute(f"SELECT * FROM {quoted(left_out.table)} WHERE rowid = ?", (row_id,)).fetchone()  # noqa: S608
        yield " ".join(it[:_READ] for it in row or () if isinstance(it, str))


def _forgiving(text: bytes) -> str:
    """Read a text that need not be UTF-8: SQLite makes such ones of blobs."""
    return text.decode("utf-8", "replace")


def _longest_word(text: str) -> str:
    return max(_WORD.findall(text), key=lambda it: (len(it), it), default="")
