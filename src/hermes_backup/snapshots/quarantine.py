"""Snapshots moved aside in their place, where nothing looks; nothing is deleted.

Below ``quarantine/<time>/`` they lie as they lay before, so that ``<place>/quarantine/<time>`` is a place by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from hermes_backup.snapshots.catalog import Listed
    from hermes_backup.snapshots.place import Place

_FOLDER = "quarantine"


def folder_aside(folder: str, now: datetime) -> str:
    """Return where snapshots of a folder are moved to in their place, a new one each second."""
    return f"{_FOLDER}/{now:%Y%m%dT%H%M%SZ}/{folder}"


def move_aside(place: Place, folder: str, snapshots: Sequence[Listed], now: datetime) -> None:
    """Move every file of these snapshots aside, the manifest first: from then on nobody restores from it.

    Raises:
        Fault: REMOTE_UNREACHABLE, REMOTE_REFUSED, STAGE_FAILED; what went before lies aside, and the rest can follow.
    """
    aside = folder_aside(folder, now)
    for one in snapshots:
        manifest = one.file("manifest")
        for file in sorted(one.files, key=lambda it: it is not manifest):
            place.move(f"{folder}/{file.name}", f"{aside}/{file.name}")
