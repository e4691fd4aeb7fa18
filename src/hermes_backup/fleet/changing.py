"""A playbook of roles played for hosts, and what it changed on each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hermes_backup.errors import (
    CONFIG_INVALID,
    DEPLOY_FAILED,
    HOSTS_FAILED,
    INTERRUPTED,
    ExitCode,
    Fault,
)
from hermes_backup.fleet.differences import differences
from hermes_backup.fleet.jobs import for_hosts
from hermes_backup.fleet.outcome import broken, unreachable
from hermes_backup.fleet.play import Event, interruptible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermes_backup.fleet.render import Fleet

_PATIENCE = 1800  # seconds: packages come over slow lines, and a run that is at work is stopped first


@dataclass(frozen=True)
class Deployed:
    """How it went on one host: what was changed, as the tasks name it, and the fault if it failed."""

    host: str
    changed: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    fault: Fault | None = None


@dataclass(frozen=True)
class Options:
    """``check``: change nothing, only say what would change; ``difference``: show changes of files line by line.

    ``forks``: so many hosts at a time, 0 for all.
    """

    check: bool = False
    difference: bool = False
    forks: int = 0

    @property
    def words(self) -> tuple[str, ...]:
        """The words for ansible-playbook."""
        return (*(["--check"] if self.check else []), *(["--diff"] if self.difference else []))


def change(
    fleet: Fleet,
    playbook: str,
    jobs: Mapping[str, Mapping[str, Any]],
    options: Options,
    on_event: Callable[[Event], None] = lambda _: None,
    patience: int = 0,
) -> tuple[Deployed, ...]:
    """Play one of our playbooks for the hosts that have a job, and return how it went, in their order.

    ``on_event`` sees every event, too. No task takes more than ``patience`` seconds, or half an hour if that is longer.

    Raises:
        Fault: CONFIG_INVALID when Ansible did not run, FLEET_MISSING; INTERRUPTED.
    """
    seen = _Seen({name: Deployed(name) for name in jobs}, options)

    def heard(event: Event) -> None:
        seen.event(event)
        on_event(event)

    patience = max(patience, _PATIENCE)
    play = for_hosts(fleet, playbook, jobs, heard, forks=options.forks, options=options.words, patience=patience)
    with interruptible(play.interrupt):
        outcome = play.run()
    if outcome.interrupted:
        raise Fault(INTERRUPTED, "stopped; the same command goes on where this stopped")
    if outcome.hosts is None:
        raise Fault(CONFIG_INVALID, f"Ansible did not run: {outcome.output}", where=fleet.inventory.name)
    return tuple(seen.done.values())


def name_of(event: Event) -> str:
    """Return a task's name, without that of its role."""
    return event.task.rpartition(" : ")[2]


def exit_code(done: Sequence[Deployed]) -> ExitCode:
    """Return the exit code: a single host's own; of several, that some failed."""
    faults = [it.fault for it in done if it.fault is not None]
    if not faults:
        return ExitCode.OK
    return faults[0].kind.exit_code if len(done) == 1 else ExitCode.HOSTS


@dataclass
class _Seen:
    done: dict[str, Deployed]
    options: Options

    def event(self, event: Event) -> None:
        one = self.done.get(event.host)
        if one is None:  # a task that is delegated elsewhere
            return
        if event.kind == "unreachable":
            self.done[event.host] = replace(one, fault=unreachable(event.host, event.result))
        elif event.kind == "failed":
            self.done[event.host] = replace(one, fault=_fault(event))
        elif event.kind == "ok" and event.result.get("changed"):
            more = differences(event.result) if self.options.difference else ()
            self.done[event.host] = replace(
                one, changed=(*one.changed, name_of(event)), differences=(*one.differences, *more)
            )


def _fault(event: Event) -> Fault:
    fault = broken(event.host, event.result)
    if fault.kind is not HOSTS_FAILED:  # it has a name of its own
        return fault
    stderr = str(event.result.get("stderr") or "").strip()
    said = f"{name_of(event)}: {fault.what}" + (f": {stderr}" if stderr else "")
    return Fault(DEPLOY_FAILED, said, where=event.host)
