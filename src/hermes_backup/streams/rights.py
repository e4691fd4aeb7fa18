"""The rights of another user, for a thread of root's: what that user could not open or make, it cannot either.

setfsuid(2) changes what the calling thread may do with files, and takes root's capabilities over files from it until it
is given back. One of them is kept, where this process has it: to read, and so to pass folders that the user may not
enter, as those above a container's volume.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager

_SETGROUPS = {"x86_64": 116, "i386": 206, "i686": 206, "armv7l": 206, "s390x": 206, "ppc64le": 81}  # syscalls(2)
_SETGROUPS_ELSEWHERE = 159  # aarch64, riscv64: asm-generic/unistd.h
_CAPABILITIES = struct.Struct("=6I")  # of two sets: effective, permitted, inheritable (capset(2))
_HEADER = struct.pack("=Ii", 0x20080522, 0)  # version 3, the calling thread
_READ = 1 << 2  # CAP_DAC_READ_SEARCH
_NOBODY = 0xFFFFFFFF  # changes nothing, and lets setfsuid tell what is


@contextmanager
def rights_of(uid: int, gid: int) -> Iterator[None]:
    """Take on a user's rights over files in this thread, where this process is root and the user is not.

    Raises:
        PermissionError: this process may not take on another user's rights.
    """
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    groups = os.getgroups()
    try:
        if groups:
            _set_groups(libc, ())
        libc.setfsgid(ctypes.c_uint(gid))
        libc.setfsuid(ctypes.c_uint(uid))
        if libc.setfsuid(ctypes.c_uint(_NOBODY)) != uid or libc.setfsgid(ctypes.c_uint(_NOBODY)) != gid:
            raise PermissionError(errno.EPERM, "root lacks CAP_SETUID or CAP_SETGID here")
        _keep_reading(libc)
        yield
    finally:
        libc.setfsuid(ctypes.c_uint(0))
        libc.setfsgid(ctypes.c_uint(os.getegid()))
        if groups:
            _set_groups(libc, groups)


def _set_groups(libc: ctypes.CDLL, groups: tuple[int, ...] | list[int]) -> None:
    """Set this thread's groups alone: the C library's function sets those of all threads."""
    number = _SETGROUPS.get(platform.machine(), _SETGROUPS_ELSEWHERE)
    array = (ctypes.c_uint * len(groups))(*groups)
    if libc.syscall(number, len(groups), array) != 0:
        raise PermissionError(ctypes.get_errno(), "root lacks CAP_SETGID here")


def _keep_reading(libc: ctypes.CDLL) -> None:
    found = ctypes.create_string_buffer(_CAPABILITIES.size)
    if libc.capget(_HEADER, found) != 0:
        return
    effective, permitted, *others = _CAPABILITIES.unpack(found.raw)
    if permitted & _READ:
        libc.capset(_HEADER, _CAPABILITIES.pack(effective | _READ, permitted, *others))
