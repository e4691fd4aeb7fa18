"""Stage ``extract``: the archive into a quarantine, each member examined before tar sees it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from hermes_backup.errors import DISK_FULL, RESTORE_CHECK, STAGE_FAILED, Fault
from hermes_backup.home.printable import printable
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.stages.context import Context
from hermes_backup.stages.examining import examine, shown
from hermes_backup.stages.room import require_room, unpacked_size
from hermes_backup.stages.selecting import Selected, narrowed, select
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Plaintext, Tree
from hermes_backup.stages.unsquashing import date, narrow, require_alike, require_few_holes, unsquashed
from hermes_backup.streams.admission import Doorkeeper
from hermes_backup.streams.coder import Chunks
from hermes_backup.streams.members import BLOCK, Follower, Member
from hermes_backup.streams.process import PIPE, Argument, Process, spawn

_END_MARK = bytes(2 * BLOCK)


class Extract(Stage):
    """Unpack into a private folder; refuse what would leave it, drop setuid, compare with the index."""

    name: ClassVar[str] = "extract"
    takes: ClassVar[tuple[type, ...]] = (Plaintext,)
    gives: ClassVar[type] = Tree

    only: tuple[str, ...] = ()
    """Only these files and folders, relative to the home; none given: everything."""

    def run(self, value: Any, context: Context) -> Tree:
        """Let the archive through the doorkeeper into tar or unsquashfs, and look at what came out."""
        plain: Plaintext = value
        manifest = plain.manifest
        root = context.folder / "tree"
        wanted = select(plain.members, self.only) if self.only else Selected(plain.members)
        doorkeeper = Doorkeeper()
        _count(plain.members, manifest)
        _require_room(plain, wanted, context)
        out_of = _out_of_image if manifest.format == "squashfs" else _out_of_tar
        special = out_of(plain, root, doorkeeper, context, wanted if self.only else None)
        _own(root, plain.members)
        warnings = [f"setuid or setgid is dropped: {printable(it)}" for it in special]
        names = {it.name for it in wanted.members}
        outward = [it for it in doorkeeper.outward if it in names]
        warnings += [f"the link points outside the home: {printable(it)}" for it in outward]
        for warning in warnings:
            context.listener.warn(self.name, warning)
        agreed = narrowed(manifest, wanted.members) if self.only else manifest
        there = {it.path for it in agreed.databases}
        remakings = tuple(it for it in plain.remakings if it.database in there)
        return Tree(root, agreed, wanted.members, tuple(warnings), remakings)


def _require_room(plain: Plaintext, wanted: Selected, context: Context) -> None:
    """Make sure that all fits that will be written: an image is unpacked whole, and lies beside what comes out."""
    manifest, targets = plain.manifest, set(wanted.targets)
    if manifest.format == "squashfs":
        needed = unpacked_size(manifest, plain.members) + manifest.data.plain_size
    else:
        needed = unpacked_size(manifest, (*wanted.members, *(it for it in plain.members if it.name in targets)))
    require_room(context.folder, needed)


def _out_of_tar(
    plain: Plaintext, root: Path, doorkeeper: Doorkeeper, context: Context, some: Selected | None
) -> tuple[bytes, ...]:
    """Unpack a tar stream; return what lost its setuid or setgid bit."""
    root.mkdir(mode=0o700)
    _unpack(plain, root, doorkeeper, context, some)
    for name in some.targets if some else ():
        _forget(root / os.fsdecode(name), root)
    return examine(root, plain.members if some is None else some.members)


def _out_of_image(
    plain: Plaintext, root: Path, doorkeeper: Doorkeeper, context: Context, some: Selected | None
) -> tuple[bytes, ...]:
    """Unpack a squashfs image; return what lost its setuid or setgid bit."""
    unsquashed(plain, root, doorkeeper, context)
    special = examine(root, plain.members)
    require_few_holes(root, plain.members)
    require_alike(root, plain, context)
    if some is not None:
        narrow(root, plain.members, some.members)
    date(root, plain.members if some is None else some.members)
    return special


def _unpack(plain: Plaintext, root: Path, doorkeeper: Doorkeeper, context: Context, some: Selected | None) -> None:
    """Unpack all of the archive, or some of it and then no more; what was read of it is compared, member by member."""
    argv: list[Argument] = ["tar", "--extract", "--file=-", "--directory", root, "--preserve-permissions"]
    argv += ["--same-owner" if os.geteuid() == 0 else "--no-same-owner", "--numeric-owner"]
    # security.capability would be setuid by another name
    argv += ["--xattrs", "--xattrs-include=user.*", "--acls", "--delay-directory-restore"]
    if some is not None:
        names = context.folder / "wanted"
        names.write_bytes(b"".join(it.name + b"\0" for it in some.extracted))
        argv += ["--null", "--no-unquote", "--no-wildcards", "--no-recursion", f"--files-from={names}"]
    process = spawn(argv, stage="extract", stdin=PIPE)
    chunks = plain.chunks()
    wanted = None if some is None else {it.name for it in some.extracted}
    told, total = context.listener.progress, plain.manifest.data.plain_size
    try:
        members = _feed(process, chunks, Follower(doorkeeper.admit), wanted, lambda done: told("extract", done, total))
        code = process.wait()
    finally:
        process.kill()
        chunks.close()
    _compare(members, plain.members, wanted)
    if code != 0:
        first, *rest = process.errors().splitlines() or [""]
        kind = DISK_FULL if any("No space left" in it for it in (first, *rest)) else STAGE_FAILED
        more = f", and {len(rest)} lines more" if rest else ""
        raise Fault(kind, f"tar ended with {code}: {first}{more}", where=str(root))


def _feed(
    process: Process, chunks: Chunks, follower: Follower, wanted: Set[bytes] | None, tell: Callable[[int], None]
) -> tuple[Member, ...]:
    """Feed tar to the end, or until all that is wanted went by, and return the members that did.

    The rest of the archive is not needed then: all its bytes were proven before they were decrypted, and what is wanted
    is compared with the list.
    """
    left = set(wanted or ())
    seen = 0
    for chunk in chunks:
        follower.feed(chunk)
        tell(follower.size)
        passed = follower.complete(since=seen)
        seen += len(passed)
        left -= {it.name for it in passed}
        if wanted is not None and not left:
            _give(process, chunk[: len(chunk) - (follower.size - follower.end)] + _END_MARK, last=True)
            return follower.complete()
        _give(process, chunk)
    members = follower.close()
    _give(process, b"", last=True)
    return members


def _give(process: Process, data: bytes, *, last: bool = False) -> None:
    with suppress(BrokenPipeError):  # tar does not read what pads the archive after its end mark
        process.stdin.write(data)
        if last:
            process.stdin.close()


def _forget(path: Path, root: Path) -> None:
    """Remove a file, and the folders that were only made for it."""
    path.unlink()
    for folder in path.parents:
        if folder == root or any(folder.iterdir()):
            return
        folder.rmdir()


def _compare(found: Sequence[Member], promised: Sequence[Member], wanted: Set[bytes] | None) -> None:
    """Compare what went by with what the list promises; without ``wanted`` all of the list went by."""
    there = {it.name: it for it in found}
    said = {it.name: it for it in promised}
    names = there.keys() | (said.keys() if wanted is None else wanted)
    differing = sorted(name for name in names if there.get(name) != said.get(name))
    if differing:
        raise Fault(RESTORE_CHECK, f"the archive and its index differ: {shown(differing)}", where="extract")


def _own(root: Path, members: Sequence[Member]) -> None:
    """Give the home itself, which is no member, to whom most of what lies in it belongs."""
    owners = Counter((it.uid, it.gid) for it in members if b"/" not in it.name)
    if os.geteuid() == 0 and owners:
        os.chown(root, *owners.most_common(1)[0][0], follow_symlinks=False)


def _count(found: Sequence[Member], manifest: Manifest) -> None:
    files = [it.size for it in found if it.kind in ("file", "hardlink")]
    if (len(files), sum(files)) != (manifest.files, manifest.bytes):
        said = f"{len(files)} files with {sum(files)} bytes, not {manifest.files} with {manifest.bytes}"
        raise Fault(RESTORE_CHECK, f"the archive holds {said}, as the manifest promises", where="extract")
