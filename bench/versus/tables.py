"""The race as tables: phase by phase in the terminal, and in one in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.table import Row, Target
from bench.versus.results import PHASES, Limit, Outcome, Phase, Results

_NONE = "-"
_MB = 1e6


def by_phase(results: Results) -> Iterator[tuple[str, list[Row]]]:
    """Give each phase a title, and a row for everybody who took part."""
    stored = {"first": "", "daily": ", MB a day"}
    for phase, title in PHASES.items():
        rows = [_row(results, phase, it) for it in results.outcomes if phase in it.phases]
        if rows:
            yield f"{title[0].upper()}{title[1:]}{stored.get(phase, '')}", rows


def _row(results: Results, phase: Phase, one: Outcome) -> Row:
    timed = one.phases[phase]
    kept = {"first": float(one.first_bytes), "daily": results.a_day(one)}.get(phase, 0.0)
    note = one.note if phase == "first" else ""
    return Row(one.name, timed.median, timed.seconds, timed.cpu, timed.memory, round(kept), note)


def markdown(results: Results) -> str:
    """Return everything in one table."""
    heads = ["first s", "daily s", "unchanged s", "restore s", "one file s", "first MB", "MB a day",
             f"after {results.days} days MB", "peak MB"]  # fmt: skip
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for it in results.outcomes:
        times: tuple[Phase, ...] = ("first", "daily", "unchanged", "restore", "one")
        stays = "daily" in it.phases
        cells = [
            *(_time(it, phase) for phase in times),
            f"{it.first_bytes / _MB:.1f}",
            f"{results.a_day(it) / _MB:.2f}" if stays else _NONE,
            f"{it.all_bytes / _MB:.0f}" if stays else _NONE,
            f"{it.peak / _MB:.0f}",
        ]
        lines.append(f"| {_code(it.name)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def markdown_targets(targets: Sequence[Target]) -> str:
    """Return what was wanted and what was seen."""
    lines = ["| | wanted | seen | |", "|---|---|---|---|"]
    lines += [
        f"| {_plain(it.what)} | {_plain(it.wanted)} | {_plain(it.measured)} | {'met' if it.ok else 'missed'} |"
        for it in targets
    ]
    return "\n".join(lines) + "\n"


def markdown_notes(results: Results) -> str:
    """Return what each row is, with its version."""
    rows = [f"| {_code(it.name)} | {_plain(it.version) or _NONE} | {_plain(it.note)} |" for it in results.outcomes]
    return "\n".join(["| | version | |", "|---|---|---|", *rows]) + "\n"


def markdown_limits(results: Results) -> str:
    """Return what each step takes alone."""
    rows = [f"| {it.name} | {it.seconds:.2f} | {it.size / _MB:.0f} | {_rate(it)} |" for it in results.limits]
    return "\n".join(["| alone | seconds | MB | MB a second |", "|---|---|---|---|", *rows]) + "\n"


def limit_rows(results: Results) -> list[Row]:
    """Return what each step takes alone, for the terminal."""
    return [Row(it.name, it.seconds, (it.seconds,), 0.0, 0, 0, f"{_rate(it)} MB a second") for it in results.limits]


def _rate(limit: Limit) -> str:
    return f"{limit.size / _MB / limit.seconds:.0f}"


def _time(one: Outcome, phase: Phase) -> str:
    median, left = one.median(phase), one.median("leave") if phase == "restore" else None
    if median is None:
        return "as daily" if phase == "unchanged" and "daily" in one.phases else _NONE
    return f"{median:.2f}" + (f" ({left:.2f} without indexes)" if left is not None else "")


def _code(name: str) -> str:
    return f"`{_plain(name)}`"


def _plain(text: str) -> str:
    return text.replace("<=", "≤").replace("|", "\\|")
