"""A home as a squashfs image, against mksquashfs of a copied tree, and against a tar of ours."""

from __future__ import annotations

import shlex
from pathlib import Path

from bench.contestants import WHOLE, Contestant, Key, agent

IMAGE = "hermes-backup agent run, squashfs"
TAR = "hermes-backup agent run, tar"
BARE = "cp -a; sqlite3 .backup; mksquashfs"


def images(home: Path, work: Path, key: Key) -> tuple[Contestant, ...]:
    """Return all, for one home; nobody encrypts, and all compress by zstd 3 in as many threads as there are cores."""
    ours = [
        agent(said, [WHOLE, {"archive": archive}, {"store": {"path": f"{work}/{name}/store"}}], home,
              work / name, key)
        for name, said, archive in (("image", IMAGE, {"format": "squashfs"}), ("tar", TAR, {"format": "tar"}))
    ]  # fmt: skip
    return (*ours, _bare(home, work / "bare"))


def _bare(home: Path, work: Path) -> Contestant:
    """Copy the tree, put a consistent database in it, and make an image of that: what a script would do."""
    tree, out, source = (shlex.quote(str(it)) for it in (work / "out" / "tree", work / "out", home))
    command = (
        f"cp -a {source} {tree} && rm -f {tree}/state.db* && "
        f"sqlite3 {source}/state.db \".backup '{tree}/state.db'\" && "
        f"mksquashfs {tree} {out}/image -quiet -no-progress -comp zstd -Xcompression-level 3 && rm -rf {tree}"
    )
    return Contestant(BARE, ("bash", "-c", command), work / "out", "no checks, no list, no signature")
