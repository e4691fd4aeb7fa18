"""Which place an address names: a folder of this machine needs no rclone.

rclone takes 0.12 s of processor time at each start, and a push starts it thirteen times (measured).
"""

from __future__ import annotations

import configparser
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hermes_backup.errors import Fault
from hermes_backup.snapshots import gate
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.remote import RclonePlace

if TYPE_CHECKING:
    from hermes_backup.snapshots.place import Place


def place_at(
    address: str, config: Path | None = None, bandwidth: str | None = None, *, append_only: bool = False
) -> Place:
    """Return the place that an address names, with rclone's configuration file (None: its own default).

    A folder that is limited in bandwidth, or that lets no file be renamed, is left to rclone: it can do both.

    Raises:
        Fault: REMOTE_NAME, CONFIG_INVALID.
    """
    folder = None if bandwidth or append_only else folder_at(address, config)
    if folder is None:
        return RclonePlace(address, config, bandwidth, append_only=append_only)
    return FolderPlace(folder, gate.place(address))  # the name it has in messages is one that rclone would take


def folder_at(address: str, config: Path | None = None) -> Path | None:
    """Return the folder of this machine that an address names: an absolute path, or an rclone alias of one.

    Raises:
        Fault: REMOTE_NAME.
    """
    if address.startswith("/"):
        return Path(address)
    name, _, inside = gate.place(address).partition(":")
    root = _alias(name, config or _own_configuration())
    return Path(root) / inside if root.startswith("/") and not inside.startswith("/") else None


def _alias(name: str, config: Path) -> str:
    """Return what a remote is an alias of; empty where it is something else, or nothing that passes the gate."""
    parser = configparser.RawConfigParser(strict=False)
    with suppress(OSError, configparser.Error, UnicodeDecodeError):
        parser.read(config)
        if parser.get(name, "type", fallback="") == "alias":
            with suppress(Fault):
                return gate.place(parser.get(name, "remote", fallback=""))
    return ""


def _own_configuration() -> Path:
    """Return the configuration file that rclone takes when it is told of none (rclone.org/docs, --config)."""
    if told := os.environ.get("RCLONE_CONFIG"):
        return Path(told)
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "rclone" / "rclone.conf"
