"""A playbook played for some hosts, each with a job of its own: a private file that only its tasks read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hermes_backup.fleet.inventory import data_folder
from hermes_backup.fleet.play import PATIENCE, Event, Play
from hermes_backup.fleet.render import Fleet, defaults_file

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def for_hosts(
    fleet: Fleet,
    playbook: str,
    jobs: Mapping[str, Mapping[str, Any]],
    on_event: Callable[[Event], None],
    *,
    about: Mapping[str, Any] | None = None,
    forks: int = 0,
    options: Sequence[str] = (),
    patience: int = PATIENCE,
    on_tick: Callable[[], None] = lambda: None,
    collect: Callable[[Path], None] = lambda _: None,
) -> Play:
    """Return the play of one of our playbooks for the hosts that have a job, all of them at a time unless ``forks``.

    In the playbook ``hermes_run`` holds ``hosts``, how many ``at_once``, ``jobs`` (a file name for each host, in
    ``folder``), and ``about``.
    """
    files = {host: f"{number}.json" for number, host in enumerate(jobs)}
    at_once = _forks(jobs, forks)
    run = {**(about or {}), "hosts": [*files], "at_once": at_once, "jobs": files}
    return Play(
        playbook=data_folder("playbooks") / playbook,
        sources=(defaults_file(), fleet.inventory.hosts_file),
        variables={**dict(fleet.inventory.settings), "hermes_run": run},
        files={file: json.dumps(jobs[host]) for host, file in files.items()},
        forks=at_once,
        options=options,
        patience=patience,
        on_event=on_event,
        on_tick=on_tick,
        collect=collect,
    )


def _forks(jobs: Collection[str], wanted: int) -> int:
    at_most = 50  # each is a process of 60 MB while its host is busy (measured)
    return max(1, min(len(jobs), wanted or at_most))
