"""SQL as SQLite divides it into tokens, each with its place in the text: as much as is needed to read a schema."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

Kind = Literal["word", "quoted", "string", "number", "sign"]
# https://sqlite.org/src/file/src/tokenize.c: whatever is no ASCII belongs to a word
_TOKEN = re.compile(
    r"""(?P<space>[ \t\n\f\r]+|--[^\n]*|/\*.*?(?:\*/|\Z))
    |(?P<string>[xX]?'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
    |(?P<number>[0-9][0-9A-Za-z_.]*)
    |(?P<word>[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*)
    |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_UNCLOSED = frozenset("'\"`[")


@dataclass(frozen=True)
class Token:
    """One token, from ``start`` to ``end`` of the text."""

    kind: Kind
    text: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """What it names, where it is a name: without quotes."""
        first = self.text[0]
        if first == "[":
            return self.text[1:-1]
        return self.text[1:-1].replace(first * 2, first) if first in "\"'`" else self.text

    def is_word(self, *words: str) -> bool:
        """Tell whether it is one of these keywords, given in capitals."""
        return self.kind == "word" and self.text.upper() in words

    def is_name(self, name: str) -> bool:
        """Tell whether SQLite could take it for this name: it compares ASCII letters alone without their case."""
        return self.kind not in ("sign", "number") and folded(self.name) == folded(name)


def tokens(sql: str) -> tuple[Token, ...] | None:
    """Divide a text without what is blank or comment; None where a quote is never closed."""
    found = tuple(_tokens(sql))
    return None if any(it.kind == "sign" and it.text in _UNCLOSED for it in found) else found


def _tokens(sql: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(sql):
        if match.lastgroup != "space":
            yield Token(cast("Kind", match.lastgroup), match[0], match.start(), match.end())


def folded(name: str) -> str:
    """Return a name as SQLite compares it."""
    return "".join(it.lower() if it.isascii() else it for it in name)


def divided(some: Iterable[Token], sign: str) -> tuple[tuple[Token, ...], ...]:
    """Divide tokens at a sign that stands in no parentheses."""
    parts: list[tuple[Token, ...]] = []
    part: list[Token] = []
    depth = 0
    for it in some:
        depth += {"(": 1, ")": -1}.get(it.text, 0) if it.kind == "sign" else 0
        if depth == 0 and it.kind == "sign" and it.text == sign:
            parts.append(tuple(part))
            part = []
        else:
            part.append(it)
    return (*parts, tuple(part))


def enclosed(some: Sequence[Token]) -> tuple[tuple[Token, ...], tuple[Token, ...]] | None:
    """Return what stands between the parentheses that begin here, and what follows them; None where none begin."""
    if not some or some[0].text != "(":
        return None
    depth = 0
    for number, it in enumerate(some):
        depth += {"(": 1, ")": -1}.get(it.text, 0) if it.kind == "sign" else 0
        if depth == 0:
            return tuple(some[1:number]), tuple(some[number + 1 :])
    return None
