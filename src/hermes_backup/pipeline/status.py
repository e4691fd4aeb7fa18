"""The status of a run: one small JSON file a pipeline, replaced atomically, read by whoever follows the run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from hermes_backup.errors import ExitCode, Fault
from hermes_backup.streams.private import write_private

State = Literal["running", "done", "partial", "unchanged", "planned", "failed", "interrupted"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Trouble(_Model):
    """A fault, as it is told to people and machines."""

    name: str
    what: str
    where: str = ""
    mend: str = ""

    @classmethod
    def of(cls, fault: Fault) -> Trouble:
        """Tell a fault."""
        return cls(name=fault.kind.name, what=fault.what, where=fault.where, mend=fault.mend)


class PartialFile(_Model):
    """A file that the snapshot lacks or holds as it lay, and why."""

    path: str
    reason: str


class Heartbeat(_Model):
    """A run that began at ``at`` found the home to be what a snapshot holds."""

    snapshot: str
    at: AwareDatetime


class Status(_Model):
    """A run under way or done. Sizes are in bytes, ``stored`` counts one place; times are UTC.

    ``heartbeat`` is the last one, of this run or of one before: a run that fails, or has only begun, takes nothing of
    what is known.
    """

    run_id: str
    pid: int
    host: str
    pipeline: str
    state: State = "running"
    stage: str = ""
    done: int = 0
    total: int = 0
    started: AwareDatetime
    updated: AwareDatetime
    finished: AwareDatetime | None = None
    exit_code: ExitCode | None = None
    snapshot: str | None = None
    heartbeat: Heartbeat | None = None
    files: int = 0
    bytes: int = 0
    stored: int = 0
    places: tuple[str, ...] = ()
    partial: tuple[PartialFile, ...] = ()
    warnings: tuple[str, ...] = ()
    error: Trouble | None = None
    public_key: str | None = Field(default=None, max_length=20_000, pattern=r"^[\x09\x0a\x0d\x20-\x7e]*$")
    plan: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Replace the file at ``path``, 0600."""
        write_private(path, self.model_dump_json().encode())

    @classmethod
    def read(cls, path: Path) -> Status:
        """Read a status file.

        Raises:
            OSError: there is none; ValueError: it is not one.
        """
        return cls.model_validate_json(path.read_bytes())
