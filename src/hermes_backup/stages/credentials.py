"""Secrets that systemd hands to a service as files (systemd.exec(5), LoadCredential=)."""

from __future__ import annotations

import os
from pathlib import Path

_FOLDER = "CREDENTIALS_DIRECTORY"
_ELSEWHERE = "/run/credentials/hermes-backup"


def credential(name: str) -> Path:
    """Return the file of a credential: an absolute path, or a name in systemd's folder of credentials."""
    return Path(os.environ.get(_FOLDER, _ELSEWHERE)) / name


def use_credentials_of(folder: Path) -> None:
    """Let credentials be found in a folder where no service manager gave one, as for an agent started by hand."""
    os.environ.setdefault(_FOLDER, str(folder))
