"""How a run went: on one host, and on all of them together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hermes_backup.errors import HOST_UNREACHABLE, HOSTS_FAILED, PYTHON_MISSING, STAGE_FAILED, ExitCode, Fault, catalog
from hermes_backup.fleet.masking import masked_fault, masked_status, masked_text

if TYPE_CHECKING:
    from hermes_backup.pipeline.status import Status

# what Ansible says of a host without Python: of one that it looked for, of the one it was told, and what the shell says
_NO_PYTHON = re.compile(
    r"No python interpreters found|module interpreter '[^']*' was not found"
    r"|/python[0-9.]*: (?:not found|No such file or directory)"
)


@dataclass(frozen=True)
class HostRun:
    """How a run went on one host: its last status if it had one, and the fault if it failed."""

    host: str
    status: Status | None
    fault: Fault | None = None
    log: str = ""
    """The last lines of its log, if it failed."""

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of this host's run."""
        if self.fault is not None:
            return self.fault.kind.exit_code
        return ExitCode.HOSTS if self.status is None else self.status.exit_code or ExitCode.OK

    def masked(self, secrets: Sequence[str]) -> HostRun:
        """Return the run as it may be told: what a host says may hold what lies in the vault here."""
        status = None if self.status is None else masked_status(self.status, secrets)
        fault = None if self.fault is None else masked_fault(self.fault, secrets)
        return HostRun(self.host, status, fault, masked_text(self.log, secrets))


def exit_code(runs: Sequence[HostRun], *, interrupted: bool) -> ExitCode:
    """Return the exit code of a run: a single host's own; of several, that some failed, or that some are partial."""
    codes = {run.exit_code for run in runs}
    if interrupted:
        return ExitCode.INTERRUPTED
    if len(runs) == 1:
        return runs[0].exit_code
    if codes - {ExitCode.OK, ExitCode.PARTIAL}:
        return ExitCode.HOSTS
    return ExitCode.PARTIAL if ExitCode.PARTIAL in codes else ExitCode.OK


def ended(host: str, status: Status, log: str = "") -> HostRun:
    """Return the run of a host whose agent wrote its last status."""
    trouble = status.error
    if trouble is None:
        return HostRun(host, status)
    return HostRun(host, status, fault_from(host, trouble.model_dump()), log)


def fault_from(host: str, error: Mapping[str, Any]) -> Fault:
    """Return the fault that an agent or a module told by its name; one that is not known here counts as a stage's."""
    kinds = {kind.name: kind for kind in catalog()}
    kind = kinds.get(str(error.get("name", "")), STAGE_FAILED)
    where = ": ".join(part for part in (host, str(error.get("where") or "")) if part)
    return Fault(kind, str(error.get("what", "")), where=where, mend=str(error.get("mend") or ""))


def unreachable(host: str, result: Mapping[str, Any], more: str = "") -> Fault:
    """Return the fault of a host that cannot be reached; the last that Ansible and ssh say of it is the cause."""
    lines = [line.strip() for line in str(result.get("msg") or "").splitlines() if line.strip()]
    what = re.sub(r"^(?:Task failed: )?(?:Failed to connect to the host via ssh: )?", "", lines[-1]) if lines else ""
    return Fault(HOST_UNREACHABLE, (what or "no answer") + more, where=host)


def broken(host: str, result: Mapping[str, Any]) -> Fault:
    """Return the fault of a task that failed: the one that it names, else what Ansible says."""
    error, out_of_time = result.get("error"), result.get("timedout")
    if isinstance(error, Mapping):
        return fault_from(host, error)
    if isinstance(out_of_time, Mapping):
        what = f"it did not answer within {out_of_time.get('period')} s; what it was told may go on there"
        return Fault(HOST_UNREACHABLE, what, where=host)
    items = result.get("results")
    if isinstance(items, list):  # of a loop: what its first failure says
        failed = [it for it in items if isinstance(it, Mapping) and it.get("failed")]
        result = failed[0] if failed else result
    said = [str(result.get(name) or "").strip() for name in ("msg", "module_stderr", "exception")]
    said.append(str(result.get("module_stdout") or "").strip())  # where SSH gives the shell's complaint
    if any(_NO_PYTHON.search(it) for it in said):
        return Fault(PYTHON_MISSING, "there is no Python on it", where=host)
    return Fault(HOSTS_FAILED, next(filter(None, said[:-1]), "a task failed"), where=host)
