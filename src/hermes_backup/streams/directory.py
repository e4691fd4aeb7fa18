"""A folder held open: what lies below it is reached through no link, whoever renames what meanwhile.

A home belongs to a user who may put a link in the place of any folder of it, at any moment; root must not follow it.
The kernel refuses links by openat2(2), since Linux 5.6; where it lacks that, each component is opened by itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import stat
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hermes_backup.errors import HOME_LINK, Fault

_OPENAT2 = 437  # the same number on every architecture (syscalls(2))
_HOW = struct.Struct("=QQQ")  # flags, mode, resolve: linux/openat2.h
_NO_SYMLINKS, _BENEATH = 0x04, 0x08  # linux/openat2.h; without links there are no magic ones
_LACKING = frozenset({errno.ENOSYS, errno.EPERM, errno.E2BIG})  # an old kernel, or a filter of system calls
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40  # as the kernel has it (path_resolution(7))


class Directory:
    """A folder that is held open until it is closed; names are relative to it and bytes, for they need not be text.

    Attributes:
        descriptor: of the folder.
        shown: where it lies, for people: the path without links by which it was opened.
    """

    def __init__(self, descriptor: int, shown: Path) -> None:
        self.descriptor = descriptor
        self.shown = shown

    def __str__(self) -> str:
        return str(self.shown)

    @property
    def path(self) -> Path:
        """A path that leads to this very folder as long as it is open, in this process and its children."""
        return Path(f"/proc/{os.getpid()}/fd/{self.descriptor}")

    def status(self) -> os.stat_result:
        """Return the folder's own status."""
        return os.fstat(self.descriptor)

    def open(self, name: bytes, flags: int = os.O_RDONLY) -> int:
        """Open what lies below, through no link and never outside; return a descriptor.

        Raises:
            OSError: ELOOP where a component is a link.
        """
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | (0 if flags & os.O_PATH else os.O_NONBLOCK)
        try:
            return _openat2(self.descriptor, name or b".", flags)
        except OSError as error:
            if error.errno not in _LACKING:
                raise
        return self._walk(name, flags)

    @contextmanager
    def folder(self, name: bytes) -> Iterator[Directory]:
        """Hold a folder below; the empty name is this one.

        Raises:
            OSError: as :meth:`open` does.
        """
        descriptor = self.open(name, _FOLDER)
        try:
            yield Directory(descriptor, self.shown / os.fsdecode(name))
        finally:
            os.close(descriptor)

    def lstat(self, name: bytes) -> os.stat_result:
        """Return the status of what lies below, of a link its own.

        Raises:
            OSError: as :meth:`open` does.
        """
        above, _, last = name.rpartition(b"/")
        with self.folder(above) as folder:
            return os.stat(last, dir_fd=folder.descriptor, follow_symlinks=False)

    def has(self, name: bytes) -> bool:
        """Say whether something lies there, a link too."""
        try:
            self.lstat(name)
        except OSError:
            return False
        return True

    def mount(self, name: bytes = b"") -> bytes:
        """Return the number of the mount that something below is on (proc(5), fdinfo).

        Raises:
            OSError: as :meth:`open` does.
        """
        descriptor = self.open(name, os.O_PATH)
        try:
            lines = Path(f"/proc/self/fdinfo/{descriptor}").read_bytes().splitlines()
        finally:
            os.close(descriptor)
        return next(it.split()[1] for it in lines if it.startswith(b"mnt_id:"))

    def _walk(self, name: bytes, flags: int) -> int:
        here = os.dup(self.descriptor)
        components = [it for it in name.split(b"/") if it not in (b"", b".")] or [b"."]
        if b".." in components:
            os.close(here)
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), os.fsdecode(name))
        for at, component in enumerate(components):
            last = at == len(components) - 1
            try:
                opened = os.open(component, flags if last else _FOLDER, dir_fd=here)
            finally:
                os.close(here)
            here = opened
        return here


