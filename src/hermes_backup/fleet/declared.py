"""What is declared for a host, as it is deployed there: files, credentials, timers, and one digest over all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hermes_backup import __version__
from hermes_backup.errors import CONFIG_INVALID, Fault
from hermes_backup.fleet.coming import Coming, coming
from hermes_backup.fleet.masking import holds_secret, masked_fault
from hermes_backup.fleet.spreading import minutes, shifted
from hermes_backup.pipeline.config import NOTIFY_CREDENTIAL, RCLONE_CREDENTIAL, pipeline_of
from hermes_backup.stages.archive import Archive
from hermes_backup.stages.push import Push
from hermes_backup.stages.store import Store

if TYPE_CHECKING:
    from hermes_backup.fleet.render import FleetHost
    from hermes_backup.pipeline.config import HostConfig
    from hermes_backup.pipeline.model import Pipeline

CONFIG_DIR = "/etc/hermes-backup"
STATE = "/var/lib/hermes-backup"
AGENT_DIR = "/opt/hermes-backup"


@dataclass(frozen=True)
class Timer:
    """When a pipeline runs by itself: ``calendar`` or ``every`` (seconds), and at most ``delay`` seconds later."""

    pipeline: str
    calendar: str
    every: int
    delay: int


@dataclass(frozen=True)
class Declared:
    """Everything that a deployment brings to a host.

    Attributes:
        config: the rendered configuration, without secrets that belong to credentials.
        stores: folders that snapshots go to, remotes that are folders among them; a deployment makes them.
        writable: every folder that the agent writes to beside the usual one for its state.
        coming: how the home comes and goes; None where it stays.
        secret: the configuration holds something from Ansible's vault, so it is not to be shown.
    """

    host: str
    unit: str
    config_dir: str
    config: Mapping[str, Any]
    credentials: Mapping[str, str]
    timers: tuple[Timer, ...]
    stores: tuple[str, ...]
    writable: tuple[str, ...]
    state: str
    memory_max: str
    timeout: int
    coming: Coming | None
    secret: bool

    @property
    def digest(self) -> str:
        """A hash over all of it and this program's version: what is deployed under another one is out of date."""
        text = json.dumps([__version__, asdict(self)], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def declared(host: FleetHost, fleet: Collection[str]) -> Declared:
    """Return what is declared for a host among the names of all hosts of its fleet.

    Raises:
        Fault: CONFIG_INVALID when the host's configuration is not sound.
    """
    config = host.sound
    plain = config.model_copy(update={"rclone_config": ""}).model_dump(mode="json")
    state = config.state or STATE
    try:
        stores = _stores(config, (state, host.means.config_dir or CONFIG_DIR, AGENT_DIR))
    except Fault as fault:
        raise masked_fault(fault, host.secrets) from None
    pipelines = [it for it in (pipeline_of(config, name) for name in config.pipelines) if it.runs_on == "host"]
    return Declared(
        host=host.name,
        unit=host.means.unit,
        config_dir=host.means.config_dir or CONFIG_DIR,
        config=plain,
        credentials=_credentials(host, config),
        timers=tuple(_timer(it, host.name, fleet) for it in pipelines if it.schedule is not None),
        stores=stores,
        writable=(*stores, *((state,) if state != STATE else ())),
        state=state,
        memory_max=host.means.memory_max,
        timeout=int(host.means.timeout.total_seconds()),
        coming=coming(config, host.means),
        secret=holds_secret(plain, host.secrets),
    )


def programs(config: HostConfig) -> Mapping[str, str]:
    """Return the programs that only some of the pipelines with a schedule need, with their Debian packages."""
    made = (pipeline_of(config, name) for name in config.pipelines)
    stages = (stage for it in made if it.runs_on == "host" and it.schedule for stage in it.stages)
    images = any(isinstance(it, Archive) and it.format == "squashfs" for it in stages)
    return {"mksquashfs": "squashfs-tools"} if images else {}


def _credentials(host: FleetHost, config: HostConfig) -> Mapping[str, str]:
    ours = {RCLONE_CREDENTIAL: config.rclone_config, NOTIFY_CREDENTIAL: "\n".join(host.means.notify)}
    return {**host.means.credentials, **{name: text for name, text in ours.items() if text}}


def _stores(config: HostConfig, ours: Sequence[str]) -> tuple[str, ...]:
    """Return the folders of the host that snapshots go to.

    Raises:
        Fault: CONFIG_INVALID for one that is the agent's own, or that a unit of systemd cannot name.
    """
    stores = sorted({*_folders(config, Store.name, "path"), *_folders(config, Push.name, "to")})
    for store in stores:
        if any(Path(store).is_relative_to(it) for it in ours):
            raise Fault(CONFIG_INVALID, f"snapshots cannot lie in '{store}': it is the agent's own", where=config.host)
    return tuple(stores)


def _folders(config: HostConfig, stage: str, setting: str) -> tuple[str, ...]:
    """Return the folders of the host that a setting of a stage names; ``~`` is root's, as whom the agent runs there.

    Raises:
        Fault: CONFIG_INVALID for one that a unit of systemd cannot name.
    """
    settings = [it[stage] for raw in config.pipelines.values() for it in raw["stages"] if _has(it, stage)]
    values = [it.get(setting) for it in settings]
    texts = {str(text) for it in values for text in (it if isinstance(it, (list, tuple)) else [it])}
    for text in texts:
        if not text.isprintable() or '"' in text or "\\" in text:
            raise Fault(CONFIG_INVALID, f"{text!r} cannot stand in a unit of systemd", where=config.host)
    folders = (f"/root{it[1:]}" if it.startswith("~") else it for it in texts)
    return tuple(sorted(it for it in folders if it.startswith("/")))


def _has(item: Any, stage: str) -> bool:
    return isinstance(item, Mapping) and isinstance(item.get(stage), Mapping)


def _timer(pipeline: Pipeline, host: str, fleet: Collection[str]) -> Timer:
    schedule = pipeline.schedule
    if schedule is None:
        raise ValueError(f"pipeline {pipeline.name} has no schedule")
    delay = 0 if schedule.randomized_delay is None else int(schedule.randomized_delay.total_seconds())
    if schedule.every is not None:
        return Timer(pipeline.name, "", int(schedule.every.total_seconds()), delay)
    calendar = schedule.on_calendar or ""
    moved = shifted(calendar, minutes(fleet, delay // 60)[host]) if delay >= 60 else None  # noqa: PLR2004 - a minute
    return Timer(pipeline.name, calendar, 0, delay) if moved is None else Timer(pipeline.name, moved, 0, 0)
