"""Bytes compared with what a manifest says of them, as they pass, or as they come back from where they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from hermes_backup.errors import DATA_DAMAGED, Fault
from hermes_backup.snapshots.manifest import Manifest, Part
from hermes_backup.snapshots.place import Place


def matching(chunks: Iterable[bytes], part: Part) -> Iterator[bytes]:
    """Hand on the bytes of a part; never more of them than the manifest says.

    Raises:
        Fault: DATA_DAMAGED at the end, or as soon as there are too many, when size or SHA-256 differ.
    """
    digest = hashlib.sha256()
    done = 0
    for chunk in chunks:
        done += len(chunk)
        if done > part.size:
            raise Fault(DATA_DAMAGED, f"{part.name} has more than the {part.size} bytes of its manifest")
        digest.update(chunk)
        yield chunk
    if done != part.size:
        raise Fault(DATA_DAMAGED, f"{part.name} has {done} bytes, its manifest says {part.size}")
    if digest.hexdigest() != part.sha256:
        raise Fault(DATA_DAMAGED, f"{part.name} has another SHA-256 than its manifest says")


def read_back(place: Place, folder: str, manifest: Manifest) -> None:
    """Read every byte of a snapshot from where it lies; no size or hash that the place tells counts.

    Raises:
        Fault: DATA_DAMAGED; whatever reading raises.
    """
    for part in manifest.parts:
        for _ in matching(place.read(f"{folder}/{part.name}"), part):
            pass
