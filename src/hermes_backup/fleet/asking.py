"""A question to every host: one play with one task, and each host's answer as a value, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from hermes_backup.errors import CONFIG_INVALID, HOSTS_FAILED, INTERRUPTED, STAGE_FAILED, Fault
from hermes_backup.fleet.jobs import for_hosts
from hermes_backup.fleet.outcome import broken, unreachable
from hermes_backup.fleet.play import Event, interruptible
from hermes_backup.fleet.render import Fleet

Answer = TypeVar("Answer")
_TAIL = 500


def ask(
    fleet: Fleet,
    playbook: str,
    questions: Mapping[str, Mapping[str, Any]],
    read: Callable[[str, Mapping[str, Any]], Answer],
) -> Mapping[str, Answer | Fault]:
    """Ask each host its question, and return by host what ``read`` makes of its answer.

    A host that cannot be reached, that fails, or whose answer cannot be read gives the Fault that says so.

    Raises:
        Fault: INTERRUPTED, FLEET_MISSING, or CONFIG_INVALID when Ansible could not even start.
    """
    if not questions:
        return {}
    events: dict[str, Event] = {}

    def keep(event: Event) -> None:
        events[event.host] = event

    play = for_hosts(fleet, playbook, questions, keep)
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
        return unreachable(host, event.result)
    if event.kind != "ok":
        return broken(host, event.result)
    try:
        return read(host, event.result)
    except (ValidationError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return Fault(STAGE_FAILED, "the host's answer is none that this version can read", where=host)
