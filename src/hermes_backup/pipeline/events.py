"""What happens in a run, told to the status file and to a log of one JSON object a line.

That they cannot be written, on a full disk say, does not end a run: it has its own ways to say so.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hermes_backup.errors import ExitCode, Fault
from hermes_backup.pipeline.status import Heartbeat, PartialFile, State, Status, Trouble
from hermes_backup.snapshots.manifest import Manifest

_BETWEEN = 0.25  # seconds between two writes of the status while only progress is told


class Recorder:
    """Keeps the status of a run and its event log; may be told from several threads."""

    def __init__(self, folder: Path, status: Status) -> None:
        self._path = folder / "status.json"
        self._status = status
        self._lock = threading.Lock()
        self._written = 0.0
        self._log = os.open(folder / "events.jsonl", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._update()

    @property
    def status(self) -> Status:
        """The status as it stands."""
        return self._status

    def stage(self, name: str) -> None:
        """A stage begins."""
        self._event("stage", stage=name)
        self._update(stage=name, done=0, total=0)

    def progress(self, stage: str, done: int, total: int) -> None:
        """So many bytes of so many are done; told four times a second at most."""
        del stage
        if time.monotonic() - self._written >= _BETWEEN:
            self._update(done=done, total=total)

    def warn(self, stage: str, text: str) -> None:
        """Something that the operator should know."""
        self._event("warning", stage=stage, text=text)
        self._update(warnings=(*self._status.warnings, f"{stage}: {text}"))

    def note(self, stage: str, text: str) -> None:
        """Something worth a line in the log."""
        self._event("note", stage=stage, text=text)

    def published(self, manifest: Manifest, places: tuple[str, ...]) -> None:
        """A snapshot was committed."""
        self._event("published", snapshot=str(manifest.name), places=list(places))
        self.describe(manifest, places)

    def describe(self, manifest: Manifest, places: tuple[str, ...]) -> None:
        """Tell which snapshot this run made or found."""
        self._update(
            snapshot=str(manifest.name),
            files=manifest.files,
            bytes=manifest.bytes,
            stored=sum(part.size for part in manifest.parts),
            places=places,
            partial=tuple(PartialFile(path=it.path, reason=it.reason) for it in manifest.partial),
        )

    def heartbeat(self, heartbeat: Heartbeat | None) -> None:
        """Tell which snapshot this run found the home to be the same as; None for a home that has changed."""
        self._update(heartbeat=heartbeat)

    def key(self, armored: str) -> None:
        """Tell the host's public signing key."""
        self._update(public_key=armored)

    def finish(self, state: State, code: ExitCode, fault: Fault | None = None, plan: tuple[str, ...] = ()) -> Status:
        """End the run and return its last status."""
        trouble = None
        if fault is not None:
            trouble = Trouble.of(fault)
        self._event("finished", state=state, exit_code=int(code), error=trouble.model_dump() if trouble else None)
        self._update(state=state, exit_code=code, error=trouble, plan=plan, finished=datetime.now(timezone.utc))
        os.close(self._log)
        return self._status

    def _event(self, kind: str, **data: Any) -> None:
        row = {"time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), "event": kind, **data}
        with self._lock, suppress(OSError):
            os.write(self._log, json.dumps(row).encode() + b"\n")

    def _update(self, **changes: Any) -> None:
        with self._lock:
            changes["updated"] = datetime.now(timezone.utc)
            self._status = self._status.model_copy(update=changes)
            self._written = time.monotonic()
            with suppress(OSError):
                self._status.write(self._path)
