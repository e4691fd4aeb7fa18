"""Snapshots brought back, and snapshots made by hand: damaged, forged, hostile; by public functions of the product."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.errors import Fault
from hermes_backup.pipeline.choosing import choose
from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.pipeline.restoring import Restored, restore
from hermes_backup.pipeline.unpacking import Source
from hermes_backup.pipeline.verifying import Verified, verify
from hermes_backup.snapshots.catalog import read_catalog
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.index import to_lines
from hermes_backup.snapshots.manifest import Manifest, Part, to_json
from hermes_backup.snapshots.names import SnapshotName, data_name, index_name, manifest_name
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.signing import HostKey, Pinned
from hermes_backup.streams.coder import Coder, from_bytes, join
from hermes_backup.streams.compression import Compress
from hermes_backup.streams.gpg import EncryptTo
from hermes_backup.streams.members import Follower, Member
from tests.site import Site

FOLDER = "vps1/nightly"
BEGUN = datetime(2026, 3, 1, 3, 30, tzinfo=timezone.utc)


@dataclass
class Witness:
    """Follows a restore and remembers what it was told."""

    stages: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def progress(self, stage: str, done: int, total: int) -> None:
        pass

    def warn(self, stage: str, text: str) -> None:
        del stage
        self.warnings.append(text)

    def note(self, stage: str, text: str) -> None:
        pass

    def published(self, manifest: Manifest, places: tuple[str, ...]) -> None:
        pass


@contextmanager
def pinned(site: Site, armored: str = "") -> Iterator[Pinned]:
    """The key of the site's host as the trusted machine has it, or another one."""
    folder = site.root / "pins"
    folder.mkdir(exist_ok=True)
    with Pinned.load(armored or site.status().public_key or "", folder) as key:
        yield key


def bring_back(
    site: Site,
    wanted: str = "latest",
    *,
    target: Path | None = None,
    source: str = "",
    stages: Sequence[Any] | None = None,
    key: str = "",
    follower: Witness | None = None,
    only: Sequence[str] = (),
    leave_indexes: bool = False,
    **settings: Any,
) -> Restored:
    """Choose and restore, as the command does."""
    config = site.config(site.usual() if stages is None else stages, **settings)
    pipeline = pipeline_of(config, "nightly")
    follower = follower or Witness()
    with pinned(site, key) as pin:
        opened = Source(config, pipeline, choose(config, pipeline, wanted, source, pin, follower), pin)
        return restore(opened, target or site.root / "back", follower, only, leave_indexes=leave_indexes)


def verified(site: Site, key: str = "", wanted: str = "", place: Place | None = None) -> Verified:
    """Verify the site's store, as the command does, without any private key at hand."""
    config = site.config(site.usual(), gnupghome="/nonexistent")
    folder = place or FolderPlace(site.store)
    catalog = read_catalog(folder, "vps1", "nightly")
    with pinned(site, key) as pin:
        return verify(
            config, pipeline_of(config, "nightly"), folder, catalog, pin, wanted=wanted, progress=lambda *_: None
        )


def faults(found: Verified) -> list[str]:
    """The names of what verify holds against a place."""
    return [it.fault.kind.name for it in found.verdicts if it.fault] + [it.kind.name for it in found.chain]


def refused(site: Site, name: str, code: int = 9, match: str | None = None, **words: Any) -> Fault:
    """A restore fails by this name, and leaves neither a target nor a quarantine."""
    before = {it for it in site.root.iterdir() if it.name != "pins"}
    with pytest.raises(Fault, match=match) as caught:
        bring_back(site, **words)
    fault = caught.value
    assert (fault.kind.name, int(fault.kind.exit_code)) == (name, code), fault
    assert {it for it in site.root.iterdir() if it.name != "pins"} == before
    return fault


def copied(made: Site, root: Path) -> Site:
    """Return a site with the same store, host key and recipient, which a test may spoil."""
    shutil.copytree(made.store, root / "store")
    folder = root / "state" / "vps1" / "nightly"
    folder.mkdir(parents=True)
    shutil.copy(made.folder / "status.json", folder)
    return replace(made, root=root)


