"""Which home a run saves: the declared one, or the one that is found where nothing is declared."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from hermes_backup.errors import HOME_AMBIGUOUS, HOME_MISSING, HOME_OWNER, Fault
from hermes_backup.home.discovery import LOOKED_AT, FoundHome, discover
from hermes_backup.home.owners import Owner, account
from hermes_backup.home.printable import printable
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.streams.private import write_private

DEFAULT_HOME = "~/.hermes"
"""What hermes_backup_home is where nobody declares it."""

_MEMORY = "home"
_MOST_NAMED = 8


@dataclass(frozen=True)
class Chosen:
    """The home of a run. ``found`` says how it was found, empty for a declared one; ``others`` are not saved."""

    path: Path
    found: str = ""
    others: tuple[FoundHome, ...] = ()


def declared_home(config: HostConfig) -> Path:
    """Return the home that is declared, whether it exists or not.

    Raises:
        Fault: HOME_MISSING when this host has no such user.
    """
    home = config.home
    if home.startswith("~") and config.owner:
        home = f"~{config.owner}{home[1:]}"
    try:
        return Path(home).expanduser()
    except RuntimeError:
        mend = "Set hermes_backup_owner to a user of the host, or hermes_backup_home to an absolute path."
        raise Fault(HOME_MISSING, "this host has no such user", where=home, mend=mend) from None


def declared_owner(config: HostConfig) -> Owner | None:
    """Return whom the home must belong to; None where nobody is declared.

    Raises:
        Fault: HOME_OWNER when this host has no such user.
    """
    if not config.owner:
        return None
    found = account(config.owner)
    if found is None:
        mend = "Set hermes_backup_owner to a user of this host, the one whom the home belongs to."
        raise Fault(HOME_OWNER, f"this host has no user {config.owner}", where="hermes_backup_owner", mend=mend)
    return found


def home_of(config: HostConfig, saved: Path | None = None, root: Path = Path("/")) -> Chosen:
    """Choose the home of a run: the declared one, or where only the default is declared and not there, a found one.

    What was ``saved`` last stays the home: another one never takes its place without being declared. ``root`` is
    where homes are searched for.

    Raises:
        Fault: HOME_MISSING, HOME_AMBIGUOUS.
    """
    declared = declared_home(config)
    if config.home != DEFAULT_HOME or not _is_missing(declared):
        return Chosen(declared)
    found = [it for it in discover(root) if it.within is None and config.owner in {"", it.user}]
    if saved is not None:
        found.sort(key=lambda it: it.path != saved)
        if not found or found[0].path != saved:
            _gone(saved, found)
    elif not found:
        what = f"there is no such folder, and no home was found in {LOOKED_AT}"
        raise Fault(HOME_MISSING, what, where=printable(str(declared)))
    elif len(found) > 1:
        raise Fault(HOME_AMBIGUOUS, f"{len(found)} homes are here: {named(found)}", where=printable(str(declared)))
    return Chosen(found[0].path, found[0].how, tuple(found[1:]))


def saved_home(folder: Path) -> Path | None:
    """Return the home of a pipeline's last snapshot, as its state folder remembers it."""
    with suppress(OSError):
        return Path(os.fsdecode((folder / _MEMORY).read_bytes()))
    return None


def remember_home(folder: Path, home: Path) -> None:
    """Remember in a pipeline's state folder which home its last snapshot is of."""
    if saved_home(folder) != home:
        write_private(folder / _MEMORY, os.fsencode(home), durable=True)


def named(homes: Sequence[FoundHome]) -> str:
    """Name homes and how each was found, in one line."""
    said = [f"{printable(str(it.path))} ({it.how})" for it in homes[:_MOST_NAMED]]
    more = [f"and {len(homes) - _MOST_NAMED} more, which hermes-backup agent homes lists"]
    return ", ".join(said + (more if len(homes) > _MOST_NAMED else []))


def _is_missing(path: Path) -> bool:
    """Say whether nothing is there, not even a link to nowhere; what may not be looked at is not missing."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _gone(saved: Path, found: Sequence[FoundHome]) -> NoReturn:
    what = "the home of the last snapshot is not there any more"
    if found:
        what += f"; found instead: {named(found)}"
    mend = "Bring it back, or if another one is meant, set hermes_backup_home to it."
    raise Fault(HOME_MISSING, what, where=printable(str(saved)), mend=mend)
