"""Plain servers made into remotes that hosts can add snapshots to, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hermes_backup.fleet.changing import Deployed, Options, change

if TYPE_CHECKING:
    from hermes_backup.fleet.render import Fleet


def serve(fleet: Fleet, servers: Sequence[str], options: Options) -> tuple[Deployed, ...]:
    """Bring servers of the group ``backup_remote`` to their declared state, and return how it went.

    Raises:
        Fault: CONFIG_INVALID when Ansible did not run, FLEET_MISSING; INTERRUPTED.
    """
    return change(fleet, "remote.yml", {name: {} for name in servers}, options)
