"""A home brought back in place, on its own host: unpacked beside it, checked, and only then exchanged for it.

Whoever is killed at whatever step leaves the old home or the new one. Until the exchange the old one is untouched;
afterwards it lies beside the new one, and goes back if a later step fails.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import IO

from hermes_backup.errors import (
    HOME_MISSING,
    HOME_MOUNTED,
    INTERRUPTED,
    Fault,
    from_system,
)
from hermes_backup.home.elsewhere import absent_paths
from hermes_backup.home.excluded import excluded
from hermes_backup.home.mounts import ground_of, mounts_in
from hermes_backup.home.occupants import holds_database
from hermes_backup.home.owners import Owner, account, give, owner_of
from hermes_backup.home.printable import printable
from hermes_backup.home.secrets import secrets
from hermes_backup.home.services import Unit
from hermes_backup.home.swapping import anchored, below
from hermes_backup.pipeline.agent import rules_of
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.exchanging import Exchange
from hermes_backup.pipeline.executor import Follower, execute
from hermes_backup.pipeline.handover import Handover, Replaced
from hermes_backup.pipeline.homes import DEFAULT_HOME, declared_home, home_of, saved_home
from hermes_backup.pipeline.hosts import state_folder
from hermes_backup.pipeline.interruption import interruptible
from hermes_backup.pipeline.lock import locked
from hermes_backup.pipeline.swaps import Swap, settle
from hermes_backup.pipeline.unpacking import QUARANTINE, bare_context
from hermes_backup.stages.check import Check
from hermes_backup.stages.decrypt import unpacked
from hermes_backup.stages.extract import Extract
from hermes_backup.stages.room import indexes_size, require_room, unpacked_size
from hermes_backup.stages.selecting import is_within, outermost, select
from hermes_backup.stages.things import Plaintext, Report
from hermes_backup.streams.coder import read_chunks
from hermes_backup.streams.directory import hold, hold_above
from hermes_backup.streams.folders import held_folder, sweep

NOTE = "restoring.json"
"""In a host's state: what a restore is about to exchange."""
_MARGIN = 64 << 20


