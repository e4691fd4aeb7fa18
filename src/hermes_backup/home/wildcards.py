"""Expressions of gitignore patterns that match in time that is bounded, however many wildcards they have.

As pathspec writes them, each wildcard multiplies what may be tried: ``*a*a*a`` by the length of a name, ``**/a/**/a``
by that of a path. It is enough to take the first place where what stands between two wildcards fits: the second one may
begin at any later place. So that is not tried again: a group that is looked ahead for and then repeated is never
changed (as in Python's own ``fnmatch``; atomic groups came with 3.11).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

_STAR = "[^/]*"
_ABOVE, _BETWEEN = "(?:.+/)?", "(?:/.+)?"  # ** at the beginning, and in the middle
_FOLDERS = {_ABOVE: "(?:[^/]+/)*?", _BETWEEN: "(?:/[^/]+)*?"}
_TOKEN = re.compile(
    r"\(\?:\.\+/\)\?|\(\?:/\.\+\)\?|\(\?:/\|\$\)|\[\^/\][*+]?|\[\^?\]?(?:\\.|[^\]\\])*\]|\\.|.", re.DOTALL
)
_numbers = itertools.count()  # the expressions of many patterns become one, and no two groups may have one name


def bounded(source: str) -> str:
    """Return an expression that matches the same as one of pathspec's does, and tries nothing twice."""
    blocks = _split(_TOKEN.findall(source), tuple(_FOLDERS))
    first, *others = (("".join(map(_segment, _segments(tokens))), opened) for opened, tokens in blocks)
    *between, last = others or [("", "")]
    held = (_held(f"{_FOLDERS[wildcard]}{block}(?=/)") for block, wildcard in between)
    return "".join((first[0], *held, last[1], last[0]))


def _split(tokens: Sequence[str], at: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Divide tokens at some of them: each part with the one that it follows, the first with none."""
    parts: list[tuple[str, list[str]]] = [("", [])]
    for token in tokens:
        if token in at:
            parts.append((token, []))
        else:
            parts[-1][1].append(token)
    return parts


def _segments(tokens: Sequence[str]) -> Iterable[tuple[str, list[str]]]:
    return _split(tokens, ("/", "(?:/|$)"))


def _segment(segment: tuple[str, list[str]]) -> str:
    """Write a part of a path, from the slash before it on."""
    slash, tokens = segment
    (_, head), *rest = _split(tokens, (_STAR,))
    pieces = ["".join(piece) for _, piece in rest]
    if not pieces:
        return slash + "".join(head)
    *between, tail = pieces
    held = (_held(f"[^/]*?{piece}") for piece in between if piece)
    return "".join((slash, *head, *held, _STAR, tail))


def _held(source: str) -> str:
    name = f"hb{next(_numbers)}"
    return f"(?=(?P<{name}>{source}))(?P={name})"
