"""Restore as a process of its own that stands still in one stage until it is told to end.

Usage: standing.py CONFIG_FILE KEY_FILE TARGET STAGE. Prints "here" when it stands. STAGE+ is in the midst of a stage.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from hermes_backup.errors import Fault
from hermes_backup.pipeline.choosing import choose
from hermes_backup.pipeline.config import load, pipeline_of
from hermes_backup.pipeline.restoring import restore
from hermes_backup.pipeline.unpacking import Source
from hermes_backup.snapshots.signing import Pinned
from tests.pipeline.forge import Witness


class Standing(Witness):
    """Stands still where it is told to."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    def stage(self, name: str) -> None:
        self._come_to(name)

    def progress(self, stage: str, done: int, total: int) -> None:
        del done, total
        self._come_to(f"{stage}+")

    def _come_to(self, where: str) -> None:
        if where == self._where:
            print("here", flush=True)
            until = time.monotonic() + 60
            while time.monotonic() < until:  # Python does not notice a signal that comes just before one long sleep
                time.sleep(0.05)


def main() -> int:
    config = load(Path(sys.argv[1]).read_text(), "test")
    pipeline = pipeline_of(config, "nightly")
    target = Path(sys.argv[3])
    with Pinned.load(Path(sys.argv[2]).read_text(), target.parent / "pins") as pinned:
        try:
            standing = Standing(sys.argv[4])
            chosen = choose(config, pipeline, "latest", "", pinned, standing)
            restore(Source(config, pipeline, chosen, pinned), target, standing)
        except Fault as fault:
            print(fault, file=sys.stderr)
            return int(fault.kind.exit_code)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
