"""A home brought back in place, on its own host: unpacked beside it, checked, and only then exchanged for it.

Whoever is killed at whatever step leaves the old home or the new one. Until the exchange the old one is untouched;
afterwards it lies beside the new one, and goes back if a later step fails.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from hermes_backup.errors import (
    DISK_FULL,
    HOME_MISSING,
    HOME_MOUNTED,
    INTERRUPTED,
    RESTORE_REFUSED,
    SERVICE_FAILED,
    Fault,
    from_system,
)
from hermes_backup.home.elsewhere import absent_paths
from hermes_backup.home.excluded import excluded
from hermes_backup.home.mounts import mounts_in
from hermes_backup.home.occupants import services_of, vacate
from hermes_backup.home.owners import Owner, account, give, owner_of
from hermes_backup.home.printable import printable
from hermes_backup.home.secrets import secrets
from hermes_backup.home.services import Unit
from hermes_backup.home.swapping import anchored, move
from hermes_backup.pipeline.agent import rules_of
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.executor import Follower, execute
from hermes_backup.pipeline.handover import Handover, Replaced
from hermes_backup.pipeline.homes import DEFAULT_HOME, declared_home, home_of, saved_home
from hermes_backup.pipeline.hosts import state_folder
from hermes_backup.pipeline.interruption import interruptible, undisturbed
from hermes_backup.pipeline.lock import locked
from hermes_backup.pipeline.swaps import Note, Swap, settle
from hermes_backup.pipeline.unpacking import QUARANTINE, bare_context
from hermes_backup.stages.check import Check
from hermes_backup.stages.decrypt import unpacked
from hermes_backup.stages.extract import Extract
from hermes_backup.stages.selecting import is_within, outermost, select
from hermes_backup.stages.things import Plaintext, Report
from hermes_backup.streams.coder import read_chunks
from hermes_backup.streams.folders import held_folder, sweep

NOTE = "restoring.json"
"""In a host's state: what a restore is about to exchange."""
_STAYS_UP = 3.0  # seconds after which a service that was started again must still run
_MARGIN = 64 << 20


@dataclass(frozen=True)
class _Work:
    """One replacement under way. ``parent`` is anchored; ``home`` is where it lies for people."""

    handover: Handover
    home: Path
    parent: Path
    folder: Path
    stamp: str


def home_to_restore(config: HostConfig, pipeline: str) -> Path:
    """Return where a home is brought back on this host, whether it is there or not.

    Raises:
        Fault: HOME_MISSING, HOME_AMBIGUOUS.
    """
    declared = declared_home(config)
    if config.home != DEFAULT_HOME or declared.is_dir():
        return declared
    saved = saved_home(state_folder(config) / config.host / pipeline)
    if saved is not None:
        return saved
    try:
        return home_of(config).path
    except Fault as fault:
        if fault.kind is HOME_MISSING:
            return declared
        raise


def replace(handover: Handover, pipe: IO[bytes], follower: Follower) -> Replaced:
    """Take a snapshot's data off a pipe, and put it in the place of this host's home, or of some files of it.

    Raises:
        Fault: LOCKED, HOME_HELD, HOME_MOUNTED, SERVICE_FAILED, DISK_FULL, why the data cannot be believed;
            INTERRUPTED. The old home, or each old file, is in its place then, and its services run.
    """
    config = handover.config
    state = state_folder(config) / config.host
    home = home_to_restore(config, handover.manifest.pipeline)
    home = home.resolve() if home.exists() else home.parent.resolve() / home.name
    with interruptible():
        try:
            with _alone(config, state):
                for told in settle(state / NOTE):
                    follower.warn("restore", told)
                _require_place(home, handover)
                return _replaced(handover, home, pipe, follower)
        except KeyboardInterrupt:
            raise Fault(INTERRUPTED, "stopped by a signal; the home is as it was", where="restore") from None
        except OSError as error:
            raise from_system(error, "restore") from None


