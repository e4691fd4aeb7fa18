"""Snapshots and manifests for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from hermes_backup.snapshots.manifest import Manifest, Part, to_json
from hermes_backup.snapshots.names import SnapshotName, data_name, folder_of, index_name, manifest_name
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.signing import HostKey

HOST, PIPELINE = "web-1", "nightly"
START = datetime(2026, 1, 1, 3, 30, tzinfo=timezone.utc)
RECIPIENT = "3AA5C34371567BD2F2F3B2B0A1C0A7D1B0E0F001"


def name_of(sequence: int, time: datetime | None = None) -> SnapshotName:
    """Return a name; without a time, one a day."""
    return SnapshotName(sequence, time or START + timedelta(days=sequence))


def suffix_of(changes: Mapping[str, Any]) -> str:
    """Return the suffix of the data of a snapshot with these changes."""
    return ".tar.delta.zst.gpg" if changes.get("kind") == "delta" else ".tar.zst.gpg"


def manifest_of(name: SnapshotName, data: bytes = b"data", index: bytes = b"index", **changes: Any) -> Manifest:
    """Return a manifest for these bytes."""
    data_file, index_file = data_name(name, suffix_of(changes)), index_name(name, ".index.zst.gpg")
    fields: dict[str, Any] = {
        "host": HOST,
        "pipeline": PIPELINE,
        "sequence": name.sequence,
        "created": name.time,
        "format": "tar",
        "compression": "zstd",
        "encryption": "recipients",
        "recipients": (RECIPIENT,),
        "parts": (
            Part(name=data_file, role="data", size=len(data), sha256=hashlib.sha256(data).hexdigest(), plain_size=9),
            Part(
                name=index_file, role="index", size=len(index), sha256=hashlib.sha256(index).hexdigest(), plain_size=9
            ),
        ),
        "files": 3,
        "bytes": 9,
        "engine": "hermes-backup 0.1.0",
    }
    return Manifest(**{**fields, **changes})


def store(place: Place, key: HostKey, name: SnapshotName, previous: str | None = None, **changes: Any) -> str:
    """Put a whole small snapshot into a place; return the hash of its manifest file."""
    folder = folder_of(HOST, PIPELINE)
    signed = key.sign(to_json(manifest_of(name, previous=previous, **changes)))
    place.put(f"{folder}/{data_name(name, suffix_of(changes))}", b"data")
    place.put(f"{folder}/{index_name(name, '.index.zst.gpg')}", b"index")
    place.put(f"{folder}/{manifest_name(name)}", signed)
    return hashlib.sha256(signed).hexdigest()
