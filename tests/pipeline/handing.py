"""A snapshot as the trusted machine hands it over to a host, and how the host's home looks before and after."""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermes_backup.pipeline.choosing import choose
from hermes_backup.pipeline.comparing import compare
from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.pipeline.handover import Compared, Handover, Replaced, Wanted, read_head, write_head
from hermes_backup.pipeline.replacing import replace
from hermes_backup.pipeline.unpacking import Source, opened
from tests.pipeline.forge import Witness, pinned
from tests.site import Site


@dataclass(frozen=True)
class Sent:
    """What the trusted machine sends, as bytes."""

    data: bytes

    def put(self, witness: Witness | None = None) -> tuple[Replaced, Witness]:
        pipe, witness = io.BytesIO(self.data), witness or Witness()
        return replace(read_head(pipe), pipe, witness), witness

    def compared(self) -> Compared:
        return compare(read_head(io.BytesIO(self.data)))

    def run(self, step: int) -> subprocess.CompletedProcess[bytes]:
        argv = [sys.executable, "-m", "tests.pipeline.killed", str(step)]
        return subprocess.run(argv, input=self.data, capture_output=True, check=False)


def sent(
    site: Site,
    only: Sequence[str] = (),
    *,
    start: bool = True,
    leave_indexes: bool = False,
    purpose: Any = "replace",
    **settings: Any,
) -> Sent:
    """Take the latest snapshot to the pipe."""
    config = site.config(site.usual())
    pipeline = pipeline_of(config, "nightly")
    with pinned(site) as pin:
        source = Source(config, pipeline, choose(config, pipeline, "latest", "", pin, Witness()), pin)
        with opened(source, Witness()) as (plain, _):
            wanted = Wanted(purpose=purpose, only=tuple(only), start=start, leave_indexes=leave_indexes)
            config = site.config(site.usual(), **settings)
            head = Handover(wanted, config, plain.manifest, plain.members, plain.remakings)
            return Sent(b"".join([*write_head(head), *plain.packed()]))


def picture(folder: Path) -> dict[str, tuple[int, str]]:
    """Modes and contents of everything in a folder; of databases the rows of their table."""
    found = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        said = ""
        if path.is_symlink():
            said = os.readlink(path)
        elif path.suffix == ".db":
            with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as opened_:
                said = str(opened_.execute("SELECT count(*) FROM messages").fetchone())
        elif path.is_file():
            said = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.name[-4:] not in ("-shm", "-wal") and path.parent.name != "logs" and path.name != "logs":
            found[str(path.relative_to(folder))] = (stat.S_IMODE(info.st_mode), said)
    return found


def asides(site: Site) -> list[Path]:
    return sorted(site.root.glob("home.before-*"))


def spoil(site: Site) -> None:
    """Let the agent forget, and learn something else."""
    (site.home / "SOUL.md").write_text("I am another.\n")
    (site.home / "memories" / "MEMORY.md").unlink()
    (site.home / "skills" / "new.md").write_text("new")
    with closing(sqlite3.connect(site.home / "state.db")) as database, database:
        database.execute("DELETE FROM messages WHERE rowid <= 50")


@contextmanager
def held_open(path: Path) -> Iterator[int]:
    """Let a process hold a file open meanwhile; its number is given."""
    with path.open("rb") as file, subprocess.Popen(["sleep", "60"], stdin=file) as holder:
        file.close()
        try:
            yield holder.pid
        finally:
            holder.kill()
