"""What a contestant is: the commands by which it backs up and brings back, and where its bytes lie."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Argv = tuple[str, ...]
Kind = Literal["ours", "peer", "limit"]
_DATA = 1 << 18  # bytes: what is larger holds data, and no list of it


@dataclass(frozen=True)
class Contestant:
    """A way to back up a home and to bring it back. All that it writes lies in ``folder``.

    Attributes:
        kind: this program, another tool that makes backups, or a pipe that only shows what the machine can do.
        prepare: makes an empty repository; its time does not count.
        backup: as each night.
        unchanged: the same where nothing changed; none if there is no other way to call it.
        restore: brings the newest backup back into ``back``.
        one: brings back SOUL.md alone; none if it cannot.
        leave: as ``restore``, but search indexes are left to hermes-agent; none if they come back anyway.
        alone: each backup is whole, so only the newest is kept on disk; all are counted.
        first_only: takes part in the first backup alone.
        version: prints its version.
        memory: the bytes that it may take, as it was told; only this program is told any.
    """

    name: str
    kind: Kind
    folder: Path
    backup: Argv
    restore: Argv
    one: Argv | None = None
    leave: Argv | None = None
    unchanged: Argv | None = None
    prepare: Argv | None = None
    alone: bool = False
    first_only: bool = False
    version: Argv | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    memory: int = 0

    @property
    def repository(self) -> Path:
        """Where backups lie; what is in it is what is stored."""
        return repository(self.folder)

    @property
    def back(self) -> Path:
        """Where they are brought back to."""
        return back(self.folder)

    def begin(self) -> None:
        """Remove all that it wrote: its repository, its caches, its memory of both."""
        for it in (self.repository, self.folder / "cache"):
            shutil.rmtree(it, ignore_errors=True)
            it.mkdir(parents=True, mode=0o700)

    def make_room(self) -> None:
        """Empty the folder that is brought back to."""
        shutil.rmtree(self.back, ignore_errors=True)
        self.back.mkdir(mode=0o700)

    def files(self) -> dict[Path, int]:
        """Return what lies in its repository, and how many bytes each file has."""
        return {it: it.stat().st_size for it in self.repository.rglob("*") if it.is_file()}

    @property
    def newest(self) -> int:
        """The bytes of the data that it stored last, where each backup is whole and only the newest is kept."""
        return sum(size for size in self.files().values() if size > _DATA)

    def forget(self, before: Mapping[Path, int]) -> int:
        """Remove data that was there ``before`` where newer is and each is whole; return how many bytes that was."""
        now = {it for it, size in self.files().items() if size > _DATA}
        gone = now & before.keys()
        if not self.alone or gone == now:
            return 0
        for it in gone:
            it.unlink()
        return sum(before[it] for it in gone)


def repository(folder: Path) -> Path:
    """Return where a contestant's backups lie."""
    return folder / "repository"


def back(folder: Path) -> Path:
    """Return where a contestant brings back to."""
    return folder / "back"


def shell(*lines: str) -> Argv:
    """Return a shell that ends at the first command that fails, also in a pipe."""
    return ("bash", "-euo", "pipefail", "-c", "\n".join(lines))


def word(value: object) -> str:
    """Quote one word for the shell."""
    return shlex.quote(str(value))
