"""Holes of sparse files: they take no room, but are hashed like other bytes, so what is archived of them is bounded."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from hermes_backup.streams.admission import MOST_HOLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermes_backup.streams.directory import Directory

_BLOCK = 512  # of st_blocks (stat(3type))


def holes_at_most(status: os.stat_result) -> int:
    """Return how many bytes of a file its disk does not hold: holes, and what a file system saves by compression."""
    return max(0, status.st_size - status.st_blocks * _BLOCK)


def too_sparse(root: Directory, at_most: Mapping[bytes, int]) -> Mapping[bytes, int]:
    """Return the files whose holes go beyond what an archive may have, with the bytes of these: the most sparse ones.

    ``at_most`` is what each file below a folder may have of them.
    """
    if sum(at_most.values()) <= MOST_HOLES:
        return {}
    sizes = {name: _holes(root, name) for name, size in at_most.items() if size}
    total = 0
    found = {}
    for name, size in sorted(sizes.items(), key=lambda it: (it[1], it[0])):
        total += size
        if total > MOST_HOLES:
            found[name] = size
    return found


def _holes(root: Directory, name: bytes) -> int:
    """Measure a file's holes (lseek(2), SEEK_DATA); one that is gone, or has become something else, has none."""
    total = at = 0
    try:
        descriptor = root.open(name)
    except OSError:
        return 0
    try:
        size = os.fstat(descriptor).st_size
        while at < size:
            data = os.lseek(descriptor, at, os.SEEK_DATA)
            total += data - at
            at = os.lseek(descriptor, data, os.SEEK_HOLE)
    except OSError as error:
        return total + size - at if error.errno == errno.ENXIO else total  # ENXIO: a hole up to the end
    finally:
        os.close(descriptor)
    return total
