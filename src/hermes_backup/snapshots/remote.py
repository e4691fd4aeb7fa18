"""Snapshots in a remote that rclone knows: S3, SFTP, a mounted disk and everything else of its list."""

from __future__ import annotations

import contextlib
import hashlib
import re
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from hermes_backup.errors import (
    DISK_FULL,
    PUSH_FAILED,
    REMOTE_REFUSED,
    REMOTE_UNREACHABLE,
    SNAPSHOT_MISSING,
    SNAPSHOT_UNREADABLE,
    STAGE_FAILED,
    Fault,
    Kind,
)
from hermes_backup.snapshots import gate
from hermes_backup.snapshots.names import is_image
from hermes_backup.snapshots.place import CHUNK, UNPROVEN, StoredFile, check_path, is_temporary, temporary_name
from hermes_backup.snapshots.rclone import (
    APPEND_ONLY,
    LOOKUP,
    PUT_ONLY,
    STREAMED,
    TRANSFER,
    WHOLE,
    Features,
    Rclone,
    RcloneError,
)
from hermes_backup.streams import process
from hermes_backup.streams.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_HASHES = ("sha256", "sha1", "md5")  # the best that a remote knows is compared
_ABANDONED = "--min-age=24h"
_NOTHING_OVER = ("--ignore-existing", "--error-on-no-transfer")
_GRACE = 3.0
_FRACTION = re.compile(r"\.[0-9]+")
_NOT_READABLE = UNPROVEN


