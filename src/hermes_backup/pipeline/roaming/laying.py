"""A snapshot laid out as a home that is written to: as the lower of two layers, or unpacked."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from hermes_backup.errors import (
    BASE_MISSING,
    DATA_DAMAGED,
    MANIFEST_BAD,
    REMOTE_UNREACHABLE,
    RESTORE_CHECK,
    SNAPSHOT_MISSING,
    STAGE_FAILED,
    TOOL_MISSING,
    Fault,
)
from hermes_backup.home.layers import METHODS, Method, plausible
from hermes_backup.pipeline.executor import naming
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.roaming.attachment import Attachment, Way, forget, layers_of, remember
from hermes_backup.pipeline.roaming.newest import Candidate
from hermes_backup.pipeline.unpacking import QUARANTINE
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.stages.check import CheckFailed
from hermes_backup.stages.checks.remaking import remade
from hermes_backup.stages.context import Context
from hermes_backup.stages.decrypt import Decrypt
from hermes_backup.stages.encrypt import passphrase_of
from hermes_backup.stages.extract import Extract
from hermes_backup.stages.things import Plaintext, Report, Snapshot
from hermes_backup.streams.folders import private_folder, remove, sweep

_DAMAGE = (BASE_MISSING, DATA_DAMAGED, RESTORE_CHECK, MANIFEST_BAD, SNAPSHOT_MISSING)
_NOT_HERE = (STAGE_FAILED, TOOL_MISSING)
_OF_THE_DISK = "lost+found"


@dataclass(frozen=True)
class Laying:
    """Lays a snapshot of a pipeline out.

    Attributes:
        folder: the pipeline's state, where the layers lie.
        at: where the home is to be.
        settled: called before anybody can see the home: from then on it may be written.
    """

    pipeline: Pipeline
    context: Context
    folder: Path
    at: Path
    settled: Callable[[], None]
    lease: float

    def newest(
        self, candidates: Sequence[Candidate], way: Literal["auto", "overlay", "fuse", "unpack"]
    ) -> tuple[Way, SnapshotName]:
        """Lay out the first that is whole, saying which are not; what cannot be reached is not passed over.

        Raises:
            Fault: why the last one cannot be believed; REMOTE_UNREACHABLE, KEY_PASSPHRASE, DISK_FULL.
        """
        fault = Fault(SNAPSHOT_MISSING, "there is no snapshot")
        unreached: SnapshotName | None = None
        for one in candidates:
            name = one.known.name
            if unreached is not None and name != unreached:
                break
            try:
                return self._lay(one, way), name
            except Fault as error:
                fault = error
            if fault.kind is REMOTE_UNREACHABLE:
                unreached = name
            elif fault.kind in _DAMAGE:
                self.context.listener.warn("check", f"{name} of {one.place.label} is damaged: {fault.what}")
            else:
                break
        raise fault

    def _lay(self, one: Candidate, way: Literal["auto", "overlay", "fuse", "unpack"]) -> Way:
        snapshot = Snapshot(one.known.name, one.known.manifest, (one.place,))
        decrypt = Decrypt(passphrase_credential=passphrase_of(self.pipeline.stages))
        methods = [it for it in METHODS if it == way or (way == "auto" and plausible(it))]
        if snapshot.manifest.format == "squashfs" and methods:
            mounted = self._mounted(snapshot, decrypt, methods, must=way != "auto")
            if mounted is not None:
                return mounted
        if self.context.host_key is None:
            raise ValueError("this run has no key of its own")
        own = self.context.host_key.public()  # a delta names its base, which the same key must have signed
        with naming("fetch"), Pinned.load(own, self.context.folder) as pinned:
            plain = decrypt.run(snapshot, replace(self.context, pinned=pinned))
        with naming("extract"):
            self._unpack(plain)
        return "unpack"

    def _mounted(self, snapshot: Snapshot, decrypt: Decrypt, methods: Sequence[Method], *, must: bool) -> Way | None:
        """Show the image; None where nothing can be mounted, and it need not be.

        Its hash is enough: what this home's own key signed was made by this program, from this home.
        """
        layers = layers_of(self.folder, self.at)
        layers.discard()
        layers.folder.mkdir(mode=0o700)
        with naming("fetch"):
            decrypt.image(snapshot, layers.image, self.context)
        self.at.mkdir(parents=True, exist_ok=True, mode=0o700)
        refused: list[str] = []
        self.settled()
        for method in methods:
            record = Attachment(at=self.at, way=method, snapshot=str(snapshot.name), lease=self.lease)
            remember(self.folder, record)
            try:
                layers.mount(method)
            except Fault as fault:
                if fault.kind not in _NOT_HERE or must:
                    forget(self.folder)
                    layers.discard()
                    raise
                refused.append(fault.what)
            else:
                return method
        self.context.listener.note("mount", f"nothing can be mounted here, so it is unpacked: {'; '.join(refused)}")
        forget(self.folder)
        layers.discard()
        return None

    def _unpack(self, plain: Plaintext) -> None:
        """Unpack beside its final names, within the home's own folder: that may be a volume."""
        self.at.mkdir(parents=True, exist_ok=True, mode=0o700)
        record = Attachment(
            at=self.at, way="unpack", snapshot=str(plain.manifest.name), whole=False, lease=self.lease
        )  # fmt: skip
        with private_folder(self.at, QUARANTINE) as room:
            tree = Extract().run(plain, replace(self.context, folder=room))
            findings = tuple(remade(tree, full=False, told=partial(self.context.listener.progress, "check")))
            for found in findings:
                self.context.listener.note("check", f"{found.what}: {found.evidence}")
            if any(it.verdict == "failed" for it in findings):
                raise CheckFailed(Report(tree, findings))
            self.settled()
            remember(self.folder, record)
            for entry in tree.root.iterdir():
                entry.rename(self.at / entry.name)
            info = tree.root.stat()
            os.chown(self.at, info.st_uid, info.st_gid)
            self.at.chmod(stat.S_IMODE(info.st_mode))
        remember(self.folder, record.model_copy(update={"whole": True, "inode": self.at.stat().st_ino}))


def occupied(at: Path) -> bool:
    """Say whether something lies in a folder; what a file system puts there by itself does not count."""
    sweep(at, QUARANTINE)
    with suppress(FileNotFoundError):
        return any(it.name != _OF_THE_DISK for it in at.iterdir())
    return False


def clear(at: Path) -> None:
    """Remove what a killed run unpacked of a home that nobody has seen yet."""
    for entry in at.iterdir():
        if entry.name != _OF_THE_DISK:
            remove(entry)
