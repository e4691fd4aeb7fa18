"""The rendered configuration of one host: what the controller hands to the agent, one JSON file, 0600."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hermes_backup.errors import CONFIG_INVALID, PIPELINE_MISSING, Fault
from hermes_backup.pipeline.apart import inside
from hermes_backup.pipeline.drilled import unsound
from hermes_backup.pipeline.model import Pipeline, Problem, explain, nearest, parse_pipeline
from hermes_backup.snapshots.names import HOST_RE
from hermes_backup.stages.units import Duration

RCLONE_CREDENTIAL = "rclone.conf"
NOTIFY_CREDENTIAL = "notify"
SIGNING_CREDENTIAL = "signing-key"
"""The credentials that every agent knows; others are named by pipelines."""
KEY_FOLDER = "gnupg"
"""Beside the folders of the pipelines, in a host's state: its signing key."""


class HostConfig(BaseModel):
    """Everything that a host needs to run its pipelines; it holds no private key.

    The field names are those of the inventory's variables without ``hermes_backup_``, where there is one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    host: str
    """The host's name in the inventory; it names the folder of its snapshots."""
    home: str
    """The Hermes home on the host; ``~`` is the home folder of ``owner``."""
    owner: str = ""
    """The user whom the home belongs to; empty for the user who runs."""
    state: str
    """Where the host keeps its signing key, its chain and, during a run, its private folder."""
    own_controller: bool = False
    """The host is its own controller, so it prunes its remotes itself."""
    recipients: tuple[str, ...] = ()
    """Full fingerprints of the keys that can decrypt."""
    public_keys: tuple[str, ...] = ()
    """The recipients' public keys, armored."""
    remotes: tuple[str, ...] = ()
    """Where snapshots go: rclone paths."""
    rclone_config: str = ""
    """Text of the rclone.conf that the host gets; secret. Empty: the user's own."""
    gnupghome: str = ""
    """On the controller: where the private keys are; empty for GnuPG's own."""
    exclude: tuple[str, ...] | None = None
    """gitignore patterns, rooted at the home; none given: the defaults for a Hermes home."""
    exclude_extra: tuple[str, ...] = ()
    """Patterns beside those of ``exclude``."""
    max_age: Duration = Field(default="26h", validate_default=True)
    """From which age on the newest snapshot is stale."""
    max_drill_age: Duration = Field(default="100d", validate_default=True)
    """From which age on the last drill is stale."""
    pipelines: dict[str, Any]
    """The pipelines as plain data; :func:`pipelines` makes them."""

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        if HOST_RE.fullmatch(value) is None:
            raise ValueError(f"{value!r} cannot name a folder, as a host's name does")
        return value


def parse_config(data: Mapping[str, Any]) -> HostConfig | tuple[Problem, ...]:
    """Make the configuration of a host of plain data, pipelines included, or say everything that is wrong."""
    try:
        config = HostConfig.model_validate(data)
    except ValidationError as error:
        return tuple(explain(error, HostConfig))
    problems: list[Problem] = []
    pipelines: dict[str, Pipeline] = {}
    for name, raw in config.pipelines.items():
        if HOST_RE.fullmatch(name) is None:
            problems.append(Problem(("pipelines", name), f"{name!r} cannot name a folder, as a pipeline's name does"))
        elif name == KEY_FOLDER:
            problems.append(Problem(("pipelines", name), f"{name!r} is where the host's key lies; take another name"))
        made = parse_pipeline(name, raw)
        if isinstance(made, Pipeline):
            pipelines[name] = made
        else:
            problems += [Problem(("pipelines", name, *it.path), it.what, it.mend) for it in made]
    if len(pipelines) == len(config.pipelines):
        problems += unsound(pipelines)
    return (*problems, *_within_home(config, pipelines)) or config


def _within_home(config: HostConfig, pipelines: Mapping[str, Pipeline]) -> Iterator[Problem]:
    """Find what a host would write into its home, as far as names tell."""
    if not config.home.startswith("/"):
        return
    for name, made in pipelines.items():
        for one in inside(config.home, config.state, made.stages):
            path = ("state",) if one.position is None else ("pipelines", name, "stages", one.position)
            yield Problem(path, one.what, one.mend)


def pipeline_of(config: HostConfig, name: str) -> Pipeline:
    """Return a pipeline of the host.

    Raises:
        Fault: PIPELINE_MISSING, with the nearest name; CONFIG_INVALID when its data is wrong.
    """
    if name not in config.pipelines:
        raise Fault(
            PIPELINE_MISSING,
            f"host {config.host} has no pipeline {name!r}",
            mend=nearest(name, config.pipelines),
        )
    made = parse_pipeline(name, config.pipelines[name])
    if isinstance(made, Pipeline):
        return made
    raise Fault(CONFIG_INVALID, "; ".join(it.what for it in made), where=f"pipelines.{name}")


def dump(config: HostConfig) -> str:
    """Write the configuration as the agent reads it."""
    return config.model_dump_json(indent=1) + "\n"


def load(text: str, where: str) -> HostConfig:
    """Read what :func:`dump` wrote.

    Raises:
        Fault: CONFIG_INVALID.
    """
    try:
        made = parse_config(json.loads(text))
    except ValueError as error:
        raise Fault(CONFIG_INVALID, f"not JSON: {error}", where=where) from None
    if isinstance(made, HostConfig):
        return made
    said = "; ".join(f"{'.'.join(map(str, it.path))}: {it.what}" for it in made)
    raise Fault(CONFIG_INVALID, said, where=where)
