"""Who uses a home: processes that have any file of it open, and the services that they belong to."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.errors import HOME_HELD, HOME_IN_USE, Fault
from hermes_backup.home.beginnings import beginning_below
from hermes_backup.home.databases.facts import HEADER
from hermes_backup.home.discovery.accounts import host_at
from hermes_backup.home.discovery.units import services
from hermes_backup.home.layout import SIDECARS, is_known_database
from hermes_backup.home.printable import printable
from hermes_backup.home.processes import Identity, command, open_files, processes
from hermes_backup.home.services import Unit, unit_of
from hermes_backup.streams.directory import Directory

_PATIENCE = 10.0  # seconds for a service's processes to be gone once systemd says that it has stopped
_PAUSE = 0.2
_SHOWN = 8
_SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)


@dataclass(frozen=True)
class Occupant:
    """A process that has a file of the home open; ``unit`` is its service, None where it is in none."""

    pid: int
    command: str
    file: str
    unit: Unit | None

    def __str__(self) -> str:
        return f"{self.command} ({self.pid}) has {self.file} open"


def occupants(home: Path) -> tuple[Occupant, ...]:
    """Return them by pid, ourselves excepted; processes of other users stay unseen unless we are root.

    Files are told by device and inode, since a container has other paths for them; deleted ones by their path.
    """
    mine, within = _identities(home), f"{home}/"
    found = []
    for pid in sorted(processes()):
        files = open_files(pid)
        held = next((it for it in files if it.identity in mine or it.link.startswith(within)), None)
        if held is not None:
            found.append(Occupant(pid, command(pid), printable(held.link), unit_of(pid)))
    return tuple(found)


def services_of(home: Path) -> tuple[Unit, ...]:
    """Return the services that use a home, or are declared for it and run.

    Raises:
        Fault: HOME_HELD, naming the processes that belong to none.
    """
    there = occupants(home)
    _refuse([it for it in there if it.unit is None])
    held = {it.unit for it in there if it.unit is not None}
    return tuple(sorted(held | set(_declared(home)), key=str))


def _declared(home: Path) -> Iterator[Unit]:
    """Yield services that say that this is their home, and run or are between two starts, with nothing open now."""
    for claim in services(host_at(Path("/"))):
        if claim.unit and Path(claim.path) == home and _SYSTEMD.is_dir():
            unit = Unit(claim.unit, claim.by.uid if claim.by else None)
            if unit.is_active():
                yield unit


def vacate(home: Path, units: Sequence[Unit]) -> None:
    """Stop services, and wait until nobody uses the home.

    Raises:
        Fault: SERVICE_FAILED, HOME_HELD; some are stopped then.
    """
    for unit in units:
        unit.stop()
    until = time.monotonic() + _PATIENCE
    while (there := occupants(home)) and time.monotonic() < until:
        time.sleep(_PAUSE)
    _refuse(there)


def may_run(unit: Unit, home: Path) -> bool:
    """Say whether a service may still be at work on a home; one that cannot be asked may."""
    try:
        if unit.is_active():
            return True
    except Fault:
        return True
    return any(it.unit == unit for it in occupants(home))


def require_unused(home: Path) -> None:
    """Make sure that no other process has a file of a home open, before an agent is started in it.

    Raises:
        Fault: HOME_IN_USE, naming each process, and the commands that end them.
    """
    there = occupants(home)
    if there:
        units = sorted({it.unit for it in there if it.unit is not None}, key=str)
        commands = [f"systemctl {'' if it.uid is None else '--user '}stop {it.name}" for it in units]
        pids = [str(it.pid) for it in there if it.unit is None]
        commands += [f"kill {' '.join(pids)}"] if pids else []
        mend = f"End them, then start again: {'; '.join(commands)}"
        raise Fault(HOME_IN_USE, _named(there), where=str(home), mend=mend)


def holds_database(home: Directory, name: str) -> bool:
    """Say whether an entry of a home is a database, or holds one at any depth, or should: also one that is damaged.

    By its first bytes, by a log beside it, or by a name that hermes-agent keeps a database under.
    """
    return any(_is_database(home, it) for it in _files(home, os.fsencode(name)))


def _files(home: Directory, name: bytes) -> Iterator[bytes]:
    """Yield an entry, and the files below it, by their names relative to the home; no link is followed."""
    yield name
    with suppress(OSError), home.folder(name) as top:
        for folder, _, names, _ in os.fwalk(b".", dir_fd=top.descriptor):
            yield from (os.path.normpath(b"/".join((name, folder, os.fsencode(it)))) for it in names)


def _is_database(home: Directory, name: bytes) -> bool:
    if any(home.has(name + side) for side in SIDECARS) or (is_known_database(name) and home.has(name)):
        return True
    return beginning_below(home, name, len(HEADER)) == HEADER


def _refuse(left: Sequence[Occupant]) -> None:
    if left:
        raise Fault(HOME_HELD, _named(left))


def _named(there: Sequence[Occupant]) -> str:
    more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
    return "; ".join(map(str, there[:_SHOWN])) + more


def _identities(home: Path) -> frozenset[Identity]:
    found = set()
    for folder, _, names in os.walk(os.fsencode(home)):
        for name in names:
            try:
                status = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - bytes
            except OSError:
                continue
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)
