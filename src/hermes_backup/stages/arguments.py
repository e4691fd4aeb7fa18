"""Telling of a command without its arguments, which may hold what lies in the vault where they are declared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

MASK = "********"
_OPTION_NAME = re.compile(r"--[a-z][a-z-]*")
_BETWEEN = re.compile(r"[\s=:,;?&@|()<>\"'`]+")
_ORDINARY = re.compile(r"[A-Za-z]?[a-z]*[.!]?")  # a script's own words, which its errors repeat
_GIVEN = r"(?:\"([^\"]*)\"|'([^']*)'|([^\s;|&<>()\"'`]+))"
_ANNOUNCED = re.compile(
    rf"(?:=|(?<![\w-])-[A-Za-z][ \t]*|(?<![\w-])--[a-z][a-z-]*[ \t]+|\b(?i:bearer|basic)[ \t]+)(?={_GIVEN})"
)
_IN_ADDRESS = re.compile(r":([^\s:/@]+)@")
_WITHIN = re.compile(r"[,:&?@]")
_LONG = 4  # shorter ones stand in other words by chance


def shown(argv: Sequence[str]) -> str:
    """Return the program's name and how many arguments it gets."""
    program = Path(next(iter(argv[0].split()), "")).name
    count = len(argv) - 1
    return program if not count else f"{program} and {count} argument{'s' if count > 1 else ''}"


def without_arguments(text: str, argv: Sequence[str]) -> str:
    """Return what a command said with the values of its own arguments masked."""
    values = {value for argument in argv[1:] for value in _values(argument)}
    for value in sorted(values, key=len, reverse=True):
        pattern = re.escape(value) if len(value) >= _LONG else rf"(?<!\w){re.escape(value)}(?!\w)"
        text = re.sub(pattern, MASK, text) if len(value) > 1 else text
    return text


def _values(argument: str) -> Iterator[str]:
    """Yield what an argument tells: itself, what is announced as a value, and its words that are not plain ones."""
    if _OPTION_NAME.fullmatch(argument):
        return
    yield argument.strip()
    yield argument.partition("=")[2]
    if argument.startswith("-") and not argument.startswith("--"):
        yield argument[2:]
    yield from _announced(argument)
    yield from (it for it in _BETWEEN.split(argument) if len(it) >= _LONG and not _ORDINARY.fullmatch(it))


def _announced(argument: str) -> Iterator[str]:
    """Yield what follows ``=``, an option, or ``user:`` in an argument that is a script, however plain a word it is."""
    yield from _IN_ADDRESS.findall(argument)
    for found in _ANNOUNCED.finditer(argument):
        value = found[1] or found[2] or found[3] or ""
        yield value
        yield from (it for it in _WITHIN.split(value) if len(it) >= _LONG)
