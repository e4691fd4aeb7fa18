"""What a host remembers between runs: how far its chain is, and what the last snapshot was made of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.streams.private import write_private


class Entry(BaseModel):
    """The last committed snapshot.

    Attributes:
        manifest: what the host signed; it tells nothing that the agent knows.
        manifest_sha256: of the manifest file as signed; the next manifest names it.
        content: a digest over everything archived (names, kinds, modes, owners, contents), for ``if_changed``.
        settings: a digest of the settings that shaped the snapshot.
        places: which places hold it.
        unsent: the signed manifest, from right before the first place gets it until it is known which hold it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest: Manifest
    manifest_sha256: str
    content: str
    settings: str
    places: tuple[str, ...]
    unsent: str = ""


class Ledger:
    """The host's memory of one pipeline, a small file below its state folder, replaced atomically."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "ledger.json"

    def last(self) -> Entry | None:
        """The last snapshot that was committed anywhere; None before the first, or when the memory is damaged."""
        try:
            return Entry.model_validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def record(self, entry: Entry) -> None:
        """Remember a committed snapshot."""
        write_private(self._path, entry.model_dump_json(by_alias=True).encode(), durable=True)

    def go_on(self, signed: Iterable[tuple[Manifest, str]]) -> None:
        """Let the next snapshot follow the newest of those that our own key signed, where it is newer than the last.

        Each comes with the SHA-256 of its manifest as signed. What it was made of is not known, so that it never
        counts as unchanged.
        """
        last = self.last()
        best = max(signed, key=lambda it: it[0].name, default=None)
        if best is not None and (last is None or last.manifest.name < best[0].name):
            self.record(Entry(manifest=best[0], manifest_sha256=best[1], content="", settings="", places=()))
