"""A question to every host: one play with one task, and each host's answer as a value, or why there is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from hermes_backup.errors import CONFIG_INVALID, HOST_UNREACHABLE, HOSTS_FAILED, INTERRUPTED, STAGE_FAILED, Fault
from hermes_backup.fleet.inventory import data_folder
from hermes_backup.fleet.outcome import broken
from hermes_backup.fleet.play import Event, Play, interruptible
from hermes_backup.fleet.render import Fleet, defaults_file

if TYPE_CHECKING:
    from collections.abc import Sequence

Answer = TypeVar("Answer")
_FORKS_AT_MOST = 50
_TAIL = 500


def ask(
    fleet: Fleet, playbook: str, questions: Mapping[str, str], read: Callable[[str, Mapping[str, Any]], Answer]
) -> Mapping[str, Answer | Fault]:
    """Ask each host its question, and return by host what ``read`` makes of its answer.

    A host that cannot be reached, that fails, or whose answer cannot be read gives the Fault that says so.

    Raises:
        Fault: INTERRUPTED, FLEET_MISSING, or CONFIG_INVALID when Ansible could not even start.
    """
    if not questions:
        return {}
    events: dict[str, Event] = {}
    files = {host: f"{number}.json" for number, host in enumerate(questions)}

    def keep(event: Event) -> None:
        events[event.host] = event

    play = Play(
        playbook=data_folder("playbooks") / playbook,
        sources=(defaults_file(), fleet.inventory.hosts_file),
        variables={
            **dict(fleet.inventory.settings),
            "hermes_run": {"hosts": list(questions), "jobs": files},
        },
        files={file: questions[host] for host, file in files.items()},
        forks=min(len(questions), _FORKS_AT_MOST),
        on_event=keep,
    )
    with interruptible(play.interrupt):
        outcome = play.run()
    if outcome.interrupted:
        raise Fault(INTERRUPTED, "stopped while the hosts were asked")
    if outcome.hosts is None and not events:
        raise Fault(CONFIG_INVALID, f"Ansible did not run: {outcome.output}", where=fleet.inventory.name)
    silent = Fault(HOSTS_FAILED, outcome.output[-_TAIL:] or "no answer")
    return {host: _answer(host, events.get(host), read, silent) for host in questions}


def _answer(
    host: str, event: Event | None, read: Callable[[str, Mapping[str, Any]], Answer], silent: Fault
) -> Answer | Fault:
    if event is None:
        return Fault(silent.kind, silent.what, where=host)
    if event.kind == "unreachable":
        return Fault(HOST_UNREACHABLE, unreachable(str(event.result.get("msg") or "no answer")), where=host)
    if event.kind != "ok":
        return broken(host, event.result)
    try:
        return read(host, event.result)
    except (ValidationError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return Fault(STAGE_FAILED, "the host's answer is none that this version can read", where=host)


def unreachable(said: str) -> str:
    """Return the last of what Ansible and ssh say of a host that cannot be reached: that is the cause."""
    lines: Sequence[str] = [line.strip() for line in said.splitlines() if line.strip()]
    return re.sub(r"^(?:Task failed: )?(?:Failed to connect to the host via ssh: )?", "", lines[-1]) if lines else said
