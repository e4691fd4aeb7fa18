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
    SNAPSHOT_UNREADABLE,
    STAGE_FAILED,
    TOOL_MISSING,
    Fault,
)
from hermes_backup.home.layers import METHODS, Method, plausible
from hermes_backup.home.mountpoint import Mountpoint
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
from hermes_backup.streams.folders import held_folder, remove, sweep

_DAMAGE = (BASE_MISSING, DATA_DAMAGED, RESTORE_CHECK, MANIFEST_BAD, SNAPSHOT_MISSING)
_NOT_GIVEN = (REMOTE_UNREACHABLE, SNAPSHOT_UNREADABLE)
_NOT_HERE = (STAGE_FAILED, TOOL_MISSING)
_OF_THE_DISK = "lost+found"


@dataclass(frozen=True)
class Laid:
    """How a home was laid out, of which snapshot, and which newer ones turned out to be damaged."""

    way: Way
    snapshot: SnapshotName
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class Laying:
    """Lays a snapshot of a pipeline out.

    Attributes:
        folder: the pipeline's state, where the layers lie.
        point: where the home is to be.
        settled: called before anybody can see the home: from then on it may be written.
    """

    pipeline: Pipeline
    context: Context
    folder: Path
    point: Mountpoint
    settled: Callable[[], None]
    lease: float

    def newest(self, candidates: Sequence[Candidate], way: Literal["auto", "overlay", "fuse", "unpack"]) -> Laid:
        """Lay out the first that is whole, saying which are not; what is not given is not passed over.

        Raises:
            Fault: why the last one cannot be believed; REMOTE_UNREACHABLE, SNAPSHOT_UNREADABLE; KEY_PASSPHRASE,
                DISK_FULL.
        """
        fault = Fault(SNAPSHOT_MISSING, "there is no snapshot")
        damaged: dict[SnapshotName, str] = {}
        unreached: SnapshotName | None = None
        for one in candidates:
            name = one.known.name
            if unreached is not None and name != unreached:
                break
            try:
                laid = self._lay(one, way)
                return Laid(laid, name, tuple(text for passed, text in damaged.items() if passed != name))
            except Fault as error:
                fault = error
            if fault.kind in _NOT_GIVEN:
                unreached = name
            elif fault.kind in _DAMAGE:
                damaged[name] = f"{name} of {one.place.label} is damaged: {fault.what}"
                self.context.listener.warn("check", damaged[name])
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
        layers = layers_of(self.folder, self.point)
        layers.discard()
        layers.folder.mkdir(mode=0o700)
        with naming("fetch"):
            decrypt.image(snapshot, layers.image, self.context)
        refused: list[str] = []
        self.settled()
        for method in methods:
            record = Attachment(at=self.point.at, way=method, snapshot=str(snapshot.name), lease=self.lease)
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
        record = Attachment(
            at=self.point.at, way="unpack", snapshot=str(plain.manifest.name), whole=False, lease=self.lease
        )
        with self.point.made() as home, held_folder(home.path, QUARANTINE) as room:
            tree = Extract().run(plain, replace(self.context, folder=room))
            findings = tuple(remade(tree, full=False, told=partial(self.context.listener.progress, "check")))
            for found in findings:
                self.context.listener.note("check", f"{found.what}: {found.evidence}")
            if any(it.verdict == "failed" for it in findings):
                raise CheckFailed(Report(tree, findings))
            self.settled()
            remember(self.folder, record)
            for entry in tree.root.iterdir():
                entry.rename(home.path / entry.name)
            info = tree.root.stat()
            os.fchown(home.descriptor, info.st_uid, info.st_gid)
            os.fchmod(home.descriptor, stat.S_IMODE(info.st_mode))
            inode = home.status().st_ino
        remember(self.folder, record.model_copy(update={"whole": True, "inode": inode}))


def occupied(point: Mountpoint) -> bool:
    """Say whether something lies in a folder; what a file system puts there by itself does not count."""
    with suppress(FileNotFoundError), point.open() as home:
        sweep(home.path, QUARANTINE)
        return any(it.name != _OF_THE_DISK for it in home.path.iterdir())
    return False


def clear(point: Mountpoint) -> None:
    """Remove what a killed run unpacked of a home that nobody has seen yet."""
    with point.open() as home:
        for entry in home.path.iterdir():
            if entry.name != _OF_THE_DISK:
                remove(entry)
