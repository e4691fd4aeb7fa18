"""A home of two layers: a squashfs image below, which nobody changes, and a local folder above, which takes writes.

Seen on Linux 5.10 with util-linux 2.38: without ``index=on`` a hard link of the image is broken by the first write to
one of its names, and without ``xino=auto`` files of the two layers lie on different devices. fuse-overlayfs 1.10 breaks
such links whatever it is told.
"""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hermes_backup.errors import STAGE_FAILED, Fault
from hermes_backup.home.mountpoint import Mountpoint
from hermes_backup.home.mounts import mounted_at
from hermes_backup.home.owners import owner_of
from hermes_backup.streams.folders import remove, set_aside
from hermes_backup.streams.process import Argument, find, run

Method = Literal["overlay", "fuse"]
METHODS: tuple[Method, ...] = ("overlay", "fuse")
_STAGE = "mount"
_TRIES, _PAUSE = 50, 0.1  # seconds between two
_SYS_ADMIN = 21  # CAP_SYS_ADMIN of linux/capability.h
_KERNEL = "index=on,xino=auto,nosuid,nodev"


def plausible(method: Method) -> bool:
    """Say whether a method is worth a try here; where it is not, the image need not be fetched for it."""
    try:
        if method == "fuse":
            return os.access("/dev/fuse", os.W_OK) and bool(find("squashfuse") and find("fuse-overlayfs"))
        return os.access("/dev/loop-control", os.W_OK) and bool(_capabilities() >> _SYS_ADMIN & 1)
    except Fault:
        return False


def _capabilities() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next((int(it.split()[1], 16) for it in lines if it.startswith("CapEff:")), 0)


@dataclass(frozen=True)
class Layers:
    """Where the layers of a home lie.

    Attributes:
        point: where the home is seen; a folder that is empty.
        folder: private (0700), on a disk of this machine: the image, and everything that is written to the home.
    """

    point: Mountpoint
    folder: Path

    @property
    def image(self) -> Path:
        """The squashfs image."""
        return self.folder / "image.sqsh"

    @property
    def lower(self) -> Path:
        """Where the image alone is mounted."""
        return self.folder / "lower"

    @property
    def upper(self) -> Path:
        """What was written since."""
        return self.folder / "upper"

    @property
    def merged(self) -> Path:
        """Where both are mounted together, until they are shown where the home is seen."""
        return self.folder / "merged"

    @property
    def mounted(self) -> bool:
        """Whether these layers are mounted where the home is seen."""
        return layers_mounted(self.point.at, self.folder)

    def mount(self, method: Method) -> None:
        """Show the home; what an earlier mount of these layers wrote is there again.

        Raises:
            Fault: STAGE_FAILED where this machine or container does not allow it, TOOL_MISSING; nothing is shown then.
        """
        for it in (self.lower, self.folder / "work", self.merged):
            it.mkdir(exist_ok=True, mode=0o700)
        try:
            if method == "overlay":
                _demand("mount", "-t", "squashfs", "-o", "loop,ro,nosuid,nodev", "--", self.image, self.lower)
                self._make_upper()
                options = f"{self._options()},{_KERNEL}"
                _demand("mount", "-t", "overlay", "-o", options, "--", "hermes-backup", self.merged)
            else:
                _demand("squashfuse", "-o", "ro,nosuid,nodev,allow_other", self.image, self.lower)
                self._make_upper()
                _demand("fuse-overlayfs", "-o", self._options(), self.merged)
            self.point.bind(self.merged)
        except Fault:
            self.unmount()
            raise

    def unmount(self) -> None:
        """Take the home away as far as it is mounted; its layers stay.

        Raises:
            Fault: STAGE_FAILED when somebody stands in it.
        """
        if self.mounted:
            self.point.unmount()
        for it in (self.merged, self.lower):
            while it.is_dir() and mounted_at(it) is not None:
                _let_go(it)

    def discard(self) -> Path | None:
        """Remove the layers; where something was written, they are moved aside instead, and where to is returned.

        Raises:
            Fault: STAGE_FAILED when somebody stands in the home.
        """
        self.unmount()
        if self.upper.is_dir() and any(self.upper.iterdir()):
            return set_aside(self.folder)
        remove(self.folder)
        return None

    def _make_upper(self) -> None:
        """The root of the merged view has the owner and mode of the upper layer's.

        The image's own root belongs to root, whoever it belonged to (mksquashfs 4.5.1 of a tar stream, seen), so that
        the owner is who owns most of what lies in it.
        """
        if not self.upper.is_dir():
            info = self.lower.stat()
            making = self.folder / "making"
            making.mkdir(exist_ok=True)
            owners = Counter((it.uid, it.gid) for it in map(owner_of, self.lower.iterdir()) if it is not None)
            os.chown(making, *(owners.most_common(1)[0][0] if owners else (info.st_uid, info.st_gid)))
            making.chmod(stat.S_IMODE(info.st_mode))
            making.rename(self.upper)

    def _options(self) -> str:
        for path in (self.lower, self.upper):
            if any(it in str(path) for it in ",:\\"):  # mount(8) and overlayfs take these for their own
                raise Fault(STAGE_FAILED, "no layer can lie in a folder with , : or \\ in its name", where=str(path))
        return f"lowerdir={self.lower},upperdir={self.upper},workdir={self.folder / 'work'}"


def _let_go(mounted: Path) -> None:
    """Unmount what a program of FUSE reads until it has ended, which takes it a moment after its own mount went."""
    for _ in range(_TRIES):
        try:
            _demand("umount", "--", mounted)
        except Fault as fault:
            if "busy" not in fault.what:
                raise
            time.sleep(_PAUSE)
        else:
            return
    _demand("umount", "--", mounted)


def layers_mounted(at: Path, folder: Path) -> bool:
    """Say whether the layers in a folder are mounted at another; a volume that somebody mounted there is not."""
    there = mounted_at(at)
    if there is None:
        return False
    upper = b"upperdir=" + os.fsencode(folder / "upper")
    return there.kind == b"fuse.fuse-overlayfs" or (there.kind == b"overlay" and upper in there.options.split(b","))


def _demand(*argv: Argument) -> None:
    done = run(argv, stage=_STAGE)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise Fault(STAGE_FAILED, f"{argv[0]!s}: {said[0]}", where=_STAGE)