@dataclass(frozen=True)
class _Work:
    """One replacement under way. ``parent`` and ``folder`` are anchored; ``home`` is where it lies for people."""

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
            INTERRUPTED. The old home, or each old file, is in its place then, and its services run, but where
            it says otherwise.
    """
    config = handover.config
    state = state_folder(config) / config.host
    declared = home_to_restore(config, handover.manifest.pipeline)
    with interruptible():
        try:
            with _alone(config, state):
                for told in settle(state / NOTE):
                    follower.warn("restore", told)
                home = _located(declared)
                return _replaced(handover, home, _ground(home, handover), pipe, follower)
        except KeyboardInterrupt:
            raise Fault(INTERRUPTED, "stopped by a signal; the home is as it was", where="restore") from None
        except OSError as error:
            raise from_system(error, "restore") from None


def _located(home: Path) -> Path:
    """Return where a home lies, links followed; only those of users that are trusted.

    Raises:
        Fault: HOME_LINK, HOME_MISSING.
    """
    try:
        with hold_above(home.absolute()) as (above, name):
            return above.shown / name
    except FileNotFoundError:
        raise Fault(HOME_MISSING, "there is no folder to put it in", where=printable(str(home.parent))) from None


def _replaced(handover: Handover, home: Path, ground: Path, pipe: IO[bytes], follower: Follower) -> Replaced:
    with ExitStack() as held:
        parent = held.enter_context(anchored(home.parent))
        beside = below(parent, "/".join(ground.relative_to(home.parent).parts), None, held)
        for it in (parent, beside):
            sweep(it, QUARANTINE)
        _require_room(beside, home, handover)
        folder = held.enter_context(held_folder(beside, QUARANTINE))
        stamp = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}"
        work = _Work(handover, home, parent, folder, stamp)
        report = _unpacked(work, pipe, follower)
        owner = _owner(work)
        if owner is not None and os.geteuid() == 0:
            give(report.tree.root, owner)
        follower.stage("replace")
        with _swaps(work, report.tree.root, owner) as swaps:
            absent = absent_paths(report.tree.root, tuple(it.path for it in report.tree.manifest.databases))
            stopped, started = _exchange(work, report.tree.root, swaps).execute(follower)
            return _outcome(work, report, swaps, stopped, started, absent)


def _unpacked(work: _Work, pipe: IO[bytes], follower: Follower) -> Report:
    manifest = work.handover.manifest
    plain = Plaintext(
        manifest,
        work.handover.members,
        lambda: unpacked(read_chunks(pipe), manifest.data),
        lambda: read_chunks(pipe),
        work.handover.remakings,
    )
    context = bare_context(work.handover.config, manifest.pipeline, work.folder, follower)
    check = Check(depth="quick", search_indexes="leave" if work.handover.wanted.leave_indexes else "rebuild")
    stages = (Extract(only=work.handover.wanted.only), check)
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


def _ground(home: Path, handover: Handover) -> Path:
    """Return the folder to unpack in: beside the home, or on the mount in it that everything wanted lies on.

    Raises:
        Fault: HOME_MISSING; HOME_MOUNTED where there is none.
    """
    if not home.parent.is_dir():
        raise Fault(HOME_MISSING, "there is no folder to put it in", where=printable(str(home.parent)))
    only = outermost(handover.wanted.only)
    replaced = tuple(str(home / it) for it in only) or (str(home),)
    where = printable(str(home))
    for mount in mounts_in(home):
        if is_within(os.fsdecode(mount), replaced):
            mend = "Name what is in it, each with --path; or restore into a folder with --to." if only else ""
            raise Fault(HOME_MOUNTED, f"{printable(mount)} is a mount point", where=where, mend=mend)
    grounds = {ground_of(home, it): it for it in only} or {home.parent: ""}
    if len(grounds) > 1:
        what = f"{' and '.join(map(printable, sorted(grounds.values())))} lie on different file systems"
        raise Fault(HOME_MOUNTED, what, where=where, mend="Restore them one after the other.")
    return next(iter(grounds))


def _require_room(folder: Path, home: Path, handover: Handover) -> None:
    manifest, only, members = handover.manifest, handover.wanted.only, handover.members
    wanted = select(members, only).members if only else members
    lean = {it.path for it in manifest.databases if it.left_out}
    indexes = sum(indexes_size(it.size) for it in wanted if printable(it.name) in lean)
    require_room(folder, unpacked_size(manifest, wanted) + indexes + _MARGIN, str(home.parent))


def _owner(work: _Work) -> Owner | None:
    """Return to whom the home shall belong: who is declared, its owner, whose folder it lies in; None: as saved."""
    declared = account(work.handover.config.owner) if work.handover.config.owner else None
    status = work.parent.stat()
    around = Owner(status.st_uid, status.st_gid)
    return declared or owner_of(work.parent / work.home.name) or (around if around.uid else None)


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
            made.append(_swap(work, tree / path, below(home, above, owner, held) / last, work.home / path))
        yield tuple(made)


def _swap(work: _Work, new: Path, target: Path, shown: Path) -> Swap:
    """Plan one exchange; the old entry gets a name that nothing has yet."""
    names = (f"{target.name}.before-{work.stamp}" + (f"-{at}" if at else "") for at in itertools.count())
    aside = next(it for it in names if not os.path.lexists(target.with_name(it)))
    return Swap(new, target, target.with_name(aside), shown, shown.with_name(aside))


def _exchange(work: _Work, tree: Path, swaps: Sequence[Swap]) -> Exchange:
    config = work.handover.config
    note = state_folder(config) / config.host / NOTE
    return Exchange(
        work.home, swaps, partial(_left_out, work), _needs_quiet(work, tree), work.handover.wanted.start, note
    )


def _left_out(work: _Work) -> tuple[str, ...]:
    """Return what no backup holds and the new home gets from the old one; nothing where single files are wanted."""
    then = {it.name for it in work.handover.members}
    try:
        with hold(work.parent / work.home.name) as home:
            rules = rules_of(work.handover.config)
            return () if work.handover.wanted.only else tuple(map(os.fsdecode, excluded(home, rules, then)))
    except OSError:  # there is no home yet
        return ()


def _needs_quiet(work: _Work, tree: Path) -> bool:
    """Say whether who uses the home must stop: for single files only where a database comes or goes with them.

    The manifest is not asked: it lists neither damaged ones nor, in a pipeline without ``sqlite``, any.
    """
    only = outermost(work.handover.wanted.only)
    if not only:
        return True
    with ExitStack() as held:
        homes = [held.enter_context(hold(it)) for it in (tree, work.parent / work.home.name) if it.is_dir()]
        return any(holds_database(home, it) for home in homes for it in only)


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
        partial=report.tree.manifest.partial,
    )