def _replaced(handover: Handover, home: Path, pipe: IO[bytes], follower: Follower) -> Replaced:
    with anchored(home.parent) as parent:
        sweep(parent, QUARANTINE)
        _require_room(home, handover)
        with held_folder(parent, QUARANTINE) as folder:
            stamp = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}"
            work = _Work(handover, home, parent, folder, stamp)
            report = _unpacked(work, pipe, follower)
            owner = _owner(work)
            if owner is not None and os.geteuid() == 0:
                give(report.tree.root, owner)
            follower.stage("replace")
            with _swaps(work, report.tree.root, owner) as swaps:
                absent = absent_paths(report.tree.root, tuple(it.path for it in report.tree.manifest.databases))
                stopped, started = _exchanged(work, swaps, follower)
                return _outcome(work, report, swaps, stopped, started, absent)


def _unpacked(work: _Work, pipe: IO[bytes], follower: Follower) -> Report:
    manifest = work.handover.manifest
    plain = Plaintext(
        manifest,
        work.handover.members,
        lambda: unpacked(read_chunks(pipe), manifest.data),
        lambda: read_chunks(pipe),
    )
    context = bare_context(work.handover.config, manifest.pipeline, work.folder, follower)
    stages = (Extract(only=work.handover.wanted.only), Check())
    report: Report = execute(stages, plain, context, follower)
    return report


