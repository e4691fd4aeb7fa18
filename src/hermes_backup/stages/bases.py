"""The last full snapshot's data, kept on the host for the deltas that follow it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.stages.stream import Packing
from hermes_backup.streams.coder import Chunks, read_chunks
from hermes_backup.streams.compression import Decompress
from hermes_backup.streams.patching import Prefix
from hermes_backup.streams.private import write_private


class Base(BaseModel):
    """A full snapshot that deltas may name.

    Attributes:
        manifest: what the host signed.
        settings: a digest of the settings that shaped it.
        signer: the fingerprint of the key that signed it.
        places: which places held it when it was made.
        packed: the bytes of the kept file; 0 where it was not kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest: Manifest
    settings: str
    signer: str
    places: tuple[str, ...]
    packed: int


class Bases:
    """The one base of a pipeline: a compressed archive, 0600, and what is known of it, in a 0700 folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "base"
        self._told = self._folder / "base.json"

    @property
    def probe(self) -> Path:
        """A few bytes, encrypted as the base's snapshot is."""
        return self._folder / "probe.gpg"

    def last(self) -> Base | None:
        """What is known of the last full snapshot; None where nothing is."""
        try:
            return Base.model_validate_json(self._told.read_bytes())
        except (OSError, ValidationError):
            return None

    def holds(self, base: Base) -> bool:
        """Whether its archive lies here, by its size."""
        try:
            return self._archive(base.manifest).stat().st_size == base.packed
        except OSError:
            return False

    def prefix(self, base: Base) -> Prefix:
        """Read the base into memory.

        Raises:
            Fault: DATA_DAMAGED; zstd's own check sum covers all of it.
            OSError: it cannot be read.
        """
        return Prefix.read(Decompress("zstd").code(self._read(base)), base.manifest.data.plain_size)

    def keep(self, base: Base, archive: Path | None, probe: bytes) -> None:
        """Keep another base instead of the one that was kept; ``archive``, if there is one, is moved."""
        self.forget()
        self._folder.mkdir(mode=0o700)
        if archive is not None:
            archive.replace(self._archive(base.manifest))
        if probe:
            write_private(self.probe, probe)
        write_private(self._told, base.model_dump_json(by_alias=True).encode())

    def lies_in(self, name: SnapshotName, places: Collection[str]) -> None:
        """Remember more places that hold the base, if ``name`` is it."""
        base = self.last()
        if base is not None and base.manifest.name == name:
            more = base.model_copy(update={"places": tuple(dict.fromkeys((*base.places, *places)))})
            write_private(self._told, more.model_dump_json(by_alias=True).encode())

    def forget(self) -> None:
        """Keep no base."""
        if self._folder.is_dir() and not self._folder.is_symlink():
            shutil.rmtree(self._folder)
        else:
            self._folder.unlink(missing_ok=True)

    def _archive(self, manifest: Manifest) -> Path:
        return self._folder / f"{manifest.name}.tar.zst"

    def _read(self, base: Base) -> Chunks:
        with self._archive(base.manifest).open("rb") as file:
            yield from read_chunks(file)


class Keeping:
    """A packing that also writes what comes out into a file, as long as what went in has at most ``largest`` bytes.

    A file that cannot be written is no reason to fail: then there is none, and ``tell`` is told.
    """

    def __init__(self, inner: Packing, path: Path, largest: int, tell: Callable[[str], None]) -> None:
        self._inner = inner
        self._path = path
        self._largest = largest
        self._tell = tell
        self._whole = False

    @property
    def suffix(self) -> str:
        """As of the packing."""
        return self._inner.suffix

    @property
    def algorithm(self) -> str:
        """As of the packing."""
        return self._inner.algorithm

    @property
    def kept(self) -> Path | None:
        """The file, once the stream has ended; None where there is none."""
        return self._path if self._whole else None

    def plain_size(self, archive: int) -> int:
        """As of the packing."""
        return self._inner.plain_size(archive)

    def code(self, chunks: Chunks) -> Chunks:
        """Code, and keep."""
        self._whole = False
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        counted = _Counted(chunks)
        writing = True
        try:
            for coded in self._inner.code(counted.chunks()):
                writing = writing and counted.size <= self._largest and self._written(descriptor, coded)
                yield coded
            self._whole = writing
        finally:
            os.close(descriptor)
            if not self._whole:
                self._path.unlink(missing_ok=True)

    def _written(self, descriptor: int, coded: bytes) -> bool:
        left = memoryview(coded)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        except OSError as error:
            self._tell(f"this snapshot cannot be kept as a base for deltas: {error.strerror}")
            return False
        return True


class _Counted:
    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self.size = 0

    def chunks(self) -> Chunks:
        try:
            for chunk in self._chunks:
                self.size += len(chunk)
                yield chunk
        finally:
            self._chunks.close()
