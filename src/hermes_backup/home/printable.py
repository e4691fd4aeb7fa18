"""File names as text that can be shown."""

from __future__ import annotations


def printable(name: bytes | str) -> str:
    """Return a name that fits on one line: bytes that are no text and control characters are escaped."""
    text = name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
    return text if text.isprintable() else "".join(map(_character, text))


def _character(character: str) -> str:
    if character.isprintable():
        return character
    escaped = character.encode("unicode_escape").decode("ascii")
    return escaped.replace("\\udc", "\\x")  # a byte that surrogateescape took in
