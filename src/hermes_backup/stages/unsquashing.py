"""A squashfs image taken apart in the quarantine: the disk is compared with the list of files, entry by entry."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from hermes_backup.errors import RESTORE_CHECK, RESTORE_REFUSED, Fault
from hermes_backup.home.holes import holes_at_most, too_sparse
from hermes_backup.stages.checks.files import files
from hermes_backup.stages.context import Context
from hermes_backup.stages.things import Plaintext, Tree
from hermes_backup.streams.admission import Doorkeeper
from hermes_backup.streams.directory import hold
from hermes_backup.streams.members import Member
from hermes_backup.streams.squashfs import SUFFIX, inodes_of, unsquash


def unsquashed(plain: Plaintext, root: Path, doorkeeper: Doorkeeper, context: Context) -> None:
    """Unpack an image into a folder that is not there yet; nothing larger, and no more, than its list of files says.

    Raises:
        Fault: RESTORE_REFUSED, RESTORE_CHECK, DATA_DAMAGED, DISK_FULL, TOOL_MISSING.
    """
    for member in sorted(plain.members, key=lambda it: it.kind == "hardlink"):  # the list is by name, not by order
        doorkeeper.admit(member)
    image = context.folder / f"image{SUFFIX}"
    try:
        _fetch(plain, image, context)
        inodes, expected = inodes_of(image), _inodes(plain.members)
        if inodes != expected:
            what = f"the image has {inodes} inodes, its list of files makes {expected}"
            raise Fault(RESTORE_CHECK, what, where="extract")
        unsquash(image, root, max((it.size for it in plain.members), default=0))
    finally:
        image.unlink(missing_ok=True)
    root.chmod(0o700)


def require_few_holes(root: Path, members: Sequence[Member]) -> None:
    """Refuse holes that would take for ever to be hashed: an image tells nothing of them before it is taken apart.

    Raises:
        Fault: RESTORE_REFUSED.
    """
    files = (it.name for it in members if it.kind == "file")
    with hold(root.absolute()) as held:
        found = too_sparse(held, {it: holes_at_most(held.lstat(it)) for it in files})
    for name, size in found.items():
        raise Fault(RESTORE_REFUSED, f"{name[:200]!r}: it has {size} bytes of holes", where="extract")


def require_alike(root: Path, plain: Plaintext, context: Context) -> None:
    """Compare kind, size, mode, target and content of everything that came out with the list of files.

    Raises:
        Fault: RESTORE_CHECK.
    """
    tree = Tree(root, plain.manifest, plain.members)
    for finding in files(tree, lambda done, total: context.listener.progress("extract", done, total)):
        if finding.verdict == "failed":
            said = f"{finding.evidence}: {', '.join(finding.named[:5])}"
            raise Fault(RESTORE_CHECK, f"the image and its index differ: {said}", where="extract")


def date(root: Path, members: Sequence[Member]) -> None:
    """Give everything its time as the list of files has it: an image knows whole seconds from 1970 to 2106 alone."""
    for member in sorted(members, key=lambda it: it.name, reverse=True):
        os.utime(root / os.fsdecode(member.name), (member.mtime, member.mtime), follow_symlinks=False)


def narrow(root: Path, members: Sequence[Member], wanted: Sequence[Member]) -> None:
    """Remove what is not wanted, and folders in which nothing is left then."""
    kept = {it.name for it in wanted}
    for member in sorted(members, key=lambda it: it.name, reverse=True):
        path = root / os.fsdecode(member.name)
        if member.name in kept:
            continue
        if member.kind != "dir":
            path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()


def _fetch(plain: Plaintext, image: Path, context: Context) -> None:
    done = 0
    with image.open("xb") as file:  # a link in its place is not followed either (open(2), O_EXCL)
        for chunk in plain.chunks():
            done += file.write(chunk)
            context.listener.progress("extract", done, plain.manifest.data.plain_size)


def _inodes(members: Sequence[Member]) -> int:
    """Count what mksquashfs makes of them: names of one file share an inode; folders above, and the root, are added."""
    paths = 0
    before: list[bytes] = []
    for parts in sorted(it.name.split(b"/") for it in members):
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, parts, strict=False)))
        paths += len(parts) - shared
        before = parts
    return paths - sum(it.kind == "hardlink" for it in members) + 1
