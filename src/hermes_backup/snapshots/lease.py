"""Who writes a home at present: a small file beside its snapshots, so that two machines do not write one home.

A store without conditional writes cannot decide between two that begin in the same moment. Then both see it at
their next look: by the file, and by numbers of snapshots that are not their own.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from hermes_backup.errors import SNAPSHOT_MISSING, Fault
from hermes_backup.snapshots.names import check_host, check_pipeline
from hermes_backup.snapshots.place import Place

Verdict = Literal["free", "ours", "expired", "held"]
_LARGEST = 4096
_SKEW = 2  # by how many of its own lengths a lease must be over before a clock alone is believed


class Lease(BaseModel):
    """The word of the machine that writes a home.

    Attributes:
        holder: who it is, for machines.
        machine: its name, for people.
        renewed: when it said so, by its own clock.
        seconds: for how long that holds.
        released: it has ended, in good order.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    holder: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    machine: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")] = ""
    renewed: AwareDatetime
    seconds: Annotated[float, Field(gt=0, le=86_400 * 7)]
    released: bool = False

    def verdict(self, holder: str, now: datetime) -> Verdict:
        """Say what a machine may make of it; ``held`` by a machine that died shows only in that it does not change."""
        if self.released:
            return "free"
        if self.holder == holder:
            return "ours"
        over = now - self.renewed > timedelta(seconds=self.seconds * _SKEW)
        return "expired" if over else "held"


def lease_path(host: str, pipeline: str) -> str:
    """Return where the lease of a pipeline lies in a place."""
    return f"{check_host(host)}/{check_pipeline(pipeline)}.lease"


def read_lease(place: Place, host: str, pipeline: str) -> Lease | None:
    """Return the lease; None where there is none, or what lies there is none.

    Raises:
        Fault: REMOTE_UNREACHABLE.
    """
    data = bytearray()
    try:
        for chunk in place.read(lease_path(host, pipeline)):
            data += chunk
            if len(data) > _LARGEST:
                return None
        return Lease.model_validate_json(bytes(data))
    except ValidationError:
        return None
    except Fault as fault:
        if fault.kind is SNAPSHOT_MISSING:
            return None
        raise


def write_lease(place: Place, host: str, pipeline: str, lease: Lease) -> None:
    """Replace the lease.

    Raises:
        Fault: PUSH_FAILED, REMOTE_UNREACHABLE, DISK_FULL.
    """
    place.put(lease_path(host, pipeline), lease.model_dump_json().encode(), replace=True)