def entry(name: str | bytes, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One member for an archive; ``fields`` are those of TarInfo."""
    info = tarfile.TarInfo(name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"))
    info.size = len(content)
    info.mtime = 1_700_000_000
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def folder_entry(name: str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    """A folder for an archive."""
    return entry(name, type=tarfile.DIRTYPE, mode=mode)


def link_entry(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    """A symbolic link for an archive."""
    return entry(name, type=tarfile.SYMTYPE, linkname=target, mode=0o777)


def tar_of(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """An archive of just these members, whatever they are."""
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for info, content in entries:
            archive.addfile(info, BytesIO(content))
    return out.getvalue()


def members_of(archive: bytes) -> tuple[Member, ...]:
    """What an index says of an archive; nothing where it is none that this program reads."""
    follower = Follower()
    try:
        follower.feed(archive)
        return follower.close()
    except Fault:
        return ()


@dataclass(frozen=True)
class Forge:
    """Publishes whatever it is told to, through the real zstd and gpg, signed by a real key."""

    site: Site
    key: HostKey

    @property
    def place(self) -> FolderPlace:
        return FolderPlace(self.site.store)

    def publish(
        self,
        archive: bytes,
        *,
        number: int = 1,
        begun: datetime = BEGUN,
        members: Sequence[Member] | None = None,
        plain_size: int | None = None,
        to: Sequence[str] | None = None,
        coders: Sequence[Coder] | None = None,
        listing: bytes | None = None,
        image: bool = False,
        signed: Callable[[str], bytes] | None = None,
        **changes: Any,
    ) -> SnapshotName:
        """Write data, index and manifest; ``coders`` code both, ``changes`` are fields of the manifest.

        ``listing`` is the index, where it is not that of ``members``. ``image``: what is given is squashfs. The data of
        a delta refers to nothing of its base, and unpacks with it all the same.
        """
        name = SnapshotName(number, begun + timedelta(days=number))
        known = members_of(archive) if members is None else members
        fingerprints = tuple(to or (self.site.recipient.fingerprint,))
        sealing = (EncryptTo(fingerprints, self.site.recipient.gnupghome),) if coders is None else coders
        listing = b"".join(to_lines(known)) if listing is None else listing
        plain = len(archive) if plain_size is None else plain_size
        data = b"".join(join(from_bytes(archive), sealing if image else (Compress(), *sealing)))
        index = b"".join(join(from_bytes(listing), (Compress(), *sealing)))
        files = [it.size for it in known if it.kind in ("file", "hardlink")]
        suffix = ".sqsh.gpg" if image else ".tar.delta.zst.gpg" if "base" in changes else ".tar.zst.gpg"
        fields: dict[str, Any] = {
            "host": "vps1", "pipeline": "nightly", "sequence": number, "created": name.time,
            "format": "squashfs" if image else "tar",
            "compression": "zstd", "encryption": "recipients", "recipients": (self.site.recipient.fingerprint,),
            "parts": (
                part_of(data_name(name, suffix), "data", data, plain),
                part_of(index_name(name, ".index.zst.gpg"), "index", index, len(listing)),
            ),
            "files": len(files), "bytes": sum(files), "engine": "forge",
        }  # fmt: skip
        manifest = Manifest(**{**fields, **changes})
        for part, content in zip(manifest.parts, (data, index), strict=True):
            self.place.put(f"{FOLDER}/{part.name}", content)
        self.sign(manifest, signed)
        return name

    def sign(self, manifest: Manifest, signed: Callable[[str], bytes] | None = None) -> str:
        """Put a signed manifest into the store, over one that is there; return its hash."""
        content = (signed or self.key.sign)(to_json(manifest))
        self.place.put(f"{FOLDER}/{manifest_name(manifest.name)}", content, replace=True)
        return hashlib.sha256(content).hexdigest()


def part_of(name: str, role: Any, data: bytes, plain_size: int) -> Part:
    """Describe a file as it lies."""
    return Part(name=name, role=role, size=len(data), sha256=hashlib.sha256(data).hexdigest(), plain_size=plain_size)


def left_running(mark: Path) -> list[str]:
    """The processes that have a path among their words."""
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [it for it in done.stdout.splitlines() if str(mark) in it]
