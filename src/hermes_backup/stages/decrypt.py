"""Stage ``decrypt``: fetch the bytes, prove them against the manifest, and only then decrypt."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from hermes_backup.errors import DATA_DAMAGED, KEY_PASSPHRASE, Fault
from hermes_backup.snapshots.index import from_bytes, require_bounded
from hermes_backup.snapshots.manifest import Manifest, Part
from hermes_backup.snapshots.names import folder_of
from hermes_backup.snapshots.proving import matching
from hermes_backup.snapshots.remaking import from_bytes as remakings_from_bytes
from hermes_backup.stages.context import Context
from hermes_backup.stages.credentials import credential
from hermes_backup.stages.fetch import base_of
from hermes_backup.stages.room import require_room
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Plaintext, Snapshot
from hermes_backup.streams.ahead import ahead
from hermes_backup.streams.coder import Chunks, join, read_chunks
from hermes_backup.streams.compression import Compress, Decompress, algorithm_of
from hermes_backup.streams.gpg import Decrypt as GpgDecrypt
from hermes_backup.streams.members import Member
from hermes_backup.streams.patching import Prefix, Unpatch, require_memory


class Decrypt(Stage):
    """Bring the snapshot's files here, check size and hash, and decrypt them on the way to the next stage."""

    name: ClassVar[str] = "decrypt"
    takes: ClassVar[tuple[type, ...]] = (Snapshot,)
    gives: ClassVar[type] = Plaintext

    passphrase_credential: str | None = None
    """For snapshots encrypted with a passphrase: as in ``encrypt``."""

    def run(self, value: Any, context: Context) -> Plaintext:
        """Fetch and prove; the index is read at once, the data when somebody pulls."""
        snapshot: Snapshot = value
        manifest = snapshot.manifest
        secret = self._secret(manifest)
        listed = self._index(snapshot, context)  # small, and refuses early what would be fetched for nothing
        if manifest.base is not None:
            chunks = self._patched(snapshot, context)
            packed = partial(_packed_again, chunks)
        else:
            chunks = partial(_open, manifest.data, secret, context)
            packed = partial(_decrypted, manifest.data, secret, context)
        _fetch(snapshot, manifest.data, context)
        return Plaintext(manifest, from_bytes(listed), lambda: ahead(chunks()), packed, remakings_from_bytes(listed))

    def index(self, snapshot: Snapshot, context: Context) -> tuple[Member, ...]:
        """Fetch, prove and decrypt the list of files alone.

        Raises:
            Fault: INDEX_TOO_LARGE, DATA_DAMAGED, KEY_SECRET_MISSING, KEY_PASSPHRASE, REMOTE_UNREACHABLE.
        """
        return from_bytes(self._index(snapshot, context))

    def _index(self, snapshot: Snapshot, context: Context) -> bytes:
        part = snapshot.manifest.index
        if part is None:
            return b""
        require_bounded(part)
        _fetch(snapshot, part, context)
        return b"".join(_open(part, self._secret(snapshot.manifest), context))

    def image(self, snapshot: Snapshot, target: Path, context: Context) -> None:
        """Bring an image into a file that is not there yet, decrypted as it comes.

        Nobody may look at the file before this returns: only then are size and hash proven.

        Raises:
            Fault: DATA_DAMAGED, KEY_PASSPHRASE, KEY_SECRET_MISSING, REMOTE_UNREACHABLE, DISK_FULL; the file is gone
                then.
        """
        part = snapshot.manifest.data
        require_room(target.parent, part.plain_size)
        chunks = _arriving(snapshot, part, context)
        if part.name.endswith(".gpg"):
            chunks = _gpg(self._secret(snapshot.manifest), context).code(chunks)
        try:
            with target.open("xb") as file:
                for chunk in capped(chunks, part):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())  # after a loss of power what was written to the home lies above a whole image
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def begin(self, manifest: Manifest, part: Part, context: Context) -> Chunks:
        """Prove a part that was brought into the run's folder before, and start to decrypt it.

        gpg starts at once, so that several can; nothing comes out of it before somebody pulls.

        Raises:
            Fault: DATA_DAMAGED, KEY_PASSPHRASE; and those of decryption when somebody pulls.
        """
        for _ in matching(_read(context.folder / part.name), part):
            pass
        return _open(part, self._secret(manifest), context)

    def _patched(self, delta: Snapshot, context: Context) -> Callable[[], Chunks]:
        """Fetch and prove the base of a delta, and return how to start the delta's archive.

        Raises:
            Fault: BASE_MISSING, or why the base cannot be trusted.
        """
        base = base_of(delta, context)
        part, secret = base.manifest.data, self._secret(base.manifest)
        require_memory(part.plain_size + delta.manifest.data.plain_size)
        _fetch(base, part, context)
        unpatch = Unpatch(lambda: Prefix.read(_open(part, secret, context), part.plain_size))
        own = self._secret(delta.manifest)
        data = delta.manifest.data
        return lambda: capped(join(_decrypted(data, own, context), [unpatch]), data)

    def _secret(self, manifest: Manifest) -> Path | None:
        """Say where the passphrase is; what is declared now may be other than what the snapshot was made with."""
        if manifest.encryption != "passphrase":
            return None
        if self.passphrase_credential is None:
            raise Fault(KEY_PASSPHRASE, "the snapshot needs a passphrase, and none is declared", where=self.name)
        return credential(self.passphrase_credential)


