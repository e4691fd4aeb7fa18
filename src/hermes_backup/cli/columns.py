"""Columns of plain words for lists of a thousand rows, which rich's own table lays out in half a second (measured)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

_GAP = "    "


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Text:
    """Line up ASCII words under their headings; a heading that begins with ``>`` has its column on the right."""
    right = [heading.startswith(">") for heading in headings]
    table = [[heading.removeprefix(">") for heading in headings], *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        lines.append(f"  {_GAP.join(cells).rstrip()}")
    text = Text("\n".join(lines), no_wrap=True)
    text.stylize("bold", 0, len(lines[0]))
    return text
