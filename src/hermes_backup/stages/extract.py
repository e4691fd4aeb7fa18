"""Stage ``extract``: the archive into a quarantine, each member examined before tar sees it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from hermes_backup.errors import DISK_FULL, MANIFEST_BAD, RESTORE_CHECK, STAGE_FAILED, Fault
from hermes_backup.home.printable import printable
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.stages.context import Context
from hermes_backup.stages.examining import examine, shown
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Plaintext, Tree
from hermes_backup.streams.admission import Doorkeeper
from hermes_backup.streams.members import Follower, Member
from hermes_backup.streams.process import PIPE, Argument, spawn


class Extract(Stage):
    """Unpack into a private folder; refuse what would leave it, drop setuid, compare with the index."""

    name: ClassVar[str] = "extract"
    takes: ClassVar[tuple[type, ...]] = (Plaintext,)
    gives: ClassVar[type] = Tree

    def run(self, value: Any, context: Context) -> Tree:
        """Pull the archive through the doorkeeper into tar."""
        plain: Plaintext = value
        manifest = plain.manifest
        if (manifest.kind, manifest.format) != ("full", "tar"):
            what = f"a {manifest.kind} snapshot in the format {manifest.format} cannot be unpacked by this version"
            raise Fault(MANIFEST_BAD, what, mend="Take a newer hermes-backup, or another snapshot.")
        root = context.folder / "tree"
        root.mkdir(mode=0o700)
        doorkeeper = Doorkeeper()
        members = _unpack(plain, root, doorkeeper, context)
        _compare(members, plain.members)
        _count(members, manifest)
        _own(root, members)
        warnings = [f"setuid or setgid is dropped: {printable(it)}" for it in examine(root, members)]
        warnings += [f"the link points outside the home: {printable(it)}" for it in doorkeeper.outward]
        for warning in warnings:
            context.listener.warn(self.name, warning)
        return Tree(root, manifest, members, tuple(warnings))


def _unpack(plain: Plaintext, root: Path, doorkeeper: Doorkeeper, context: Context) -> tuple[Member, ...]:
    follower = Follower(doorkeeper.admit)
    argv: list[Argument] = ["tar", "--extract", "--file=-", "--directory", root, "--preserve-permissions"]
    argv += ["--same-owner" if os.geteuid() == 0 else "--no-same-owner", "--numeric-owner"]
    # security.capability would be setuid by another name
    argv += ["--xattrs", "--xattrs-include=user.*", "--acls", "--delay-directory-restore"]
    process = spawn(argv, stage="extract", stdin=PIPE)
    chunks = plain.chunks()
    try:
        for chunk in chunks:
            follower.feed(chunk)
            with suppress(BrokenPipeError):  # tar does not read what pads the archive after its end mark
                process.stdin.write(chunk)
            context.listener.progress("extract", follower.size, plain.manifest.data.plain_size)
        members = follower.close()
        with suppress(BrokenPipeError):
            process.stdin.close()
        code = process.wait()
    finally:
        chunks.close()
        process.kill()
    if code != 0:
        said = process.errors()
        kind = DISK_FULL if "No space left" in said else STAGE_FAILED
        raise Fault(kind, f"tar ended with {code}: {said}", where=str(root))
    return members


def _compare(found: Sequence[Member], promised: Sequence[Member]) -> None:
    there = {it.name: it for it in found}
    wanted = {it.name: it for it in promised}
    differing = sorted(name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name))
    if differing:
        raise Fault(RESTORE_CHECK, f"the archive and its index differ: {shown(differing)}", where="extract")


def _own(root: Path, members: Sequence[Member]) -> None:
    """Give the home itself, which is no member, to whom most of what lies in it belongs."""
    owners = Counter((it.uid, it.gid) for it in members if b"/" not in it.name)
    if os.geteuid() == 0 and owners:
        os.chown(root, *owners.most_common(1)[0][0])


def _count(found: Sequence[Member], manifest: Manifest) -> None:
    files = [it.size for it in found if it.kind in ("file", "hardlink")]
    if (len(files), sum(files)) != (manifest.files, manifest.bytes):
        said = f"{len(files)} files with {sum(files)} bytes, not {manifest.files} with {manifest.bytes}"
        raise Fault(RESTORE_CHECK, f"the archive holds {said}, as the manifest promises", where="extract")