def _open(part: Part, secret: Path | None, context: Context) -> Chunks:
    return unpacked(_decrypted(part, secret, context), part)


def _decrypted(part: Part, secret: Path | None, context: Context) -> Chunks:
    path = context.folder / part.name
    if not part.name.endswith(".gpg"):
        return _read(path)
    return _gpg(secret, context).file(path)


def _gpg(secret: Path | None, context: Context) -> GpgDecrypt:
    """With a passphrase gpg needs no keys, but a folder: with --no-options it makes none, and fails (2.2, seen)."""
    if secret is None:
        return GpgDecrypt(context.gnupghome)
    folder = context.folder / "no-keys"
    folder.mkdir(mode=0o700, exist_ok=True)
    return GpgDecrypt(folder, secret, keys=False)


def unpacked(chunks: Chunks, part: Part) -> Chunks:
    """Decompress a part that is decrypted, and give no byte more than its manifest promises.

    Raises:
        Fault: DATA_DAMAGED.
    """
    return capped(join(chunks, [Decompress(algorithm_of(part.name))]), part)


def _packed_again(chunks: Callable[[], Chunks]) -> Chunks:
    """Compress the archive of a delta for one way: who gets it has no base."""
    return Compress(level=1, long=False).code(chunks())


def _fetch(snapshot: Snapshot, part: Part, context: Context) -> None:
    """Bring a part into the run's folder.

    Raises:
        Fault: DISK_FULL, DATA_DAMAGED, REMOTE_UNREACHABLE.
    """
    require_room(context.folder, part.size)
    with (context.folder / part.name).open("wb") as file:
        for chunk in _arriving(snapshot, part, context):
            file.write(chunk)


def _arriving(snapshot: Snapshot, part: Part, context: Context) -> Chunks:
    """Yield what a place holds, and raise at the end where it is not what the manifest says."""
    place = snapshot.places[0]
    path = f"{folder_of(snapshot.manifest.host, snapshot.manifest.pipeline)}/{part.name}"
    done = 0
    try:
        for chunk in matching(place.read(path), part):
            done += len(chunk)
            yield chunk
            context.listener.progress("fetch", done, part.size)
    except Fault as fault:
        raise Fault(fault.kind, fault.what, where=place.label, mend=fault.mend) from None


def _read(path: Path) -> Chunks:
    with path.open("rb") as file:
        yield from read_chunks(file)


def capped(chunks: Chunks, part: Part) -> Chunks:
    """Let through exactly as many bytes as the manifest promises: a zstd bomb ends here.

    Raises:
        Fault: DATA_DAMAGED.
    """
    size = 0
    try:
        for chunk in chunks:
            size += len(chunk)
            if size > part.plain_size:
                break
            yield chunk
    finally:
        chunks.close()
    if size != part.plain_size:
        said = "more" if size > part.plain_size else f"{size}"
        raise Fault(DATA_DAMAGED, f"{part.name} unpacks to {said} bytes, the manifest says {part.plain_size}")
