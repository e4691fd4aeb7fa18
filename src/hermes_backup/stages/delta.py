"""When a snapshot is made as a delta, and when not: a pure decision, and the settings that it goes by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.stages.units import Duration, Size, show_duration
from hermes_backup.streams.patching import LARGEST, OVERHEAD, table_of_matches

TOO_LARGE = "the last full one and the new one do not fit the memory allowed"
GROWN = "the home has more than doubled"
_ENTRY = 1536  # bytes that the list of files takes for each, measured with 40,000
_GAIN = 2  # a patch that has not half the size of a full makes every restore dearer for little


class Room(NamedTuple):
    """How many bytes there is room for, and what to say of more."""

    size: int
    beyond: str


class Delta(BaseModel):
    """Send only what changed since the last full snapshot: a zstd patch against it, never against another delta.

    The last full is kept on the host for that, compressed, in the pipeline's state folder. Needs tar and zstd.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    full_every: Duration = Field(default=timedelta(days=7))
    """How old the last full may be."""
    memory: Size = Field(default="512M", validate_default=True)
    """What a run may use; where the last full and the new one do not fit, a full one is made, which needs far less."""

    @field_validator("memory")
    @classmethod
    def _enough(cls, value: int) -> int:
        if value <= OVERHEAD:
            raise ValueError(f"the program alone needs {OVERHEAD >> 20}M; write for example 512M")
        return value

    @property
    def largest(self) -> int:
        """The largest archive, in bytes before compression, that is worth to be kept as a base."""
        half = (self.memory - OVERHEAD) // 2
        return min(half - table_of_matches(half) // 2, LARGEST)

    def room(self, base: int, entries: int) -> Room:
        """Return how large the new archive of so many entries may be beside a base of so many bytes.

        What has grown to more than twice the base is new for the most part.
        """
        left = self.memory - OVERHEAD - entries * _ENTRY - base
        fits = min(left - table_of_matches(min(left, 2 * base)), LARGEST)
        return Room(fits, TOO_LARGE) if fits < 2 * base else Room(2 * base, GROWN)


@dataclass(frozen=True)
class BaseFacts:
    """What decides whether the last full can be a base.

    ``size`` is that of its archive, before compression, ``kept`` whether that lies on the host. ``signer`` signed its
    manifest; ``settings`` are those that it was made under; ``missing`` says of places that they do not hold it;
    ``opens``: who can open the new snapshot can open it, too; ``followed``: the last snapshot is it, or a delta of it.
    """

    name: SnapshotName
    size: int
    kept: bool
    signer: str
    settings: str
    missing: tuple[str, ...]
    opens: bool
    followed: bool


def full_because(base: BaseFacts | None, delta: Delta, *, now: datetime, signer: str, settings: str) -> str:
    """Say why a full snapshot is due; nothing where a delta will do.

    Who restores needs the base, so it must be there, be signed by the key that is pinned, and open to the same keys.
    """
    if base is None:
        return "no full one is remembered"
    age = now - base.name.time
    reasons = (
        (base.size > delta.largest, TOO_LARGE),
        (not base.kept, f"{base.name} is not kept on the host"),
        (age < timedelta(0), f"the clock went back behind {base.name}"),
        (age >= delta.full_every, f"{base.name} is older than {show_duration(delta.full_every)}"),
        (base.settings != settings, f"other settings than those of {base.name}"),
        (base.signer != signer, f"another key signed {base.name}"),
        (not base.opens, f"{base.name} has another passphrase"),
        (not base.followed, f"a later full one than {base.name} was not kept"),
        (bool(base.missing), "; ".join(base.missing)),
    )
    return next((said for holds, said in reasons if holds), "")


def largest_patch(packed: int) -> int:
    """Return how large a patch may be against a base that has so many bytes compressed, to be worth it."""
    return packed // _GAIN
