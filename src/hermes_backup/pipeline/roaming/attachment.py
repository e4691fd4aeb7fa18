"""What a machine remembers of the home that it brought: where it is, of which snapshot, and in which way."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_backup.errors import HOME_DIVERGED, HOME_MISSING, Fault
from hermes_backup.home.layers import Layers, layers_mounted
from hermes_backup.home.mountpoint import Mountpoint
from hermes_backup.streams.private import write_private

Way = Literal["overlay", "fuse", "unpack", "empty", "kept"]
"""How a home came to be where it is; ``kept``: it was there before."""

_RECORD = "attached.json"
_HOLDER = "holder"
_LAYERS = "layers"


class Attachment(BaseModel):
    """A home that was brought, written down before anything of it is seen.

    Attributes:
        snapshot: of which it was made; None for a home that began empty or was there.
        whole: False while it is being unpacked: what lies there then is nobody's.
        inode: of the folder, where it is no mount of ours: another folder at its place is another home.
        lease: for how many seconds each word of this machine holds.
        saved: a snapshot holds everything that was written to the folder before; None while somebody may write to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: Path
    way: Way
    snapshot: str | None = None
    whole: bool = True
    inode: int | None = None
    lease: float = 300.0
    saved: datetime | None = None

    @property
    def layered(self) -> bool:
        """Whether the home is a mount of layers, and not a folder."""
        return self.way in ("overlay", "fuse")


def attachment(folder: Path) -> Attachment | None:
    """Read the record of a pipeline's state folder; None when no home is brought.

    Raises:
        Fault: HOME_DIVERGED for a record that cannot be read: what it tells of may be in no snapshot.
    """
    try:
        return Attachment.model_validate_json((folder / _RECORD).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        mend = "Save what lies in layers/upper beside it, or in the home, if it is wanted; then remove this file."
        raise Fault(
            HOME_DIVERGED, "the record of the home cannot be read", where=str(folder / _RECORD), mend=mend
        ) from None


def remember(folder: Path, it: Attachment) -> None:
    """Write the record."""
    write_private(folder / _RECORD, it.model_dump_json().encode(), durable=True)


def forget(folder: Path) -> None:
    """Remove the record: the home may be brought anew."""
    (folder / _RECORD).unlink(missing_ok=True)


def layers_of(folder: Path, point: Mountpoint) -> Layers:
    """Return where the layers of a home lie, in a pipeline's state folder."""
    return Layers(point, folder / _LAYERS)


def require_there(it: Attachment, folder: Path) -> None:
    """Make sure that a home that is mounted where it is used is mounted now: an empty folder is not its new state.

    Raises:
        Fault: HOME_MISSING.
    """
    if it.layered and not layers_mounted(it.at, folder / _LAYERS):
        mend = "Bring it: hermes-backup mount-latest."
        raise Fault(HOME_MISSING, "this machine's home is not mounted", where=str(it.at), mend=mend)


def kept_folder(folder: Path) -> Path:
    """Return where snapshots lie that no remote took yet."""
    return folder / "kept"


def holder_of(folder: Path) -> str:
    """Return who this machine is to others that might write the same home: random, and kept with its state."""
    path = folder / _HOLDER
    if not path.is_file():
        write_private(path, secrets.token_hex(16).encode(), durable=True)
    return path.read_text(encoding="ascii")