class RclonePlace:
    """The rclone address ``remote`` as a place; to ``sink`` and ``put``, put-only credentials suffice.

    ``append_only``: it lets no file be renamed, replaced or deleted, so files are sent under their own names.

    Raises:
        Fault: REMOTE_NAME, CONFIG_INVALID.
    """

    def __init__(
        self, remote: str, config: Path | None = None, bandwidth: str | None = None, *, append_only: bool = False
    ) -> None:
        self.remote = gate.address(remote)
        self.append_only = append_only
        self.rclone = Rclone(config, bandwidth)

    @property
    def label(self) -> str:
        """The address."""
        return self.remote

    def list(self, folder: str) -> tuple[StoredFile, ...]:
        """See Place."""
        try:
            # the slash spares a look whether this is a file
            entries = self.rclone.ls(self._at(folder) + "/", "--files-only", "--no-modtime", "--no-mimetype")
        except RcloneError as error:
            if error.absent:
                return ()
            raise error.fault(self.label, REMOTE_REFUSED if error.refused else REMOTE_UNREACHABLE) from error
        found = (StoredFile(entry["Name"], entry["Size"]) for entry in entries)
        return tuple(sorted((f for f in found if not is_temporary(f.name)), key=lambda f: f.name))

    def read(self, path: str) -> Iterator[bytes]:
        """See Place."""
        argv = self.rclone.argv("cat", self._at(path), flags=TRANSFER)
        child = process.spawn(argv, stage="fetch", stdout=process.PIPE)
        empty = True
        try:
            while chunk := child.stdout.read(CHUNK):
                empty = False
                yield chunk
            status = child.wait()
        finally:
            child.kill()
        if status:
            error = self.rclone.error(child.errors(), status)
            raise error.fault(f"{self.label}/{path}", self._why_unread(error, path))
        if empty and self._stat(path) is None:  # cat of an absent object of S3 ends well
            raise Fault(SNAPSHOT_MISSING, "there is no such file", where=f"{self.label}/{path}")

    def sink(self, path: str) -> RemoteSink:
        """See Place."""
        return RemoteSink(self, check_path(path))

    def put(self, path: str, data: bytes, *, replace: bool = False) -> str:
        """See Place. What an append-only remote has already stays as it is."""
        if replace and self.append_only and self._stat(path) is not None:
            return "it is there already"
        with self.sink(path) as sink:
            sink.write(data)
            return sink.commit(replace=replace)

    def delete(self, path: str) -> None:
        """See Place."""
        try:
            self.rclone.run("deletefile", self._at(path), flags=LOOKUP, stage="prune")
        except RcloneError as error:
            if not error.absent:
                raise error.fault(f"{self.label}/{path}") from error

    def move(self, path: str, target: str) -> None:
        """See Place."""
        try:
            self.rclone.run(
                "moveto", self._at(path), self._at(target), flags=(*TRANSFER, *_NOTHING_OVER), stage="quarantine"
            )
        except RcloneError as error:
            raise error.fault(
                f"{self.label}/{path}", REMOTE_REFUSED if error.refused else REMOTE_UNREACHABLE
            ) from error

    def fetch_many(self, folder: str, names: Sequence[str], target: Path) -> Mapping[str, Fault]:
        """See Place."""
        if not names:
            return {}
        with scratch() as private:
            listed = private / "names"
            listed.write_text("".join(f"{check_path(name)}\n" for name in names))
            flags = (f"--files-from-raw={listed}", "--no-traverse", "--transfers=16", "--checkers=16", *TRANSFER)
            copied = process.run(self.rclone.argv("copy", self._at(folder), str(target), flags=flags), stage="fetch")
        if not copied.returncode:
            return {}
        error = self.rclone.error(copied.stderr, copied.returncode)
        if error.no_room:
            raise error.fault(str(target), DISK_FULL)
        there = {file.name for file in self.list(folder)}  # a remote that is gone says so here
        said = self.rclone.errors_by_file(copied.stderr)
        return {
            name: said.get(name, error).fault(f"{self.label}/{folder}/{name}", SNAPSHOT_UNREADABLE)
            for name in names
            if name in there and not (target / name).exists()
        }

    def modified(self, folder: str) -> Mapping[str, datetime]:
        """See Place."""
        try:
            # what the server says: of S3, rclone would else ask for each object's own metadata
            entries = self.rclone.ls(self._at(folder) + "/", "--files-only", "--no-mimetype", "--use-server-modtime")
        except RcloneError as error:
            if error.absent:
                return {}
            raise error.fault(self.label) from error
        return {entry["Name"]: _time(entry["ModTime"]) for entry in entries}

    def sweep(self, folder: str, *, dry_run: bool = False) -> tuple[str, ...]:
        """See Place. A remote has no locks: what has not grown for a day is taken for dead."""
        try:
            if self.append_only or not self.features.partial_uploads:
                return ()
            entries = self.rclone.ls(self._at(folder), "--files-only", "--no-mimetype", _ABANDONED)
            swept = sorted(entry["Name"] for entry in entries if is_temporary(entry["Name"]))
            for name in swept if not dry_run else ():
                self.rclone.run("deletefile", self._hidden(f"{folder}/{name}"), flags=LOOKUP, stage="prune")
        except RcloneError as error:
            if error.absent:
                return ()
            raise error.fault(self.label) from error
        return tuple(swept)

    @cached_property
    def features(self) -> Features:
        """What the remote can do.

        Raises:
            RcloneError: it cannot be reached, or is not configured.
        """
        return self.rclone.features(self.remote, stage="push")

    def _at(self, path: str) -> str:
        return gate.join(self.remote, check_path(path))

    def _why_unread(self, error: RcloneError, path: str) -> Kind:
        """Tell a file that is refused from a remote that refuses everything: that does not show the folder either."""
        if error.absent:
            return SNAPSHOT_MISSING
        try:
            shown = error.refused and self.list(path.rpartition("/")[0])
        except Fault:
            shown = False
        return SNAPSHOT_UNREADABLE if shown else REMOTE_UNREACHABLE

    def _hidden(self, path: str) -> str:
        return gate.join(self.remote, path)

    def _stat(self, path: str) -> StoredFile | None:
        try:
            told = self.rclone.ls(self._at(path), "--stat", "--no-modtime", "--no-mimetype")
        except RcloneError as error:
            if error.absent:
                return None
            raise error.fault(f"{self.label}/{path}") from error
        return None if told["IsDir"] else StoredFile(told["Name"], told["Size"])


def _time(said: str) -> datetime:
    """Read a time of rclone's listings, which has as many digits of a second as the remote knows."""
    return datetime.fromisoformat(_FRACTION.sub("", said).replace("Z", "+00:00"))