def _openat2(folder: int, name: bytes, flags: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    how = _HOW.pack(flags, 0, _NO_SYMLINKS | _BENEATH)
    while (found := libc.syscall(_OPENAT2, folder, name, how, len(how))) < 0:
        number = ctypes.get_errno()
        if number not in (errno.EINTR, errno.EAGAIN):  # EAGAIN: something was renamed meanwhile (openat2(2))
            raise OSError(number, os.strerror(number), os.fsdecode(name))
    return int(found)


@contextmanager
def hold(path: Path) -> Iterator[Directory]:
    """Hold the folder at an absolute path; links in it are followed only where root or this process's user made them.

    Any other user could have made a link to lead this process to what that user may not see or change. A path below a
    folder that this process holds begins there, and goes through no link at all.

    Raises:
        Fault: HOME_LINK, whoever made a link on the way is not to be trusted.
        OSError: it is not there, no folder, or its links lead in a circle.
    """
    with ExitStack() as stack:
        descriptor, shown = _walked(path)
        stack.callback(os.close, descriptor)
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        opened = os.open(".", _FOLDER, dir_fd=descriptor)
        stack.callback(os.close, opened)
        yield Directory(opened, shown)


@contextmanager
def hold_above(path: Path) -> Iterator[tuple[Directory, str]]:
    """Hold the folder that an entry lies in, and say what it is called there; whether it is there or not.

    An entry that is a link is followed to what it leads to, as :func:`hold` does.

    Raises:
        Fault, OSError: as :func:`hold`.
    """
    for _ in range(_MOST_LINKS):
        with hold(path.parent) as above:
            found = _link_at(above, path.name)
            if found is None:
                yield above, path.name
                return
            leads_to, uid = found
            _require_trusted(above.shown / path.name, leads_to, uid)
            path = Path(os.path.normpath(above.shown / leads_to))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _link_at(folder: Directory, name: str) -> tuple[str, int] | None:
    """Return what a link says, and who made it; None where something else is there, or nothing."""
    try:
        descriptor = os.open(name, _LINK, dir_fd=folder.descriptor)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(descriptor)
        return (os.readlink("", dir_fd=descriptor), status.st_uid) if stat.S_ISLNK(status.st_mode) else None
    finally:
        os.close(descriptor)


def trusted(uid: int) -> bool:
    """Say whether this process may follow a link of a user: root's and its own lead nowhere it could not go anyway."""
    return uid in (0, os.geteuid())


def user_name(uid: int) -> str:
    """Name a user of this machine, by number where it has no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _require_trusted(link: Path, leads_to: str, uid: int) -> None:
    if trusted(uid):
        return
    at, real = _printable(link), _printable(os.path.normpath(link.parent / leads_to))
    what = f"{at} is a link to {real}, and {user_name(uid)} made it"
    mend = f"Declare the folder itself as hermes_backup_home, if {real} leads to the home. If not, remove {at}."
    raise Fault(HOME_LINK, what, where=at, mend=mend)


def _printable(path: str | Path) -> str:
    return ascii(os.fspath(path))[1:-1] if not str(path).isprintable() else str(path)


def _walked(path: Path) -> tuple[int, Path]:
    """Open a path component by component (O_PATH); return the descriptor and the path without links."""
    here, shown, left, links = _beginning(path)
    try:
        while left:
            name = left.pop(0)
            found = os.open(name, _LINK, dir_fd=here)
            status = os.fstat(found)
            if not stat.S_ISLNK(status.st_mode):
                os.close(here)
                here = found
                shown = shown.parent if name == ".." else shown / name
                continue
            leads_to = os.readlink("", dir_fd=found)
            os.close(found)
            links += 1
            _require_few(links, path)
            _require_trusted(shown / name, leads_to, status.st_uid)
            left = [it for it in leads_to.split("/") if it not in ("", ".")] + left
            if leads_to.startswith("/"):
                os.close(here)
                here, shown = os.open("/", _LINK), Path("/")
    except BaseException:
        os.close(here)
        raise
    return here, shown


def _require_few(links: int, path: Path) -> None:
    if links > _MOST_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _beginning(path: Path) -> tuple[int, Path, list[str], int]:
    """Return where a path begins: a descriptor, where that is, what is left of the path, and the links gone through."""
    descriptors = Path(f"/proc/{os.getpid()}/fd")
    if descriptors in path.parents:
        number, *left = path.relative_to(descriptors).parts
        return (
            os.open(".", _LINK | os.O_DIRECTORY, dir_fd=int(number)),
            (descriptors / number).readlink(),
            left,
            _MOST_LINKS,
        )
    return os.open("/", _LINK), Path("/"), list(path.absolute().parts[1:]), 0
