"""Where a home appears on a machine: a folder that may not be there yet, below one that another user may own.

Whoever owns the folder above can put a link in its place at any moment, and root would mount, unpack or give away what
that leads to. So each step holds the folder itself, and a mount is made elsewhere and bound to it.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.errors import HOME_LINK, STAGE_FAILED, Fault
from hermes_backup.home.mounts import Mounted, mounted_at
from hermes_backup.home.owners import Owner
from hermes_backup.home.printable import printable
from hermes_backup.streams.directory import Directory, hold, hold_above
from hermes_backup.streams.folders import set_aside

_BIND = 4096  # MS_BIND, mount(2)
_DETACH, _NOFOLLOW = 2, 8  # MNT_DETACH, UMOUNT_NOFOLLOW, umount2(2)
_STAGE = "mount"


@dataclass(frozen=True)
class Mountpoint:
    """A folder by its name in another that is held.

    Attributes:
        at: where it is, for people.
        above: the folder that it lies in.
    """

    at: Path
    above: Directory

    @contextmanager
    def open(self) -> Iterator[Directory]:
        """Hold what lies there, or is mounted there.

        Raises:
            FileNotFoundError: nothing does.
            Fault: HOME_LINK, it is a link, or no folder.
        """
        try:
            opened = self.above.open(os.fsencode(self.at.name), os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            where = printable(str(self.at))
            raise Fault(HOME_LINK, "it is a link, or no folder", where=where, mend=f"Remove {where}.") from None
        try:
            yield Directory(opened, self.at)
        finally:
            os.close(opened)

    @contextmanager
    def made(self) -> Iterator[Directory]:
        """Hold it as :meth:`open` does; it is made (0700) where it is not there."""
        with suppress(FileExistsError):
            os.mkdir(self.at.name, 0o700, dir_fd=self.above.descriptor)
        with self.open() as folder:
            yield folder

    def give(self, new: Owner | None) -> None:
        """Give the folder to a user, not what is in it; only root does, and only where one is named."""
        if new is not None and os.geteuid() == 0:
            with self.open() as folder:
                os.fchown(folder.descriptor, new.uid, new.gid)

    def set_aside(self) -> Path:
        """Rename it to a name beside it that tells the time, and return that."""
        return self.at.with_name(set_aside(self.above.path / self.at.name).name)

    def mounted(self) -> Mounted | None:
        """Return what is mounted there; None where nothing is."""
        return mounted_at(self.at)

    def bind(self, mounted: Path) -> None:
        """Show there what is mounted elsewhere, and there no more.

        Raises:
            Fault: STAGE_FAILED, nothing is shown then.
        """
        with self.made() as folder:
            _call("mount", os.fsencode(mounted), os.fsencode(folder.path), None, _BIND, None, at=self.at)
        _call("umount2", os.fsencode(mounted), _DETACH, at=mounted)

    def unmount(self) -> None:
        """Take away what is mounted there, and nothing that a link leads to.

        Raises:
            Fault: STAGE_FAILED when somebody stands in it.
        """
        _call("umount2", os.fsencode(self.above.path / self.at.name), _NOFOLLOW, at=self.at)


@contextmanager
def mountpoint(at: Path) -> Iterator[Mountpoint]:
    """Hold the folder above a mount point; it is made where it is not there.

    Raises:
        Fault: HOME_LINK, a link on the way is another user's.
        OSError: the folder above cannot be held or made.
    """
    _make(at.parent)
    with hold_above(at) as (above, name):
        yield Mountpoint(above.shown / name, above)


def _make(path: Path) -> None:
    """Make a folder, and those above it, where they are not there; through no link of another user."""
    with suppress(FileNotFoundError), hold(path):
        return
    _make(path.parent)
    with hold(path.parent) as above, suppress(FileExistsError):
        os.mkdir(path.name, 0o700, dir_fd=above.descriptor)


def _call(name: str, *arguments: object, at: Path) -> None:
    """Call the kernel itself: mount(8) and umount(8) take paths apart, and follow what they find."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise Fault(STAGE_FAILED, f"{name}: {os.strerror(number)}", where=printable(str(at)))