class RemoteSink:
    """A file on its way into a remote, through the standard input of ``rclone rcat``. See Sink.

    rcat publishes what it has when its input ends, whatever the reason: so to give up is to end rclone first.
    """

    def __init__(self, place: RclonePlace, path: str) -> None:
        self._rclone = place.rclone
        self._where = f"{place.label}/{path}"
        self._final = gate.join(place.remote, path)
        try:
            features = place.features
        except RcloneError as error:
            raise error.fault(place.label) from error
        self._algorithm = next((name for name in _HASHES if name in features.hashes), None)
        self._hash = hashlib.new(self._algorithm, usedforsecurity=False) if self._algorithm else None
        folder, _, name = path.rpartition("/")
        hidden = f"{folder}/{temporary_name(name)}"
        aside = features.partial_uploads and not place.append_only
        self._staged = gate.join(place.remote, hidden) if aside else self._final
        self._size = 0
        self._open = True
        more = (*(APPEND_ONLY if place.append_only else ()), *(WHOLE if is_image(name) else ()))
        argv = self._rclone.argv("rcat", self._staged, flags=(*PUT_ONLY, *STREAMED, *TRANSFER, *more))
        self._child = process.spawn(argv, stage="push", stdin=process.PIPE)

    def write(self, chunk: bytes) -> None:
        """See Sink."""
        try:
            self._child.stdin.write(chunk)
        except (BrokenPipeError, ValueError):
            raise self._failed(self._child.wait()) from None
        self._size += len(chunk)
        if self._hash:
            self._hash.update(chunk)

    def stop(self) -> None:
        """See Sink."""
        if self._staged == self._final:
            self._child.terminate(_GRACE)  # rclone then drops the parts of an S3 upload, which cost money
        self._child.kill()

    def commit(self, *, replace: bool = False) -> str:
        """See Sink. Only ``replace`` overwrites; S3 is not asked if the name is taken."""
        if not self._open:
            raise Fault(STAGE_FAILED, "the upload was given up before", where=self._where)
        try:
            note = self._verified() if self._finish() else _NOT_READABLE
            if self._staged != self._final:
                self._move(replace=replace)
        except BaseException:
            self.abort()
            raise
        self._open = False
        return note

    def abort(self) -> None:
        """See Sink."""
        if not self._open:
            return
        self._open = False
        self.stop()
        if self._staged != self._final:
            self._remove()

    def __enter__(self) -> RemoteSink:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()

    def _finish(self) -> bool:
        """End the upload; tell whether it may be looked at."""
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        if status := self._child.wait():
            error = self._rclone.error(self._child.errors(), status)
            if not error.after_upload:
                raise error.fault(self._where, PUSH_FAILED)
            return False
        return True

    def _verified(self) -> str:
        hashes = ("--hash", f"--hash-type={self._algorithm}") if self._algorithm else ()
        try:
            told = self._rclone.ls(self._staged, "--stat", "--no-modtime", "--no-mimetype", *hashes)
        except RcloneError as error:
            if error.refused:
                return _NOT_READABLE
            raise error.fault(self._where, PUSH_FAILED) from error
        size = -1 if told["IsDir"] else told["Size"]
        seen = (told.get("Hashes") or {}).get(self._algorithm)
        problem = ""
        if size != self._size:
            problem = "it is not there" if size < 0 else f"it has {size} bytes of {self._size}"
        elif self._hash and seen and seen != self._hash.hexdigest():
            problem = f"its {self._algorithm} is not that of the bytes sent"
        if problem:
            self._remove()
            raise Fault(PUSH_FAILED, f"the remote reported success, but {problem}", where=self._where)
        return f"verified by size and {self._algorithm}" if seen else "verified by size"

    def _move(self, *, replace: bool) -> None:
        flags = LOOKUP if replace else (*LOOKUP, *_NOTHING_OVER)
        try:
            self._rclone.run("moveto", self._staged, self._final, flags=flags, stage="push")
        except RcloneError as error:
            raise error.fault(self._where, PUSH_FAILED) from error

    def _remove(self) -> None:
        with contextlib.suppress(RcloneError):
            self._rclone.run("deletefile", self._staged, flags=LOOKUP, stage="push")

    def _failed(self, status: int) -> Fault:
        return self._rclone.error(self._child.errors(), status).fault(self._where, PUSH_FAILED)
