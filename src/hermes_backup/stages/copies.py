"""Copies of a home's databases: each is checked in a thread of its own while the next is made, or archived."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from hermes_backup.home.databases.copying import Progress, discard
from hermes_backup.home.databases.facts import DatabaseBroken
from hermes_backup.home.databases.filling import NotLean
from hermes_backup.home.databases.finding import Found
from hermes_backup.home.databases.holders import Holder
from hermes_backup.home.databases.lean import Copied, Made, copy_whole
from hermes_backup.home.databases.taken import held_by_memory
from hermes_backup.home.printable import printable
from hermes_backup.home.selection import Partial, why_foreign
from hermes_backup.stages.context import Context
from hermes_backup.stages.things import Home

_WHY_NOT = {
    "orphan-wal": "the database is gone, only its log is left; archived as it lies",
    "damaged": "it does not start as a database; archived as it lies",
    "empty": "the database has no bytes",
}
_BESIDE = 2 << 30  # bytes


def _largest_beside() -> int:
    """Return how many bytes of copies may be checked beside the stream, before whose end their checks should be done.

    Uploads wait for the checks, and one by SFTP that waited for 45 s was cut by its server (rclone 1.75, seen).
    """
    return min(_BESIDE, held_by_memory())


class Copying(Protocol):
    """A way to copy a database, as :func:`hermes_backup.home.databases.lean.begin_lean` does."""

    def __call__(self, source: Path, target: Path, *, deadline: float, progress: Progress, name: str) -> Made:
        """Copy, and leave the check to others."""


@dataclass(frozen=True)
class _Staged:
    found: Found
    checked: Future[Copied]


class Copies:
    """What is copied, what is broken, and what the checks say."""

    def __init__(self, home: Home, context: Context, deadline: float, found: tuple[Found, ...], copy: Copying) -> None:
        self._home = home
        self._context = context
        self._deadline = deadline
        self._copy = copy
        self._staged = context.folder / "home"
        self._sizes = {it.name: _size(home, it.name) for it in found}
        self._done = 0
        self._unsettled: list[_Staged] = []
        self._settled: dict[bytes, Copied] = {}
        self._as_they_lie: set[bytes] = set()
        self._partial: list[Partial] = []
        self._unwanted = threading.Event()
        self._checking = ThreadPoolExecutor(1, thread_name_prefix="check")
        context.teardown.home_released.callback(self._remove)
        context.teardown.always.callback(self._end)

    def take(self, found: Found) -> None:
        """Copy one database and have it checked, or note why it is archived as it lies."""
        if found.kind != "live":
            self._broken(found.name, _WHY_NOT[found.kind])
            return
        shown = printable(found.name)
        target = self._target(found)
        if found.journal == "rollback":
            self._context.listener.note("sqlite", f"{shown} keeps a rollback journal: its writers wait meanwhile")
        try:
            with self._source(found) as source:
                made = self._copy(source, target, deadline=self._deadline, progress=self._progress, name=shown)
        except DatabaseBroken as error:
            self._broken(found.name, f"{error.reason}; archived as it lies")
        else:
            self._unsettled.append(_Staged(found, self._checking.submit(made.check, self._look)))
            if sum(self._sizes[it.found.name] for it in self._unsettled) > _largest_beside():
                wait([it.checked for it in self._unsettled])
        self._done += self._sizes[found.name]

    def split(self, holder: Holder) -> None:
        """Note that a process writes to a log that was deleted under it: what it wrote there is in no copy."""
        name = holder.file
        why = f"process {holder.pid} ({holder.command}) writes to a log that was deleted: split-brain, restart it"
        self._partial.append(Partial(name, why))
        self._context.listener.warn("sqlite", f"{name}: {why}")

    def home(self) -> Home:
        """The home with its databases replaced by their copies."""
        return replace(
            self._home,
            staged=self._staged,
            replaced=frozenset((*self._settled, *(it.found.name for it in self._unsettled))),
            as_they_lie=frozenset(self._as_they_lie),
            copies=self._checked,
            partial=(*self._home.partial, *self._partial),
        )

    def _checked(self) -> tuple[Copied, ...] | Home:
        """Wait for the checks. A copy that holds something else is made anew, or is none: that is another home."""
        refused = False
        while self._unsettled:
            staged = self._unsettled[0]
            try:
                copied = staged.checked.result()
            except (NotLean, DatabaseBroken) as why:
                refused = True
                self._refuse(staged, why)
            else:
                self._settle(staged.found, copied)
            self._unsettled.remove(staged)
        return self.home() if refused else tuple(self._settled[name] for name in sorted(self._settled))

    def _refuse(self, staged: _Staged, why: NotLean | DatabaseBroken) -> None:
        target = self._target(staged.found)
        shown = printable(staged.found.name)
        discard(target)
        try:
            if isinstance(why, DatabaseBroken):
                raise why
            with self._source(staged.found) as source:
                copied = copy_whole(source, target, why, deadline=self._deadline, progress=self._progress, name=shown)
            self._settle(staged.found, copied)
        except DatabaseBroken as error:
            self._broken(staged.found.name, f"{error.reason}; archived as it lies")

    def _settle(self, found: Found, copied: Copied) -> None:
        self._settled[found.name] = copied
        shown = printable(found.name)
        note = self._context.listener.note
        for table in copied.facts.unchecked:
            note("sqlite", f"{shown}: table {table} needs an extension to be looked into")
        for it in copied.left_out:
            note("sqlite", f"{shown}: {it.table} is left out, and made again by a restore")
        for kept in copied.kept:
            note("sqlite", f"{shown}: {kept.table} is kept: {kept.reason}")
        for table in copied.renewed:
            note("sqlite", f"{shown}: {table} is made anew")
        for table in copied.damaged:
            what = f"{shown}: search in {table} does not answer as it should: its index is damaged, and not in the copy"
            self._context.listener.warn("sqlite", what)
        if copied.whole:
            note("sqlite", f"{shown} is copied whole: {copied.whole}")

    def _broken(self, name: bytes, why: str) -> None:
        self._partial.append(Partial(printable(name), why))
        self._context.listener.warn("sqlite", f"{printable(name)}: {why}")
        for side in (b"", b"-wal", b"-journal"):
            if self._home.root.has(name + side):
                self._as_they_lie.add(name + side)

    @contextmanager
    def _source(self, found: Found) -> Iterator[Path]:
        """Hold the folder that a database lies in, and give its path there.

        Raises:
            DatabaseBroken: it is not there any more, or no file of the home's owner.
        """
        above, _, last = found.name.rpartition(b"/")
        root = self._home.root
        with ExitStack() as held:
            try:
                folder = held.enter_context(root.folder(above))
                status = folder.lstat(last)
            except OSError as error:
                raise DatabaseBroken(f"it cannot be opened: {error.strerror}") from error
            if why := why_foreign(status, root.status().st_uid):
                raise DatabaseBroken(why)
            yield folder.path / os.fsdecode(last)

    def _target(self, found: Found) -> Path:
        return self._staged / os.fsdecode(found.name)

    def _progress(self, done: int, total: int) -> None:
        del total
        self._context.listener.progress("sqlite", self._done + done, sum(self._sizes.values()))

    def _look(self) -> None:
        if self._unwanted.is_set():
            raise InterruptedError

    def _remove(self) -> None:
        """Begin to remove the copies, a third of a second for each GB, while the snapshot is signed and synced."""
        with suppress(RuntimeError):  # no thread can be begun: they go with the run's folder
            self._checking.submit(shutil.rmtree, self._staged, ignore_errors=True)

    def _end(self) -> None:
        """The copies go with the run: let nobody read them any more."""
        self._unwanted.set()
        self._checking.shutdown(cancel_futures=True)


def _size(home: Home, name: bytes) -> int:
    try:
        return home.root.lstat(name).st_size
    except OSError:
        return 0
