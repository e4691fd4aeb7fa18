"""The rendered configurations that lie on this machine, one file for each home that is declared here."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from hermes_backup import APP
from hermes_backup.errors import AGENT_CONFIG_MISSING, HOST_MISSING, Fault
from hermes_backup.pipeline.config import HostConfig, load


def config_folder() -> Path:
    """Return where this user's configurations lie: ``/etc/hermes-backup`` for root."""
    return Path("/etc/hermes-backup") if os.geteuid() == 0 else platformdirs.user_config_path(APP)


def credentials_folder(config: Path, host: str) -> Path:
    """Return where the credentials of a host lie, beside its configuration, before systemd hands them on."""
    return config / "credentials" / host


def state_folder(config: HostConfig) -> Path:
    """Return where a host keeps its state: as declared, else ``/var/lib/hermes-backup`` for root."""
    if config.state:
        return Path(config.state).expanduser()
    return Path("/var/lib/hermes-backup") if os.geteuid() == 0 else platformdirs.user_state_path(APP)


def configured(folder: Path | None, host: str = "") -> HostConfig:
    """Read the configuration of ``host``, or the only one there is.

    Raises:
        Fault: AGENT_CONFIG_MISSING, HOST_MISSING, CONFIG_INVALID.
    """
    where = folder or config_folder()
    try:
        files = {path.stem: path.read_text(encoding="utf-8") for path in sorted(where.glob("*.json"))}
    except OSError as error:
        raise Fault(AGENT_CONFIG_MISSING, f"cannot read it: {error.strerror}", where=str(where)) from None
    if not files:
        raise Fault(AGENT_CONFIG_MISSING, "no configuration lies here", where=str(where))
    if not host and len(files) > 1:
        raise Fault(HOST_MISSING, "several homes are declared here", mend=f"give --host, one of: {', '.join(files)}")
    chosen = host or next(iter(files))
    if chosen not in files:
        raise Fault(
            HOST_MISSING,
            f"{host!r} is not declared here",
            where=str(where),
            mend=f"known: {', '.join(files)}",
        )
    return load(files[chosen], str(where / f"{chosen}.json"))
