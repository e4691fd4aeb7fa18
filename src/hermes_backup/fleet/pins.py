"""The hosts' signing keys as the controller knows them: the first that a host shows is pinned, another is refused."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hermes_backup.errors import HOST_KEY_CHANGED, KEY_INVALID, Fault
from hermes_backup.pipeline.locate import shown
from hermes_backup.snapshots.signing import Pinned


def pin_file(folder: Path, host: str) -> Path:
    """Return where a host's key is pinned."""
    return folder / f"{host}.asc"


def pin(folder: Path, host: str, armored: str) -> bool:
    """Compare a host's key with the pinned one, and pin it if there is none; return whether it was pinned now.

    Raises:
        Fault: HOST_KEY_CHANGED; KEY_INVALID when what the host shows, or the pinned file, is no key.
    """
    file = pin_file(folder, host)
    if file.exists():
        _compare(file, host, armored)
        return False
    fingerprint(armored)
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    descriptor, beside = tempfile.mkstemp(dir=folder, prefix=f".{host}-")
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(armored)
        os.fchmod(descriptor, 0o644)
    Path(beside).replace(file)
    return True


def fingerprint(armored: str) -> str:
    """Return the fingerprint of an armored public key.

    Raises:
        Fault: KEY_INVALID.
    """
    if not armored.isascii():
        raise Fault(KEY_INVALID, "not an armored public key")
    try:
        with tempfile.TemporaryDirectory(prefix="hb-") as scratch, Pinned.load(armored, Path(scratch)) as pinned:
            return pinned.fingerprint
    except Fault as fault:
        raise Fault(KEY_INVALID, f"not one public key: {fault.what}") from None


def _compare(file: Path, host: str, armored: str) -> None:
    pinned = file.read_text(encoding="utf-8", errors="replace")
    if pinned.strip() == armored.strip():
        return
    try:
        known = fingerprint(pinned)
    except Fault as fault:
        raise Fault(
            KEY_INVALID, f"the pinned key of host {host} is not usable: {fault.what}", where=shown(file)
        ) from None
    now = fingerprint(armored)
    if known != now:
        raise Fault(HOST_KEY_CHANGED, f"host {host} signs with {now}, pinned is {known}", where=shown(file))
