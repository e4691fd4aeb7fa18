"""Private folders under a short path.

They lie in the system's folder for temporaries because gpg-agent's sockets lie in some of them, and a socket's path
has 107 bytes (unix(7)).
"""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from hermes_backup.streams import folders

_PREFIX = "hb-scratch-"


def scratch() -> AbstractContextManager[Path]:
    """Make a folder, 0700, and remove it afterwards."""
    return folders.private_folder(Path(tempfile.gettempdir()), _PREFIX)


def sweep() -> None:
    """Remove the folders that killed processes of this user left."""
    folders.sweep(Path(tempfile.gettempdir()), _PREFIX)
