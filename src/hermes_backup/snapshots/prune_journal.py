"""What a prune is about to delete, written down before: the next one ends what a killed one had begun."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_backup.streams.private import write_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class _Going(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    going: dict[str, tuple[str, ...]] = {}


class PruneJournal:
    """A small file of whoever prunes, 0600, for one pipeline of a host; what it names, valid manifests named.

    Where it cannot be read or written, prune works all the same, and only a killed one stays unfinished.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def going(self, place: str) -> tuple[str, ...]:
        """Return the files whose deletion was begun in a place, and that nobody has seen to be gone."""
        return self._read().going.get(place, ())

    def begin(self, place: str, files: Sequence[str]) -> None:
        """Note files before the first of them goes."""
        self._write({**self._read().going, place: tuple(files)})

    def end(self, place: str) -> None:
        """Note that all are gone."""
        going = self._read().going
        if place in going:
            self._write({name: files for name, files in going.items() if name != place})

    def _read(self) -> _Going:
        with suppress(OSError, ValidationError):
            return _Going.model_validate_json(self._path.read_bytes())
        return _Going()

    def _write(self, going: dict[str, tuple[str, ...]]) -> None:
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._path, _Going(going=going).model_dump_json().encode(), durable=True)
