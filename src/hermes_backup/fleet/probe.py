"""What a host is, as the module ``hermes_backup_probe`` says."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from hermes_backup.errors import DEPLOY_FAILED, PYTHON_MISSING, Fault


class Python(BaseModel):
    """A Python of the host."""

    model_config = ConfigDict(frozen=True)

    path: str
    version: str


class Probe(BaseModel):
    """A host before a deployment: ``missing`` are Debian's packages, ``releases`` those of the agent that are whole."""

    model_config = ConfigDict(frozen=True)

    python: Python | None
    machine: str
    missing: tuple[str, ...]
    releases: tuple[str, ...]
    root: bool
    systemd: bool

    def usable(self, host: str) -> Python:
        """Return the Python that the agent will run on.

        Raises:
            Fault: PYTHON_MISSING; DEPLOY_FAILED when nothing may be installed there.
        """
        if self.python is None:
            raise Fault(PYTHON_MISSING, "no Python 3.10 or newer there", where=host)
        if not self.root:
            mend = "Reach it as root, or set ansible_become: true for it."
            raise Fault(DEPLOY_FAILED, "only root can install the agent", where=host, mend=mend)
        return self.python
