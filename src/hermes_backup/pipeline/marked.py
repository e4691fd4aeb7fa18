"""The marks of the home that the last snapshot was made of, kept beside the ledger, and when they are believed."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_backup import __version__
from hermes_backup.home.marks import Marks
from hermes_backup.stages.ledger import Entry
from hermes_backup.streams.private import write_private

LONGEST_NS = 24 * 3600 * 10**9
"""After it a home is compared by content again, whatever its marks say."""
_DRIFT_NS = 1_000_000_000  # more than a clock is moved at once without being set
_SLEWED = 1000  # a clock that is corrected runs at most so much too fast or slow: adjtimex(2) allows 1 in 2000
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_FILE = "marks.json"


@dataclass(frozen=True)
class Moment:
    """A moment by two clocks, in nanoseconds: since the kernel's start, which nobody can set, and of the calendar."""

    boot: str
    since_boot: int
    wall: int

    @classmethod
    def now(cls) -> Moment:
        """Return this moment; without a boot's number, no two moments are of one boot."""
        boot = ""
        with suppress(OSError):
            boot = _BOOT.read_text(encoding="ascii").strip()
        return cls(boot, time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())


class Marked(BaseModel):
    """Marks, and what they are bound to.

    Attributes:
        snapshot: the SHA-256 of the manifest, as signed, of the snapshot that holds what was marked.
        settings: a digest of everything declared that shapes a snapshot.
        engine: the version that made it.
        moment: when they were taken, just before the home was read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    snapshot: str
    settings: str
    engine: str
    moment: Moment
    marks: Marks

    @classmethod
    def of(cls, last: Entry, marks: Marks, moment: Moment) -> Marked:
        """Bind marks to the snapshot that was made, or found to be the same, of what they are of."""
        return cls(
            snapshot=last.manifest_sha256, settings=last.settings, engine=__version__, moment=moment, marks=marks
        )

    def doubt(self, last: Entry, now: Moment) -> str:
        """Say why they tell nothing of the last snapshot's home, whatever they are; empty where they do.

        After a start of the machine they tell nothing: what was written last before a crash may lie on the disk
        without its time.
        """
        if (self.snapshot, self.settings, self.engine) != (last.manifest_sha256, last.settings, __version__):
            return "the marks are of another snapshot"
        if not now.boot or self.moment.boot != now.boot:
            return "the machine was started since"
        age = now.since_boot - self.moment.since_boot
        if not 0 <= age <= LONGEST_NS:
            return "the last compare by content is a day old"
        if abs(now.wall - self.moment.wall - age) > _DRIFT_NS + age // _SLEWED:
            return "the clock was set since"
        return ""


def read(folder: Path) -> Marked | None:
    """Return what is remembered in a pipeline's state folder; None where there is nothing that can be read."""
    try:
        return Marked.model_validate_json((folder / _FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def write(folder: Path, marked: Marked) -> None:
    """Remember, in a file that only its owner may read.

    Raises:
        OSError: it cannot be written.
    """
    write_private(folder / _FILE, marked.model_dump_json().encode())


def forget(folder: Path) -> None:
    """Remember nothing.

    Raises:
        OSError: what there is cannot be removed.
    """
    (folder / _FILE).unlink(missing_ok=True)
