"""How a host's agent is installed and started: what only the controller needs to know of it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hermes_backup.stages.units import Duration


def _of_form(pattern: str, what: str) -> AfterValidator:
    """Accept only texts of a form; ``what`` says of others what they are not."""
    form = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if form.fullmatch(value) is None:
            raise ValueError(f"{value!r} {what}")
        return value

    return AfterValidator(check)


Unit = Annotated[str, _of_form(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", "cannot name a unit of systemd")]
Service = Annotated[
    str,
    _of_form(
        r"(?:[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,246}\.service)?",
        "is no service of systemd, such as hermes-gateway.service",
    ),
]
Credential = Annotated[str, _of_form(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", "cannot name a credential")]
Folder = Annotated[str, _of_form(r"(?:[/~][A-Za-z0-9_./@:+-]*)?", "is no absolute path of letters, digits and ./@:+-_")]
Memory = Annotated[
    str, _of_form(r"[0-9]+[KMGT]?|infinity", "is no amount of memory; write for example 512M, 1G or infinity")
]


class Means(BaseModel):
    """The settings of a host that its agent never sees.

    The field names are those of the inventory's variables without ``hermes_backup_``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    agent: str = ""
    """Path of the program on the host; empty to have it looked up there."""
    config_dir: Folder = ""
    """The folder of the rendered configuration on the host; empty for the host's default."""
    store: str = ""
    """A folder of the host with a copy of each snapshot."""
    packages: Literal["carried", "index"] = "carried"
    """Where the agent's packages come from: the controller carries them over, or the host asks its package index."""
    unit: Unit = "hermes-backup"
    """What the units of systemd are called: ``UNIT@PIPELINE``."""
    agent_unit: Service = ""
    """The service that runs Hermes Agent where the home comes and goes with its host; empty where it stays."""
    credentials: dict[Credential, str] = Field(default_factory=dict)
    """Secrets by name, which the agent gets through systemd's LoadCredential."""
    notify: tuple[str, ...] = ()
    """Who is told of a failed run: addresses of apprise."""
    memory_max: Memory = "1G"
    """How much memory a run may take."""
    timeout: Duration = Field(default="12h", validate_default=True)
    """After which time a run is ended."""
