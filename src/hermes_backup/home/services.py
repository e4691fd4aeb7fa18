"""Services of systemd: the one that a process belongs to, and how it is stopped and started."""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.errors import SERVICE_FAILED, Fault
from hermes_backup.streams.process import Argument, Completed, clean_environment, run

_NAME = r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,250}"
UNIT_NAME = rf"^{_NAME}\z"
"""As pydantic's regular expressions write it."""
_USERS = re.compile(rf"/user@(\d+)\.service/(?:.*/)?({_NAME}\.service)$")
_SYSTEMS = re.compile(rf"/system\.slice/(?:.*/)?({_NAME}\.service)$")
_ACTIVE = frozenset({"active", "activating", "reloading", "refreshing"})
_INACTIVE = frozenset({"inactive", "failed", "deactivating", "unknown"})


@dataclass(frozen=True)
class Unit:
    """A service: of the manager of the user ``uid``, or for None of the system's."""

    name: str
    uid: int | None = None

    def __str__(self) -> str:
        return self.name if self.uid is None else f"{self.name} of user {self.uid}"

    def is_active(self) -> bool:
        """Ask; an answer that is none (no systemd, no bus) must not be taken for "it does not run".

        Raises:
            Fault: SERVICE_FAILED.
        """
        done = self._systemctl("is-active")
        state = done.stdout.decode("utf-8", "replace").strip()
        if state in _ACTIVE or state in _INACTIVE:
            return state in _ACTIVE
        raise Fault(SERVICE_FAILED, f"systemctl does not answer: {done.stderr.strip() or state}", where=self.name)

    def stop(self) -> None:
        """Stop it, and wait until it has ended.

        Raises:
            Fault: SERVICE_FAILED.
        """
        self._must("stop")

    def start(self) -> None:
        """Start it, also where it failed too often of late.

        Raises:
            Fault: SERVICE_FAILED.
        """
        self._systemctl("reset-failed")  # one that did not fail needs none
        self._must("start")

    def pulse(self) -> tuple[str, ...]:
        """Return how it runs: the same again later means that it neither ended nor was started anew meanwhile."""
        done = self._systemctl("show", "--property=ActiveState,SubState,NRestarts,MainPID")
        return tuple(done.stdout.decode("utf-8", "replace").split())

    def _must(self, verb: str) -> None:
        done = self._systemctl(verb)
        if done.returncode != 0:
            raise Fault(SERVICE_FAILED, f"cannot {verb} {self}: {done.stderr.strip()}", where="service")

    def _systemctl(self, *words: str) -> Completed:
        argv: list[Argument] = ["systemctl", *([] if self.uid is None else ["--user"]), *words, "--", self.name]
        environment = clean_environment()
        if self.uid is not None and self.uid != os.geteuid():
            try:
                account = pwd.getpwuid(self.uid)
            except KeyError:
                raise Fault(SERVICE_FAILED, f"there is no user {self.uid}", where=self.name) from None
            identity = [f"--reuid={self.uid}", f"--regid={account.pw_gid}", "--init-groups"]
            argv = ["setpriv", *identity, "--", *argv]
            environment |= {"HOME": account.pw_dir, "XDG_RUNTIME_DIR": f"/run/user/{self.uid}"}
        return run(argv, stage="service", env=environment)


def unit_of(pid: int) -> Unit | None:
    """Return the service that a process belongs to by its control group (cgroups(7)); None where it is in none."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    paths = [path for _, controllers, path in (it.split(":", 2) for it in lines) if controllers in ("", "name=systemd")]
    for path in paths:
        if match := _USERS.search(path):
            return Unit(match[2], int(match[1]))
        if match := _SYSTEMS.search(path):
            return Unit(match[1])
    return None
