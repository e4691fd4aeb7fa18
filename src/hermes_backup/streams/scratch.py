"""Private folders that are found again where their maker was killed.

As long as one is there, a link in this user's state leads to it: the next command finds by it what a killed one left,
wherever that lies. Most lie in the system's folder for temporaries because gpg-agent's sockets lie in some of them, and
a socket's path has 107 bytes (unix(7)).
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from hermes_backup import APP
from hermes_backup.streams import folders

_PREFIX = "hb-scratch-"
_TRIES = 3  # another command may take the empty folder away just before the link is made
_NAME = re.compile(r"[a-z.-]+-[0-9a-f]{8}", re.ASCII)


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder under a short path, 0700, and remove it afterwards."""
    with findable_folder(Path(tempfile.gettempdir()), _PREFIX) as folder:
        yield folder


@contextmanager
def findable_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a private folder in ``parent``, and remove it afterwards; where this process is killed, ``sweep`` does."""
    link = None
    try:
        with folders.private_folder(parent, prefix) as folder:
            link = _links() / folder.name
            _remember(link, folder)
            yield folder
    finally:
        if link is not None:
            _forget(link)


def sweep() -> None:
    """Remove the folders that killed processes of this user left, wherever they lie; what a living one uses stays."""
    for link, folder in _known().items():
        folders.sweep_one(folder)
        _forget(link)
    folders.sweep(Path(tempfile.gettempdir()), _PREFIX)


def _links() -> Path:
    return platformdirs.user_state_path(APP) / "scratch"


def _remember(link: Path, folder: Path) -> None:
    """Lead to a folder; where the state cannot be written, as under systemd, temporaries are the service's own."""
    if not link.is_absolute():  # a user without a home has no state
        return
    for _ in range(_TRIES):
        with suppress(OSError):
            link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            link.symlink_to(folder.absolute())
            return


def _known() -> dict[Path, Path]:
    """Return the links that this user made, and where each leads: under sudo the state may be another user's."""
    found = {}
    with suppress(OSError):
        for link in _links().iterdir():
            with suppress(OSError):
                folder = link.readlink()
                if folder.name == link.name and _NAME.fullmatch(link.name) and link.lstat().st_uid == os.geteuid():
                    found[link] = folder
    return found


def _forget(link: Path) -> None:
    """Take a link away once nothing lies where it leads, and the state's folders with the last one."""
    with suppress(OSError):
        try:
            link.readlink().lstat()
        except (FileNotFoundError, NotADirectoryError):
            link.unlink()
            link.parent.rmdir()
            link.parent.parent.rmdir()
