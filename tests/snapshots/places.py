"""Every kind of place, each empty and of its own for every test."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from hermes_backup.errors import SNAPSHOT_UNREADABLE, Fault
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.remote import RclonePlace
from tests.servers import RCLONE, S3Server, SftpServer, write_config

KINDS = ("folder", "local", "sftp", "s3")
FOLDER = "web-1/nightly"


class Cold(FolderPlace):
    """A folder that does not give some files, as a remote in cold storage."""

    cold: tuple[str, ...] = ()

    def fetch_many(self, folder: str, names: Sequence[str], target: Path) -> Mapping[str, Fault]:
        refused = [it for it in names if it.startswith(self.cold)] if self.cold else []
        given = FolderPlace(self.root).fetch_many(folder, [it for it in names if it not in refused], target)
        return {**given, **{it: Fault(SNAPSHOT_UNREADABLE, "Object in GLACIER", where=it) for it in refused}}


@dataclass(frozen=True)
class Made:
    """A place, and the folder of this machine that its files lie in."""

    kind: str
    place: Place
    root: Path

    def under(self, folder: str = FOLDER) -> list[str]:
        """Return all names in a folder of the place, hidden ones too."""
        path = self.root / folder
        return sorted(child.name for child in path.iterdir()) if path.exists() else []

    def write(self, path: str, data: bytes) -> None:
        """Write behind the place's back."""
        if isinstance(self.place, RclonePlace) and self.kind == "s3":  # the server remembers its folders
            config = self.place.rclone.config
            argv = [RCLONE, "--config", str(config), "rcat", f"{self.place.remote}/{path}"]
            subprocess.run(argv, input=data, check=True, capture_output=True)
            return
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


Maker = Callable[[str], Made]


@pytest.fixture
def make_place(tmp_path: Path, request: pytest.FixtureRequest) -> Maker:
    """Return a maker of places by kind."""

    def make(kind: str) -> Made:
        own = f"own-{secrets.token_hex(4)}"
        if kind == "folder":
            return Made(kind, FolderPlace(tmp_path / own), tmp_path / own)
        if kind == "local":
            config = write_config(tmp_path / "local.conf")
            return Made(kind, RclonePlace(str(tmp_path / own), config), tmp_path / own)
        if kind == "sftp":
            sftp: SftpServer = request.getfixturevalue("sftp_server")
            config = write_config(tmp_path / "sftp.conf", sftp.section("nas"))
            return Made(kind, RclonePlace(f"nas:{sftp.address_root}/{own}", config), sftp.root / own)
        s3: S3Server = request.getfixturevalue("s3_server")
        config = write_config(tmp_path / "s3.conf", s3.section("r2"))
        return Made(kind, RclonePlace(f"r2:{s3.bucket}/{own}", config), s3.root / s3.bucket / own)

    return make


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest, make_place: Maker) -> Made:
    """Return each kind of place in turn."""
    return make_place(request.param)
