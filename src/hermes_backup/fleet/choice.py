"""Which hosts of a fleet are meant by ``--limit``."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from hermes_backup.errors import HOST_MISSING, Fault
from hermes_backup.pipeline.model import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermes_backup.fleet.render import Fleet, FleetHost


def choose(fleet: Fleet, limits: Sequence[str]) -> tuple[FleetHost, ...]:
    """Return the hosts that a limit names: hosts, groups or patterns, separated by commas; ``!`` leaves out.

    Raises:
        Fault: HOST_MISSING for a name that fits nothing, or when nothing is left.
    """
    words = [word.strip() for limit in limits for word in limit.split(",") if word.strip()]
    wanted = [word for word in words if not word.startswith("!")]
    unwanted = [word[1:] for word in words if word.startswith("!")]
    for word in (*wanted, *unwanted):
        if not any(_fits(host, word) for host in fleet.hosts):
            names = {it.name for it in fleet.hosts} | {group for it in fleet.hosts for group in it.groups}
            what = f"inventory {fleet.inventory.name} has no host or group {word!r}"
            raise Fault(HOST_MISSING, what, mend=nearest(word, names))
    chosen = tuple(
        host
        for host in fleet.hosts
        if (not wanted or any(_fits(host, it) for it in wanted)) and not any(_fits(host, it) for it in unwanted)
    )
    if not chosen:
        raise Fault(HOST_MISSING, f"the limit leaves no host of inventory {fleet.inventory.name}")
    return chosen


def _fits(host: FleetHost, word: str) -> bool:
    return any(fnmatchcase(name, word) for name in (host.name, *host.groups, "all"))
