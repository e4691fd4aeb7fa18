"""What a drill proved, as it is signed and kept beside the snapshots.

It tells counts, times, and the names that manifests and configurations tell anyway: nothing that the agent knows.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hermes_backup.snapshots.manifest import Count, Folder, Moment, Sha256, Text

SUFFIX = ".drill.asc"
Seconds = Annotated[float, Field(ge=0)]
Result = Literal["passed", "failed", "stale"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", populate_by_name=True)


class Seen(_Model):
    """One thing that was looked at; ``name`` is that of the error, where it failed."""

    what: Text
    verdict: Literal["ok", "failed", "unproven"]
    evidence: Text
    name: str = ""


class Phases(_Model):
    """Seconds: to find the snapshot, to bring its bytes here, to decrypt and unpack them, to check what came out."""

    look: Seconds = 0.0
    fetch: Seconds = 0.0
    extract: Seconds = 0.0
    check: Seconds = 0.0

    @property
    def total(self) -> float:
        """From nothing to a usable home."""
        return self.look + self.fetch + self.extract + self.check


class Tested(_Model):
    """One snapshot that was brought back."""

    snapshot: str
    manifest_sha256: Sha256
    files: Count
    bytes: Count
    phases: Phases
    findings: tuple[Seen, ...]


class Evidence(_Model):
    """A drill of one host. Ages and gaps are in seconds; ``allowed`` is how old the newest snapshot may be."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    host: Folder
    drill: Folder
    pipeline: str
    place: Text
    started: Moment
    finished: Moment
    result: Result
    newest: str | None
    age: float | None
    allowed: Seconds
    largest_gap: Seconds | None
    findings: tuple[Seen, ...]
    snapshots: tuple[Tested, ...]
    engine: Text


def to_json(evidence: Evidence) -> str:
    """Return the text that is signed: ASCII, ending in a newline."""
    return json.dumps(evidence.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True) + "\n"


def from_json(text: str) -> Evidence:
    """Read what :func:`to_json` wrote.

    Raises:
        ValueError: it is none.
    """
    return Evidence.model_validate_json(text)


def evidence_name(started: datetime) -> str:
    """Return the file name of a drill's evidence, such as ``20261121T040000Z.drill.asc``."""
    return f"{started:%Y%m%dT%H%M%SZ}{SUFFIX}"
