"""Rendered inventories, remembered for commands that only look at snapshots, so that they answer in under a second.

Ansible takes most of a second to fill in an inventory. What it gave is kept, without credentials, under a digest
of everything that went in; an inventory whose outcome may differ next time, or that holds a vault, is not kept.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_backup import APP, __version__
from hermes_backup.fleet.inventory import Inventory
from hermes_backup.fleet.means import Means
from hermes_backup.fleet.render import Fleet, FleetHost, defaults_file, render
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.streams.private import write_private

_UNSTEADY = re.compile(
    rb"\b(?:lookup|query|q|now|random|password|vault)\b|\$ANSIBLE_VAULT|^\s*plugin\s*:", re.MULTILINE
)
_KEPT_AT_MOST = 20


class _Host(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    groups: tuple[str, ...]
    connection: str
    is_here: bool
    config: HostConfig


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)

    hosts: tuple[_Host, ...]


def render_for_reading(inventory: Inventory) -> Fleet:
    """Return the fleet of an inventory as :func:`render` does, but without credentials for the hosts' remotes.

    Raises:
        Fault: as render.
    """
    path = _path(inventory)
    if path is not None:
        with suppress(OSError, ValidationError):
            kept = _Kept.model_validate_json(path.read_bytes())
            return Fleet(inventory, tuple(_fleet_host(it) for it in kept.hosts), ())
    fleet = render(inventory)
    if path is not None and not fleet.found and not any(it.secrets for it in fleet.hosts):
        with suppress(OSError):
            _keep(path, fleet)
    return fleet


def _keep(path: Path, fleet: Fleet) -> None:
    hosts = [
        _Host(
            name=it.name,
            groups=it.groups,
            connection=it.connection,
            is_here=it.is_here,
            config=it.config.model_copy(update={"rclone_config": "", "public_keys": ()}),
        )
        for it in fleet.hosts
        if it.config is not None
    ]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, _Kept(hosts=tuple(hosts)).model_dump_json().encode())
    oldest_last = sorted(path.parent.glob("*.json"), key=lambda it: it.stat().st_mtime, reverse=True)
    for old in oldest_last[_KEPT_AT_MOST:]:
        old.unlink(missing_ok=True)


def _fleet_host(it: _Host) -> FleetHost:
    return FleetHost(it.name, it.groups, it.connection, it.config, Means(), "", (), it.is_here)


def _path(inventory: Inventory) -> Path | None:
    """Return where the outcome would be kept; None when it may not be."""
    whole = hashlib.sha256()
    for said in _inputs(inventory):
        if said is None:
            return None
        whole.update(len(said).to_bytes(8, "big") + said)
    return platformdirs.user_cache_path(APP) / "rendered" / f"{whole.hexdigest()}.json"


def _inputs(inventory: Inventory) -> Iterator[bytes | None]:
    try:
        yield f"{__version__} {version('ansible-core')} {os.getuid()} {inventory.settings}".encode()
        for name in sorted(os.environ):
            if name.startswith("ANSIBLE_") or name in ("HOME", "USER"):
                yield f"{name}={os.environ[name]}".encode()
        yield defaults_file().read_bytes()
        for path in _files(inventory):
            content = path.read_bytes()
            yield (
                None if os.access(path, os.X_OK) or _UNSTEADY.search(content) else str(path).encode() + b"\0" + content
            )
    except (OSError, PackageNotFoundError):
        yield None


def _files(inventory: Inventory) -> Iterator[Path]:
    yield inventory.hosts_file
    for part in ("group_vars", "host_vars"):
        yield from (it for it in sorted((inventory.folder / part).rglob("*")) if it.is_file())
    yield from (it for it in (Path("ansible.cfg"), inventory.folder / "ansible.cfg") if it.is_file())
