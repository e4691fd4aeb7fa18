"""Private folders under a short path.

They lie in the system's folder for temporaries because gpg-agent's sockets lie in some of them, and a socket's path
has 107 bytes (unix(7)). As long as one is there, a link in this user's state leads to it: a run whose temporaries lie
elsewhere finds by it what a killed one left.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from hermes_backup import APP
from hermes_backup.streams import folders

_PREFIX = "hb-scratch-"


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder, 0700, and remove it afterwards."""
    link = None
    try:
        with folders.private_folder(Path(tempfile.gettempdir()), _PREFIX) as folder:
            link = _links() / folder.name
            _remember(link, folder)
            yield folder
    finally:
        if link is not None:
            _forget(link)


def sweep() -> None:
    """Remove the folders that killed processes of this user left, also where other folders for temporaries were."""
    links = _known()
    for parent in {Path(tempfile.gettempdir()), *(folder.parent for folder in links.values())}:
        folders.sweep(parent, _PREFIX)
    for link in links:
        _forget(link)


def _links() -> Path:
    return platformdirs.user_state_path(APP) / "scratch"


def _remember(link: Path, folder: Path) -> None:
    """Lead to a folder; where the state cannot be written, as under systemd, temporaries are the service's own."""
    if link.is_absolute():  # a user without a home has no state
        with suppress(OSError):
            link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            link.symlink_to(folder.absolute())


def _known() -> dict[Path, Path]:
    """Return the links, and where each leads."""
    found = {}
    with suppress(OSError):
        for link in _links().glob(f"{_PREFIX}*"):
            with suppress(OSError):
                found[link] = link.readlink()
    return found


def _forget(link: Path) -> None:
    """Take a link away once nothing lies where it leads."""
    with suppress(OSError):
        try:
            link.readlink().lstat()
        except (FileNotFoundError, NotADirectoryError):
            link.unlink()
