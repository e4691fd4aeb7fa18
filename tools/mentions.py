"""Does what the Markdown pages mention exist: files linked to, commands of hermes-backup, targets of make, tests?

Usage: python tools/mentions.py
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from typer.main import get_command

from hermes_backup.cli.app import app

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
COMMAND = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?hermes-backup (?P<name>[a-z]+)", re.MULTILINE)
TARGET = re.compile(r"^(?:\$ )?make (?P<name>[a-z-]+)", re.MULTILINE)
TEST = re.compile(r"(?P<file>tests/[\w/]+\.py)::(?P<name>\w+)")
CODE = re.compile(r"^```[a-z]*\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)


def wrong(page: Path) -> Iterator[str]:
    """What a page mentions that there is not."""
    text = page.read_text(encoding="utf-8")
    for link in LINK.findall(text):
        if not (page.parent / link).exists():
            yield f"{link} is not there"
    code = "\n".join(block or inline for block, inline in CODE.findall(text))
    for file, name in TEST.findall(code):
        path = ROOT / file
        if not path.exists() or f"def {name}(" not in path.read_text(encoding="utf-8"):
            yield f"there is no test {file}::{name}"
    known = set(getattr(get_command(app), "commands", {}))
    yield from (f"hermes-backup has no command {it!r}" for it in set(COMMAND.findall(code)) - known)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    yield from (f"make has no target {it!r}" for it in set(TARGET.findall(code)) - targets)


def main() -> int:
    """Look at every page."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/**/*.md")]
    found = [f"{page.relative_to(ROOT)}: {what}" for page in sorted(pages) for what in wrong(page)]
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)  # noqa: T201 - a command line tool
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
