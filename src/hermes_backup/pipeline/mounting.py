"""A snapshot shown as a read-only folder for as long as somebody looks; what a killed run left goes with the next.

Root gets a bind mount of the checked tree, read-only, without devices, setuid and execution, that only root may enter.
Others get the tree itself, without write bits.
"""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from hermes_backup.errors import STAGE_FAILED, Fault
from hermes_backup.pipeline.executor import Follower
from hermes_backup.pipeline.interruption import stoppable
from hermes_backup.pipeline.unpacking import QUARANTINE, Source, unpacked
from hermes_backup.stages.place import require_vacant
from hermes_backup.stages.things import Report
from hermes_backup.streams import scratch
from hermes_backup.streams.folders import private_folder, remove, sweep
from hermes_backup.streams.private import write_private
from hermes_backup.streams.process import Argument, run

_RECORDS = "hb-mount-"
_RECORD = "shown.json"
_BESIDE = "beside"  # names the folder in which the quarantine lies
_STAGE = "mount"
_OPTIONS = "ro,nosuid,nodev,noexec"
_FLAGS = os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC


@dataclass(frozen=True)
class _Shown:
    """What is shown where, written down before it is: by its inode the tree is known again, whatever lies there then.

    ``mode`` is that of the empty folder that was there before, None where there was none.
    """

    at: str
    device: int
    inode: int
    mtime_ns: int
    bound: bool
    mode: int | None


@contextmanager
def shown(source: Source, target: Path, records: Path, follower: Follower) -> Iterator[Report]:
    """Show a snapshot at a folder that is empty or not there; afterwards all is as it was.

    ``records`` is where this user's runs find what others of them left, whatever their folder for temporaries is.

    Raises:
        Fault: TARGET_NOT_EMPTY, STAGE_FAILED; why the snapshot cannot be trusted or decrypted; INTERRUPTED.
    """
    target = target.expanduser().absolute()
    target = target.parent.resolve() / target.name
    with stoppable(_STAGE), _recorded(records) as folder:
        require_vacant(target)
        write_private(folder / _BESIDE, os.fsencode(target.parent))  # before anything plain lies there
        with unpacked(source, follower, target.parent, leave_indexes=True) as (report, _):
            it = _planned(report.tree.root, target)
            write_private(folder / _RECORD, json.dumps(asdict(it)).encode())
            try:
                (_bind if it.bound else _move)(report.tree.root, target)
                yield report
            finally:
                _end(it)


@contextmanager
def _recorded(records: Path) -> Iterator[Path]:
    """End what killed runs left, and make a folder for what is written down of this one."""
    records.mkdir(parents=True, exist_ok=True, mode=0o700)
    records.chmod(0o700)
    sweep(records, _RECORDS, _end_recorded)
    scratch.sweep()
    with private_folder(records, _RECORDS) as folder:
        yield folder


def until_stopped() -> None:
    """Wait for Ctrl-C, SIGTERM or the end of the terminal, inside :func:`shown`, which takes all three.

    Raises:
        KeyboardInterrupt: always.
    """
    while True:
        signal.pause()


def _planned(tree: Path, target: Path) -> _Shown:
    info = tree.stat()
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    return _Shown(str(target), info.st_dev, info.st_ino, info.st_mtime_ns, bound=os.geteuid() == 0, mode=mode)


def _bind(tree: Path, target: Path) -> None:
    os.chown(tree, 0, 0)  # the home's owner may be somebody else on this machine
    tree.chmod(0o700)
    target.mkdir(mode=0o700, exist_ok=True)
    _demand("mount", "--bind", "--", tree, target)
    _demand("mount", "-o", f"remount,bind,{_OPTIONS}", "--", target)
    if os.statvfs(target).f_flag & _FLAGS != _FLAGS:
        raise Fault(STAGE_FAILED, f"mount does not take {_OPTIONS}", where=str(target))


def _move(tree: Path, target: Path) -> None:
    try:
        os.rename(tree, target)  # noqa: PTH104 - rename(2) replaces an empty folder, and nothing else
    except OSError as error:
        raise Fault(STAGE_FAILED, f"cannot show the tree there: {error.strerror}", where=str(target)) from None
    _demand("chmod", "--recursive", "u+rX,a-w", "--", target)


def _end_recorded(folder: Path) -> None:
    with suppress(OSError, ValueError, TypeError):  # a run that was killed before it wrote one showed nothing
        _end(_Shown(**json.loads((folder / _RECORD).read_bytes())))
    with suppress(OSError):  # killed before it wrote one, it unpacked nothing
        sweep(Path(os.fsdecode((folder / _BESIDE).read_bytes())), QUARANTINE)


def _end(it: _Shown) -> None:
    """Take away what is shown, if it is; anything else that may lie there by now is left alone."""
    at = Path(it.at)
    try:
        info = at.lstat()
    except FileNotFoundError:
        return
    is_tree = (info.st_dev, info.st_ino) == (it.device, it.inode)
    if it.bound:
        if is_tree and run(["umount", "--", at], stage=_STAGE).returncode:
            _demand("umount", "--lazy", "--", at)  # somebody stands in it
        if it.mode is None:
            with suppress(OSError):
                at.rmdir()
    elif is_tree and info.st_mtime_ns == it.mtime_ns:
        remove(at)
        if it.mode is not None:
            at.mkdir()
            at.chmod(it.mode)


def _demand(*argv: Argument) -> None:
    done = run(argv, stage=_STAGE)
    if done.returncode:
        raise Fault(STAGE_FAILED, f"{argv[0]!s} ended with {done.returncode}: {done.stderr.strip()}", where=_STAGE)
