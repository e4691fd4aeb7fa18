"""Horizontal bars as a plain SVG that is readable on light and on dark, with no fonts and no script of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _LABELS, _FIGURES = 920, 370, 90
_BAR, _GAP, _TITLE = 16, 7, 34
_COLORS = {"ours": "#2f81f7", "peer": "#8b949e", "limit": "#c69026"}
_STYLE = (
    "text{font:13px sans-serif;fill:#6e7781}.t{font-weight:bold}@media(prefers-color-scheme:dark){text{fill:#9ea7b3}}"
)


@dataclass(frozen=True)
class Bar:
    """One bar: whose it is, how long, and the figure as words; ``kind`` gives its color."""

    name: str
    value: float
    said: str
    kind: str


@dataclass(frozen=True)
class Panel:
    """Bars that are compared with each other; the longest fills the width."""

    title: str
    bars: Sequence[Bar]


def draw(panels: Sequence[Panel], about: str) -> str:
    """Return the panels below each other; ``about`` is what a reader of the page without pictures is told."""
    parts: list[str] = []
    y = 0
    for panel in panels:
        y += _TITLE
        parts.append(f'<text class="t" x="0" y="{y - 12}">{escape(panel.title)}</text>')
        longest = max((it.value for it in panel.bars), default=0.0) or 1.0
        for bar in panel.bars:
            parts.append(_drawn(bar, longest, y))
            y += _BAR + _GAP
    height = y + _GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    said = f"<title>{escape(about)}</title>\n<style>{_STYLE}</style>"
    return f'{head} role="img">\n{said}\n' + "\n".join(parts) + "\n</svg>\n"


def _drawn(bar: Bar, longest: float, y: int) -> str:
    wide = max(1.0, bar.value / longest * (_WIDTH - _LABELS - _FIGURES))
    text = y + _BAR - 4
    return (
        f'<text x="{_LABELS - 8}" y="{text}" text-anchor="end">{escape(bar.name)}</text>'
        f'<rect x="{_LABELS}" y="{y}" width="{wide:.1f}" height="{_BAR}" rx="2" fill="{_COLORS[bar.kind]}"/>'
        f'<text x="{_LABELS + wide + 6:.1f}" y="{text}">{escape(bar.said)}</text>'
    )
