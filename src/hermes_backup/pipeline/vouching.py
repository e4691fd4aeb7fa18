"""Evidence of a drill: signed by the trusted machine's own key, kept here and beside the snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hermes_backup.errors import Fault, from_system
from hermes_backup.pipeline.executor import Follower
from hermes_backup.snapshots.evidence import Evidence, evidence_name, to_json
from hermes_backup.snapshots.names import folder_of
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.signing import HostKey
from hermes_backup.streams.private import write_private

_STAGE = "evidence"
_OWNER = "trusted machine"


def vouch(
    evidence: Evidence, signing: Path, pins: Path, folder: Path, places: Sequence[Place], follower: Follower
) -> tuple[str, ...]:
    """Sign evidence, and return where it lies now; a place that does not take it is told as a warning.

    The public half of the key goes into ``pins``, under a name that no host can have.

    Raises:
        Fault: KEY_INVALID, STAGE_FAILED, DISK_FULL: it could not be signed, or not be kept here.
    """
    follower.stage(_STAGE)
    with HostKey.ensure(signing, _OWNER) as key:
        signed = key.sign(to_json(evidence))
        public, fingerprint = key.public(), key.fingerprint
    name = evidence_name(evidence.started)
    try:
        write_private(folder / name, signed)
    except OSError as error:
        raise from_system(error, str(folder)) from None
    try:
        public_half(pins, fingerprint).write_text(public, encoding="ascii")
    except OSError as error:
        follower.warn(_STAGE, f"the public half of its key is not written: {error.strerror}: {error.filename}")
    lies = [str(folder / name)]
    for place in places:
        try:
            place.put(f"{folder_of(evidence.host, evidence.drill)}/{name}", signed)
            lies.append(f"{place.label}: {folder_of(evidence.host, evidence.drill)}/{name}")
        except Fault as fault:
            follower.warn(_STAGE, f"{place.label} does not take it: {fault.what}")
    return tuple(lies)


def public_half(pins: Path, fingerprint: str) -> Path:
    """Return where the public half of a trusted machine's key lies, beside those of the hosts."""
    return pins / f"_trusted.{fingerprint}.asc"
