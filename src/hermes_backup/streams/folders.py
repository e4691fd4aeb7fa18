"""Private folders: made 0700, locked while their maker lives, and gone when it goes, even where it was killed.

One that can be locked belongs to nobody. Where a network file system knows no locks, nothing is swept.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hermes_backup.streams.process import run

_ENDING = "[0-9a-f]{8}"
_TRIES = 10
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def private_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a private folder, locked as long as it lives, and remove it afterwards."""
    with _private(parent, prefix) as made:
        yield made.path


@contextmanager
def held_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a private folder as :func:`private_folder` does, and give a path that leads to it whoever renames it."""
    with _private(parent, prefix) as made:
        yield made.held


@contextmanager
def _private(parent: Path, prefix: str) -> Iterator[_Private]:
    it = _Private(parent, prefix)
    try:
        try:
            it.make()
            yield it
        finally:
            it.clear()
    finally:
        try:
            it.clear()  # once more: a signal may have come in its midst, and further ones are ignored since
        finally:
            it.close()


class _Private:
    """A private folder from before it is made until it is gone; whatever step a signal comes after, it can be removed.

    What is made is noted by who makes it: a signal may come before an answer reaches who asked. ``held`` leads to it
    whoever renames it.
    """

    def __init__(self, parent: Path, prefix: str) -> None:
        self.path = self.held = parent
        self._parent, self._prefix = parent, prefix
        self._descriptor: int | None = None

    def make(self) -> None:
        for _ in range(_TRIES):
            self.path = self._parent / f"{self._prefix}{secrets.token_hex(4)}"
            try:
                with suppress(FileExistsError):
                    self.path.mkdir(mode=0o700)
                    self._hold()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):  # it was made, and cannot be opened
                    self._remove_empty()
                raise  # else what lies there may be somebody else's
            except BaseException:
                self._remove_empty()
                raise
            if self._descriptor is not None:
                return
            self._remove_empty()
        raise BlockingIOError(errno.EAGAIN, "somebody else takes each folder before it is locked", str(self._parent))

    def clear(self) -> None:
        if self._descriptor is not None:
            with suppress(FileNotFoundError):  # it is gone already
                _empty(self._descriptor)
            self._remove_empty()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _remove_empty(self) -> None:
        with suppress(OSError):  # renamed by whom the folder above belongs to: it is empty now
            self.path.rmdir()

    def _hold(self) -> None:
        with suppress(FileNotFoundError, BlockingIOError):  # swept before it was locked: another one
            descriptor = os.open(self.path, _DIRECTORY)
            try:
                _locked(descriptor)
                _require_own(self.path, descriptor)
                self.held = _held(descriptor)
                self._descriptor = descriptor
            finally:
                if self._descriptor is None:
                    os.close(descriptor)


def sweep(parent: Path, prefix: str, before: Callable[[Path], None] = lambda _: None) -> None:
    """Remove the private folders that killed processes of this user left; ``before`` is called with each."""
    ours = re.compile(re.escape(prefix) + _ENDING)
    with suppress(OSError):
        for path in parent.iterdir():
            if ours.fullmatch(path.name):
                sweep_one(path, before)


def remove(folder: Path) -> None:
    """Remove a tree even where it holds folders that may not be entered, as restored ones may.

    No link is followed, at its place neither: the folder above may be another user's.
    """
    try:
        descriptor = os.open(folder, _DIRECTORY | os.O_PATH)
    except OSError:
        with suppress(OSError):
            folder.unlink()
        return
    try:
        with suppress(OSError):  # not ours to open: what cannot be removed stays
            _held(descriptor).chmod(0o700)
        _empty(descriptor)
    finally:
        os.close(descriptor)
    with suppress(OSError):
        folder.rmdir()


def _held(descriptor: int) -> Path:
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")


def _empty(descriptor: int) -> None:
    """Remove what is in an open folder.

    rm goes as deep as a hostile archive can; shutil.rmtree ends at a thousand levels.
    """
    here = _held(descriptor)
    with suppress(RecursionError):
        for child in list(here.iterdir()):
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child, ignore_errors=True)  # a gpg-agent that ends removes its sockets meanwhile
            else:
                child.unlink(missing_ok=True)
    left = list(here.iterdir())
    if left:
        if os.geteuid() != 0:  # root needs no rights, and chmod follows links that somebody puts there meanwhile
            run(["chmod", "--recursive", "u+rwx", "--", *left], stage="clean")
        run(["rm", "--recursive", "--force", "--", *left], stage="clean")


def _require_own(folder: Path, descriptor: int) -> None:
    """Make sure that what was opened is what was made: whoever owns the folder above may put another in its place."""
    there, opened = folder.lstat(), os.fstat(descriptor)
    same = (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)
    if not same or opened.st_uid != os.geteuid() or opened.st_mode & 0o077 or os.listdir(descriptor):
        raise PermissionError(errno.EPERM, "somebody put another folder in its place", str(folder))


def sweep_one(path: Path, before: Callable[[Path], None] = lambda _: None) -> None:
    """Remove one private folder if a killed process of this user left it; ``before`` is called with it."""
    with suppress(OSError):
        descriptor = os.open(path, _DIRECTORY)
        try:
            if os.fstat(descriptor).st_uid == os.geteuid() and _locked(descriptor):
                before(path)
                _empty(descriptor)
                with suppress(OSError):
                    path.rmdir()
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Lock it, and say whether the file system knows locks.

    Raises:
        BlockingIOError: somebody else has locked it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def set_aside(folder: Path) -> Path:
    """Rename a folder to one beside it that tells the time, and return where it lies."""
    aside = folder.with_name(f"{folder.name}.left-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    folder.rename(aside)
    return aside
