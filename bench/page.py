"""Put a race into the documentation, by ``python -m bench.page RESULTS.json``.

Writes the plots docs/performance.svg and docs/speed.svg, and what lies between the markers of docs/performance.md and
README.md.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bench.plot import Bar, Panel, draw
from bench.versus.ours import DAILY
from bench.versus.results import PHASES, Outcome, Phase, Results, read
from bench.versus.tables import markdown, markdown_limits, markdown_notes, markdown_targets
from bench.versus.targets import targets

_ROOT = Path(__file__).resolve().parent.parent
_MB = 1e6


def main() -> None:
    """Write all of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__)
    parser.add_argument("results", type=Path, help="what `python -m bench --json` wrote")
    write(read(parser.parse_args().results), _ROOT)


def write(results: Results, root: Path) -> None:
    """Write the plots and the pages below ``root``.

    Raises:
        SystemExit: a page has no markers.
    """
    where = f"{results.size} MiB, {results.machine[0]}"
    (root / "docs" / "performance.svg").write_text(draw(list(_panels(results)), f"All phases; {where}"), "utf-8")
    (root / "docs" / "speed.svg").write_text(draw(_daily(results), f"A daily backup; {where}"), "utf-8")
    _replace(root / "docs" / "performance.md", _performance(results))
    _replace(root / "README.md", _readme(results))


def between(text: str, body: str) -> str:
    """Return a page with ``body`` between its markers.

    Raises:
        ValueError: it has no markers, or more than one pair.
    """
    pattern = r"(<!-- written by make bench-docs -->\n).*?(<!-- end of what make bench-docs writes -->\n)"
    made, count = re.subn(pattern, lambda found: f"{found[1]}{body}{found[2]}", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"there are {count} pairs of markers and not 1")
    return made


def _replace(file: Path, body: str) -> None:
    try:
        made = between(file.read_text("utf-8"), body)
    except ValueError as error:
        raise SystemExit(f"bench: {file}: {error}") from None
    file.write_text(made, "utf-8")


def _performance(results: Results) -> str:
    machine = ". ".join(results.machine)
    large = f" Peak memory also with {results.large_size} MiB." if results.large else ""
    return (
        f"{machine}. Load before the start: {results.load:.1f}.\n\n"
        f"One run: a `state.db` of {results.size} MiB, {results.days} days of {results.text / _MB:.1f} MB of text. "
        f"Medians of so many runs in turns: {', '.join(_counts(results))}.{large}\n\n"
        "![seconds and bytes of each contestant](performance.svg)\n\n"
        f"{markdown(results)}\n{markdown_targets(targets(results))}\n{markdown_limits(results)}\n{markdown_notes(results)}"
    )


def _counts(results: Results) -> Iterator[str]:
    """Say of how many timed runs the medians of each phase are."""
    for phase, title in PHASES.items():
        counts = {len(it.phases[phase].seconds) for it in results.outcomes if phase in it.phases}
        if counts:
            yield f"{title} {' or '.join(map(str, sorted(counts)))}"


def _readme(results: Results) -> str:
    ours = results.of(DAILY)
    peers = [it for it in results.outcomes if it.kind == "peer"]
    quick = min(peers, key=lambda it: it.phases["daily"].median)
    small = min(peers, key=results.a_day)
    return (
        f"A daily backup of a home with a `state.db` of {results.size} MiB takes {_said(ours)} and stores "
        f"{results.a_day(ours) / _MB:.1f} MB; the quickest other, `{quick.name}`, takes {_said(quick)}, the smallest, "
        f"`{small.name}`, stores {results.a_day(small) / _MB:.1f} MB. Bringing it back takes "
        f"{ours.phases['leave'].median:.1f} s, and {ours.phases['restore'].median:.0f} s with all search indexes made "
        "again.\n\n"
        "![a daily backup: seconds, and bytes stored](docs/speed.svg)\n"
    )


def _said(one: Outcome) -> str:
    return f"{one.phases['daily'].median:.1f} s"


def _panels(results: Results) -> Iterator[Panel]:
    yield _times(results, "first", "First backup, seconds")
    yield _sizes(results, "First backup, MB stored", lambda it: float(it.first_bytes))
    yield from _daily(results)
    yield _times(results, "unchanged", "Backup of an unchanged home, seconds")
    made = _times(results, "restore", "Restore, seconds")
    left = [replace(it, name=f"{it.name}, indexes left to Hermes") for it in _times(results, "leave", "").bars]
    yield Panel(made.title, [*left, *made.bars])
    yield _times(results, "one", "Restore of one file, seconds")


def _daily(results: Results) -> list[Panel]:
    return [
        _times(results, "daily", "Daily backup, seconds"),
        _sizes(results, "Daily backup, MB stored a day", results.a_day),
    ]


def _times(results: Results, phase: Phase, title: str) -> Panel:
    took_part = [it for it in results.outcomes if phase in it.phases]
    medians = [(it, it.phases[phase].median) for it in took_part]
    return Panel(title, [Bar(it.name, median, f"{median:.2f} s", it.kind) for it, median in medians])


def _sizes(results: Results, title: str, figure: Callable[[Outcome], float]) -> Panel:
    stored = [(it, figure(it)) for it in results.outcomes if "daily" in it.phases]
    return Panel(title, [Bar(it.name, size, f"{size / _MB:.1f} MB", it.kind) for it, size in stored])


if __name__ == "__main__":
    main()
