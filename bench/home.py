"""The benchmark's Hermes home: a ``state.db`` of a given size with hermes-agent's own tables, and days of growth.

hermes-agent makes the tables and the settings. Rows of the past go in by SQL, because its own classes take minutes
for a gigabyte; its triggers index them all the same. What is said later, day by day, it appends itself.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.hermes.environment import hermes_python

from bench.text import Text

_VERSION = 2  # of what is built here; a home of another version is built anew
_BATCH = 2_000  # messages
_SESSION = 60  # messages
_WORKSPACE_FILES = 300
_PICTURES = 12
_DAY = 1_223  # messages: 3 MB of text
_DAYS = 15
_WHOLE = 1 << 30  # a smaller database grows by so much less

_INSERT = """
INSERT INTO messages (session_id, role, content, tool_name, timestamp, token_count) VALUES (?, ?, ?, ?, ?, ?)
"""
_SIZES = {"user": (40, 600), "assistant": (200, 3_000), "tool": (300, 12_300)}  # characters

_Row = tuple[str, str, str, str | None, float, int]


@dataclass(frozen=True)
class Built:
    """A home that was built: what it holds, and what each of its days adds. Sizes in bytes, text in characters."""

    version: int
    database: int
    messages: int
    text: int
    permuted: int
    day: int


def build(folder: Path, size: int, say: Callable[[str], None]) -> Built:
    """Make a home in ``folder`` whose database has ``size`` bytes; one that is there already is kept.

    The days that follow lie beside it: :func:`days`.
    """
    about = folder.with_name(f"{folder.name}.json")
    if about.is_file():
        known = json.loads(about.read_text(encoding="utf-8"))
        if known["version"] == _VERSION and (folder / "state.db").is_file():
            return Built(**known)
    say(f"building a home with a state.db of {size >> 20} MiB; it is kept in {folder.parent}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    text = Text()
    lines = text.lines()
    _write_files(folder, lines)
    with gateway(folder):
        pass  # it makes its tables and its settings
    rows = _rows(lines)
    messages = _write_database(folder / "state.db", size, rows)
    day = round(_DAY * min(1.0, size / _WHOLE))
    for file in days(folder):
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(json.dumps(it) + "\n" for it in itertools.islice(rows, day)), encoding="utf-8")
    built = Built(_VERSION, (folder / "state.db").stat().st_size, messages, text.own, text.permuted, day)
    about.write_text(json.dumps(asdict(built)) + "\n", encoding="utf-8")
    return built


def days(folder: Path) -> tuple[Path, ...]:
    """Return the days that follow a home: files that its :class:`Gateway` appends, each once, in this order."""
    return tuple(folder.with_name(f"{folder.name}.days") / f"{number:02d}.jsonl" for number in range(1, _DAYS + 1))


def _write_files(folder: Path, lines: Iterator[str]) -> None:
    """Write what else a home has: a persona, memories, skills, a workspace, pictures that do not compress."""
    chance = random.Random("files")
    names = ["SOUL.md", "memories/MEMORY.md", "memories/USER.md"]
    names += [f"skills/skill-{it}/SKILL.md" for it in range(20)]
    names += [f"workspace/project-{it % 12}/notes-{it:03d}.md" for it in range(_WORKSPACE_FILES)]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_piece(lines, chance.randint(1_000, 30_000)), encoding="utf-8")
    for number in range(_PICTURES):
        path = folder / f"cache/images/{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(300_000))


def _write_database(path: Path, size: int, rows: Iterator[_Row]) -> int:
    written = 0
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-400000;")
        while _bytes_of(connection) < size:
            batch = list(itertools.islice(rows, _BATCH))
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT OR IGNORE INTO sessions (id, source, started_at, title) VALUES (?, 'telegram', ?, ?)",
                [(row[0], row[4], f"{row[0]} {row[2][:40]}") for row in batch if row[1] == "user"],
            )
            connection.executemany(_INSERT, batch)
            connection.execute("COMMIT")
            written += len(batch)
        connection.execute("PRAGMA journal_mode=WAL")
    return written


def _bytes_of(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    return int(pages) * 4096


def _rows(lines: Iterator[str]) -> Iterator[_Row]:
    chance = random.Random("messages")
    began = 1_760_000_000.0
    for number in itertools.count():
        role = ("user", "assistant", "tool", "assistant")[number % 4]
        text = _piece(lines, chance.randint(*_SIZES[role]))
        tool = chance.choice(("terminal", "read_file", "web_search")) if role == "tool" else None
        yield f"20251009_{number // _SESSION:08d}", role, text, tool, began + 7.0 * number, len(text) // 4


def _piece(lines: Iterator[str], size: int) -> str:
    """Take lines until there are about so many characters; a very long line is cut."""
    taken: list[str] = []
    length = 0
    while length < size:
        line = next(lines)[: 2 * size]
        taken.append(line)
        length += len(line)
    return "".join(taken)


class Gateway:
    """hermes-agent with a home open: in WAL mode and idle, but when it is given a day."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self.pid = child.pid
        self._said()

    def append(self, day: Path) -> None:
        """Let it take a day's messages, one by one, as they come in."""
        if self._child.stdin is None:
            raise SystemExit("bench: hermes-agent takes nothing")
        self._child.stdin.write(f"{day}\n")
        self._child.stdin.flush()
        self._said()

    def _said(self) -> None:
        if self._child.stdout is None or self._child.stdout.readline() != "done\n":
            raise SystemExit("bench: hermes-agent ended before it had done what it was told")


@contextlib.contextmanager
def gateway(home: Path) -> Iterator[Gateway]:
    """Keep a home open by hermes-agent's own classes as long as the block lasts."""
    argv = [str(hermes_python()), str(Path(__file__).with_name("gateway.py")), str(home)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        yield Gateway(child)
    if child.returncode:
        raise SystemExit(f"bench: hermes-agent ended with {child.returncode}")
