"""How a host's agent is installed and started: what only the controller needs to know of it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hermes_backup.stages.units import Duration

_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_CREDENTIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", re.ASCII)
_FOLDER = re.compile(r"(?:[/~][A-Za-z0-9_./@:+-]*)?", re.ASCII)
_MEMORY = re.compile(r"[0-9]+[KMGT]?|infinity", re.ASCII)


def _unit(value: str) -> str:
    if _UNIT.fullmatch(value) is None:
        raise ValueError(f"{value!r} cannot name a unit of systemd")
    return value


def _memory(value: str) -> str:
    if _MEMORY.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no amount of memory; write for example 512M, 1G or infinity")
    return value


def _folder(value: str) -> str:
    if _FOLDER.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no absolute path of letters, digits and ./@:+-_")
    return value


def _credential(value: str) -> str:
    if _CREDENTIAL.fullmatch(value) is None:
        raise ValueError(f"{value!r} cannot name a credential")
    return value


Credential = Annotated[str, AfterValidator(_credential)]


class Means(BaseModel):
    """The settings of a host that its agent never sees.

    The field names are those of the inventory's variables without ``hermes_backup_``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    agent: str = ""
    """Path of the program on the host; empty to have it looked up there."""
    config_dir: Annotated[str, AfterValidator(_folder)] = ""
    """The folder of the rendered configuration on the host; empty for the host's default."""
    store: str = ""
    """A folder of the host with a copy of each snapshot."""
    packages: Literal["carried", "index"] = "carried"
    """Where the agent's packages come from: the controller carries them over, or the host asks its package index."""
    unit: Annotated[str, AfterValidator(_unit)] = "hermes-backup"
    """What the units of systemd are called: ``UNIT@PIPELINE``."""
    credentials: dict[Credential, str] = Field(default_factory=dict)
    """Secrets by name, which the agent gets through systemd's LoadCredential."""
    notify: tuple[str, ...] = ()
    """Who is told of a failed run: addresses of apprise."""
    memory_max: Annotated[str, AfterValidator(_memory)] = "1G"
    """How much memory a run may take."""
    timeout: Duration = Field(default="12h", validate_default=True)
    """After which time a run is ended."""
