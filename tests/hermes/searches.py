"""What hermes-agent's own search is asked, and which messages it must find: those that hold the text."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.hermes.build_home import WORD

SEARCHES = {WORD: WORD, '"rewrite backups"': "rewrite backups", "来週まで": "来週まで"}
"""Queries, each with the text that messages hold which it finds; the last one goes to the trigram index."""


def asking(queries: Iterable[str] = SEARCHES) -> list[str]:
    """Return the arguments of read_home.py that ask these."""
    return [word for it in queries for word in ("--word", it)]


def messages_with(database: Path, text: str) -> list[int]:
    """Return the ids of the messages that hold a text, read off the messages alone."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        query = "SELECT id FROM messages WHERE instr(content, ?) ORDER BY id"
        return [it for (it,) in connection.execute(query, (text,))]


def check_found(answer: Mapping[str, Any], database: Path, queries: Mapping[str, str] = SEARCHES) -> None:
    """Each query found the messages that hold its text, and an index gave the snippets; without one none is marked."""
    assert answer["found"].keys() == queries.keys()
    for query, text in queries.items():
        found = answer["found"][query]
        assert sorted(it["id"] for it in found) == messages_with(database, text), query
        assert all(">>>" in it["snippet"] for it in found), query
