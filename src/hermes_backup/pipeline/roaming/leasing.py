"""The lease on a home, taken when it is brought, renewed while it is written, and given back in good order."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from hermes_backup.errors import LEASE_HELD, REMOTE_UNREACHABLE, Fault
from hermes_backup.pipeline.lock import locked
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.roaming.attachment import holder_of
from hermes_backup.pipeline.roaming.newest import is_newer, newest
from hermes_backup.snapshots.lease import Lease, read_lease, write_lease
from hermes_backup.snapshots.place import Place
from hermes_backup.stages.context import Context
from hermes_backup.stages.push import Push

_LONGEST = 3600.0  # seconds; who can write a lease can write any number
_LOOKS = 10  # while another's lease runs out
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]")
_STAGE = "lease"


@contextmanager
def held(pipeline: Pipeline, context: Context, folder: Path, seconds: float) -> Iterator[tuple[Fault, ...]]:
    """Take the lease in every remote, for the time after the block, too; a block that fails gives it back.

    Gives why a remote does not hold it.

    Another machine's is waited for: one that is not renewed meanwhile is taken over.

    Raises:
        Fault: LEASE_HELD.
    """
    without: list[Fault] = []
    ours = False
    try:
        for place in _remotes(pipeline, context):
            try:
                ours |= _take(place, holder_of(folder), seconds, context)
            except Fault as fault:
                if fault.kind is LEASE_HELD:
                    raise
                context.listener.warn(_STAGE, f"{place.label}: {fault.what}")
                without.append(Fault(REMOTE_UNREACHABLE, fault.what, where=place.label))
        yield tuple(without)
    except BaseException:
        if not ours:  # what another process of this machine took is not given back for it
            release(pipeline, context, folder)
        raise


def renew(pipeline: Pipeline, context: Context, folder: Path, seconds: float) -> None:
    """Say again that this machine writes the home, for as long as before, or so many seconds where nothing is said.

    Raises:
        Fault: LEASE_HELD when another does by now.
    """
    holder = holder_of(folder)
    for place in _remotes(pipeline, context):
        try:
            # of two uploads at one time rclone takes one back, because it finds the other's bytes (S3, seen)
            with locked(folder / "lease.lock"):
                found = _require_ours(place, holder, context)
                _say(place, holder, seconds if found is None else found.seconds, context)
        except Fault as fault:
            if fault.kind is LEASE_HELD:
                raise
            context.listener.note(_STAGE, f"{place.label}: {fault.what}")


def release(pipeline: Pipeline, context: Context, folder: Path) -> None:
    """Give it back where it is ours; a remote that is gone keeps it until it runs out."""
    holder = holder_of(folder)
    for place in _remotes(pipeline, context):
        try:
            found = read_lease(place, context.host, context.pipeline)
            if found is not None and found.holder == holder and not found.released:
                over = found.model_copy(update={"released": True})
                write_lease(place, context.host, context.pipeline, over)
        except Fault as fault:
            context.listener.note(_STAGE, f"{place.label}: {fault.what}")


def require_alone(pipeline: Pipeline, context: Context, folder: Path) -> None:
    """Make sure before a push that no other machine writes this home: by the lease, and by numbers of snapshots.

    Raises:
        Fault: LEASE_HELD.
    """
    for place in _remotes(pipeline, context):
        try:
            _require_ours(place, holder_of(folder), context)
        except Fault as fault:
            if fault.kind is LEASE_HELD:
                raise  # a remote that is gone will fail the push itself
    last = context.ledger.last()
    seen = newest(_remotes(pipeline, context), context).highest
    if seen is not None and is_newer(seen, None if last is None else last.manifest.name):
        mine = last.manifest.name if last is not None else "none"
        raise Fault(LEASE_HELD, f"{seen} is there, the last of this machine is {mine}", where=context.pipeline)


def _remotes(pipeline: Pipeline, context: Context) -> tuple[Place, ...]:
    """Where a lease can be written again and again: not where nothing is ever replaced."""
    stages = (it for it in pipeline.stages if isinstance(it, Push) and not it.append_only)
    return tuple(target.place for stage in stages for target in stage.targets(context))


def _take(place: Place, holder: str, seconds: float, context: Context) -> bool:
    """Take it in one place; return whether this machine had it before."""
    found = read_lease(place, context.host, context.pipeline)
    _await(place, found, holder, context)
    _say(place, holder, seconds, context)
    _require_ours(place, holder, context)
    return found is not None and found.verdict(holder, _now()) == "ours"


def _await(place: Place, first: Lease | None, holder: str, context: Context) -> None:
    if first is None or first.verdict(holder, _now()) != "held":
        return
    said = f"{_who(first)} wrote this home at {first.renewed:%H:%M:%S} UTC"
    context.listener.warn(
        _STAGE, f"{place.label}: {said}; for {first.seconds:.0f} seconds it is seen whether it goes on"
    )
    until = time.monotonic() + min(first.seconds, _LONGEST)
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, first.seconds / _LOOKS))
        seen = read_lease(place, context.host, context.pipeline)
        if seen is None or seen.verdict(holder, _now()) != "held":
            return
        if seen.renewed != first.renewed or seen.holder != first.holder:
            raise _held(seen, place)


def _say(place: Place, holder: str, seconds: float, context: Context) -> None:
    machine = _NOT_PLAIN.sub("-", socket.gethostname())[:64]
    lease = Lease(holder=holder, machine=machine, renewed=_now(), seconds=seconds)
    write_lease(place, context.host, context.pipeline, lease)


def _require_ours(place: Place, holder: str, context: Context) -> Lease | None:
    """Return the lease unless it is another's; one that has run out counts, too: its holder may have gone on."""
    found = read_lease(place, context.host, context.pipeline)
    if found is not None and found.holder != holder and not found.released:
        raise _held(found, place)
    return found


def _held(lease: Lease, place: Place) -> Fault:
    return Fault(
        LEASE_HELD, f"{_who(lease)} writes this home, and said so at {lease.renewed:%H:%M:%S} UTC", where=place.label
    )


def _who(lease: Lease) -> str:
    return f"{lease.machine or 'a machine without a name'} ({lease.holder[:8]})"


def _now() -> datetime:
    return datetime.now(timezone.utc)