@contextmanager
def _alone(config: HostConfig, state: Path) -> Iterator[None]:
    """Keep backups of this home from starting meanwhile."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as held:
        held.enter_context(locked(state / "restore.lock"))
        for name in config.pipelines:
            if (state / name).is_dir():
                held.enter_context(locked(state / name / "lock"))
        yield


def _require_place(home: Path, handover: Handover) -> None:
    if not home.parent.is_dir():
        raise Fault(HOME_MISSING, "there is no folder to put it in", where=printable(str(home.parent)))
    mounted = mounts_in(home)
    if mounted and not handover.wanted.only:
        raise Fault(HOME_MOUNTED, f"{printable(mounted[0])} is a mount point", where=printable(str(home)))


def _require_room(home: Path, handover: Handover) -> None:
    only, members = handover.wanted.only, handover.members
    wanted = select(members, only).members if only else members
    free = os.statvfs(home.parent)
    needed = sum(it.size for it in wanted if it.kind == "file") + _MARGIN
    there = free.f_bavail * free.f_frsize
    if needed > there:
        raise Fault(DISK_FULL, f"it needs {needed} bytes, {there} are free", where=printable(str(home.parent)))


def _owner(work: _Work) -> Owner | None:
    """Return to whom the home shall belong: who is declared, its owner, whose folder it lies in; None: as saved."""
    declared = account(work.handover.config.owner) if work.handover.config.owner else None
    around = owner_of(work.home.parent)
    return declared or owner_of(work.home) or (around if around is not None and around.uid else None)


@contextmanager
def _swaps(work: _Work, tree: Path, owner: Owner | None) -> Iterator[tuple[Swap, ...]]:
    name = work.home.name
    if not work.handover.wanted.only:
        tree.chmod(0o700)
        yield (_swap(work, tree, work.parent / name, work.home),)
        return
    with ExitStack() as held:
        home = held.enter_context(anchored(work.parent / name))
        made = []
        for path in outermost(work.handover.wanted.only):
            above, _, last = path.rpartition("/")
            made.append(_swap(work, tree / path, _below(home, above, owner, held) / last, work.home / path))
        yield tuple(made)


def _swap(work: _Work, new: Path, target: Path, shown: Path) -> Swap:
    """Plan one exchange; the old entry gets a name that nothing has yet."""
    names = (f"{target.name}.before-{work.stamp}" + (f"-{at}" if at else "") for at in itertools.count())
    aside = next(it for it in names if not os.path.lexists(target.with_name(it)))
    return Swap(new, target, target.with_name(aside), shown, shown.with_name(aside))


def _below(home: Path, path: str, owner: Owner | None, held: ExitStack) -> Path:
    """Open a folder of the home, step by step and through no link, making what is not there."""
    folder = home
    for name in filter(None, path.split("/")):
        made = not os.path.lexists(folder / name)
        if made:
            (folder / name).mkdir(mode=0o700)
        try:
            folder = held.enter_context(anchored(folder / name))
            if made and owner is not None and os.geteuid() == 0 and folder.stat().st_uid == 0:
                os.chown(folder, owner.uid, owner.gid)  # by its descriptor
        except OSError as error:
            what = f"{printable(path)} in the home is no plain folder: {error.strerror}"
            raise Fault(RESTORE_REFUSED, what, where="restore") from None
    return folder


def _exchanged(work: _Work, swaps: Sequence[Swap], follower: Follower) -> tuple[tuple[Unit, ...], tuple[Unit, ...]]:
    """Stop who uses the home, exchange, start again; return what was stopped, and what runs again."""
    note = state_folder(work.handover.config) / work.handover.config.host / NOTE
    start = work.handover.wanted.start
    quiet = _needs_quiet(work)
    units = services_of(work.home) if quiet else ()
    left_out = _left_out(work)
    undisturbed()  # from here on it goes to an end, forwards or back
    Note.of(swaps, units, start=start).write(note)
    done: list[Swap] = []
    carried: list[str] = []
    try:
        if quiet:
            vacate(work.home, units)
        for it in swaps:
            it.apply()
            done.append(it)
        for name in left_out:
            _carry(name, swaps[0].aside, swaps[0].target)
            carried.append(name)
        _start(units if start else ())
    except BaseException:
        _each(units, Unit.stop, follower)
        for name in reversed(carried):
            _carry(name, swaps[0].target, swaps[0].aside)
        for it in reversed(done):
            it.undo()
        _each(units, Unit.start, follower)
        note.unlink(missing_ok=True)
        raise
    note.unlink()
    return units, units if start else ()


def _left_out(work: _Work) -> tuple[str, ...]:
    """Return what no backup holds and the new home gets from the old one; nothing where single files are wanted."""
    if work.handover.wanted.only or not work.home.is_dir():
        return ()
    then = {it.name for it in work.handover.members}
    return tuple(map(os.fsdecode, excluded(work.home, rules_of(work.handover.config), then)))


def _carry(name: str, old: Path, new: Path) -> None:
    """Move an entry of one home into the other, through no link."""
    above, _, last = name.rpartition("/")
    with ExitStack() as held:
        folders = [_below(held.enter_context(anchored(it)), above, None, held) for it in (old, new)]
        move(folders[0] / last, folders[1] / last)


def _needs_quiet(work: _Work) -> bool:
    """Say whether who uses the home must stop: for single files only where a database is among them."""
    only = outermost(work.handover.wanted.only)
    return not only or any(is_within(it.path, only) for it in work.handover.manifest.databases)


def _start(units: Sequence[Unit]) -> None:
    for unit in units:
        unit.start()
    before = [unit.pulse() for unit in units]
    if units:
        time.sleep(_STAYS_UP)
    for unit, pulse in zip(units, before, strict=True):
        if not unit.is_active() or unit.pulse() != pulse:
            raise Fault(SERVICE_FAILED, f"{unit} did not stay up on the new home", where="restore")


def _each(units: Sequence[Unit], call: Callable[[Unit], None], follower: Follower) -> None:
    """Stop or start services on the way back; one that fails keeps no other from it."""
    for unit in units:
        try:
            call(unit)
        except (Fault, OSError) as error:
            follower.warn("restore", str(error))


def _outcome(
    work: _Work,
    report: Report,
    swaps: Sequence[Swap],
    stopped: Sequence[Unit],
    started: Sequence[Unit],
    absent: tuple[str, ...],
) -> Replaced:
    files = [it for it in report.tree.members if it.kind in ("file", "hardlink")]
    return Replaced(
        home=printable(str(work.home)),
        aside=tuple(printable(str(it.shown_aside)) for it in swaps if os.path.lexists(it.aside)),
        files=len(files),
        bytes=sum(it.size for it in files),
        stopped=tuple(map(str, stopped)),
        started=tuple(map(str, started)),
        checked=tuple(f"{it.what}: {it.evidence}" for it in report.findings),
        absent=absent,
        secrets=tuple(printable(it) for it in secrets(it.name for it in files)),
    )
