"""The home's own folder, opened once for a whole run: reached through no link of an untrusted user, and held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from hermes_backup.errors import HOME_MISSING, HOME_OWNER, HOME_UNREADABLE, Fault
from hermes_backup.home.owners import Owner
from hermes_backup.home.printable import printable
from hermes_backup.streams.directory import Directory, hold, user_name


@contextmanager
def open_home(path: Path, owner: Owner | None = None) -> Iterator[Directory]:
    """Hold the home's folder; ``owner`` is whom it must belong to, None where nobody is declared.

    Raises:
        Fault: HOME_MISSING, HOME_UNREADABLE; HOME_LINK for a link on the way that another user made, HOME_OWNER for a
            folder of somebody else.
    """
    with ExitStack() as stack:
        try:
            root = stack.enter_context(hold(path.absolute()))
        except PermissionError as error:
            what = f"it cannot be reached: {error.strerror}"
            raise Fault(HOME_UNREADABLE, what, where=printable(str(path))) from error
        except OSError as error:
            raise Fault(HOME_MISSING, _why(error), where=printable(str(path))) from error
        if owner is not None:
            _require_owner(root, owner)
        yield root


def home_opener(path: Path, owner: Owner | None, held: ExitStack) -> Callable[[], Directory]:
    """Return what opens the home when it is first asked, as :func:`open_home` does, and holds it from then on."""
    return cache(lambda: held.enter_context(open_home(path, owner)))


def _require_owner(root: Directory, owner: Owner) -> None:
    uid = root.status().st_uid
    if uid != owner.uid:
        name, at = user_name(uid), printable(str(root))
        what = f"it belongs to {name}, and hermes_backup_owner declares {user_name(owner.uid)}"
        mend = f"If that is right, set hermes_backup_owner to {name}. If not: chown --recursive {owner.uid} {at}"
        raise Fault(HOME_OWNER, what, where=at, mend=mend)


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such folder"
    return "it is not a folder" if isinstance(error, NotADirectoryError) else "its links lead in a circle"
