"""Stage ``archive``: the home as one stream, from an exact list of names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hermes_backup.errors import STAGE_FAILED, Fault
from hermes_backup.home.databases.finding import find as find_databases
from hermes_backup.home.layout import SIDECARS
from hermes_backup.home.printable import printable
from hermes_backup.home.selection import Partial, Rules, Selection, kind_of, select, why_foreign
from hermes_backup.stages.context import Context
from hermes_backup.stages.delta import Delta
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.stream import Archive as MadeArchive
from hermes_backup.stages.stream import Contents, Outdated, Packing, Stream
from hermes_backup.stages.things import Home
from hermes_backup.stages.units import show_duration
from hermes_backup.streams.admission import MOST_HOLES
from hermes_backup.streams.coder import Chunks
from hermes_backup.streams.compression import Compress
from hermes_backup.streams.directory import hold
from hermes_backup.streams.members import Follower, Member
from hermes_backup.streams.process import find
from hermes_backup.streams.squashfs import Algorithm, Root, Squash
from hermes_backup.streams.tar import Source, make

_LEVELS = {"zstd": 3, "lz4": 1, "gzip": 6}


class Compression(BaseModel):
    """How the archive is compressed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    algorithm: Algorithm = "zstd"
    """zstd, lz4, gzip or none; xz in squashfs alone."""
    level: Annotated[int, Field(ge=1, le=19)] | None = None
    """The algorithm's own level; zstd 3, lz4 1 and gzip 6 if not given. squashfs has levels for zstd and gzip."""
    workers: Annotated[int, Field(ge=0, le=64)] = 0
    """Threads, for zstd and for squashfs; 0 is one for each core."""
    long: bool = True
    """zstd's long-distance matching in tar: finds what repeats far apart, within what a plain ``zstd -d`` accepts."""


class Archive(Stage):
    """Make one stream of the home: numeric owners, modes, extended attributes, ACLs, holes and links as they are."""

    name: ClassVar[str] = "archive"
    takes: ClassVar[tuple[type, ...]] = (Home,)
    gives: ClassVar[type] = Stream

    format: Literal["tar", "squashfs"] = "tar"
    """tar; or squashfs, an image that can be mounted, and keeps no ACLs."""
    compression: Compression = Compression()
    """How it is compressed."""
    delta: Delta | None = None
    """Between full snapshots, send only what changed since the last one; ``{}`` is enough. tar and zstd alone."""
    exclude: tuple[str, ...] = ()
    """gitignore patterns, rooted at the home, beside those of the inventory."""
    exclude_if_present: tuple[str, ...] = ()
    """Names of files that mark a folder whose content is left out."""
    cachedir_tag: bool = True
    """Leave out the content of folders that a CACHEDIR.TAG marks as caches."""
    one_file_system: bool = True
    """Do not descend into other file systems."""

    @model_validator(mode="after")
    def _fits(self) -> Archive:
        if self.format == "tar" and self.compression.algorithm == "xz":
            raise ValueError("xz goes with format squashfs alone; zstd is as small, and faster")
        if self.delta is not None and (self.format, self.compression.algorithm) != ("tar", "zstd"):
            raise ValueError("delta goes with format tar and compression zstd alone")
        return self

    def preflight(self, context: Context) -> None:
        """Make sure that the tools are there."""
        del context
        if self.format == "squashfs":
            find("mksquashfs", self.name)

    def plan(self, context: Context) -> tuple[str, ...]:
        """Say how."""
        del context
        how = f"archive as {self.format}, compressed by {self.compression.algorithm}"
        if self.delta is None:
            return (how,)
        return (
            f"{how}; what changed since the last full snapshot, at most {show_duration(self.delta.full_every)} long",
        )

    def run(self, value: Any, context: Context) -> Stream:
        """Choose what goes in, and describe the stream; nothing runs until somebody pulls."""
        home: Home = value
        making = _Making(home, self.rules(home), context, self.format)
        tell(making.selection, context)
        return Stream(making.archive(), self._packing(home, making.newest, context), delta=self.delta)

    def rules(self, home: Home) -> Rules:
        """Return what is left out of this home: by the host, and by this stage."""
        return replace(
            home.rules,
            patterns=home.rules.patterns + self.exclude,
            cachedir_tag=self.cachedir_tag,
            exclude_if_present=home.rules.exclude_if_present + self.exclude_if_present,
            one_file_system=self.one_file_system,
        )

    def _packing(self, home: Home, newest: int, context: Context) -> Packing:
        how = self.compression
        level = how.level or _LEVELS.get(how.algorithm, 0)
        if self.format == "squashfs" or how.algorithm == "xz":
            root = Root.of(home.root, newest)
            return Squash(
                how.algorithm, level, how.workers, context.folder, root, partial(context.listener.warn, self.name)
            )
        return Compress(how.algorithm, level, how.workers, how.long)


class _Making:
    """A tar archive of a home that can be made, more than once if need be; the last time is what counts."""

    def __init__(self, home: Home, rules: Rules, context: Context, kind: Literal["tar", "squashfs"]) -> None:
        self._rules = rules
        self._context = context
        self._kind = kind
        chosen = select(home.root, rules)
        self._home = _with_logs(home, chosen, context) if home.staged is None else home
        self.selection = _without_sidecars(self._home, chosen)
        self._follower = Follower(self._admit)
        self._holes = 0
        self._partial: dict[str, Partial] = {}

    def archive(self) -> MadeArchive:
        """Describe it."""
        suffix = ".tar" if self._kind == "tar" else ""
        count = len(self.selection.entries)
        return MadeArchive(self._kind, suffix, self._rules.patterns, self.chunks, self.contents, count)

    @property
    def newest(self) -> int:
        """The time of the newest entry, in whole seconds."""
        return max((it.mtime_ns for it in self.selection.entries), default=0) // 10**9

    def chunks(self) -> Chunks:
        """Make the archive and follow it."""
        self._follower = Follower(self._admit)
        self._holes = 0
        self._partial = {}
        total = self.selection.bytes
        with ExitStack() as held:
            for chunk in make(self._sources(held), self._tell, holes=self._kind == "tar"):
                self._follower.feed(chunk)
                self._context.listener.progress("archive", min(self._follower.size, total), total)
                yield chunk

    def contents(self) -> Contents:
        """Compare what went in with what was chosen.

        Raises:
            Outdated: a copy of a database in it is no good.
        """
        copies = self._home.copies()
        if isinstance(copies, Home):
            raise Outdated(_Making(copies, self._rules, self._context, self._kind).archive())
        members = tuple(sorted(self._follower.close(), key=lambda it: it.name))
        there = {member.name for member in members}
        chosen = (it.name for it in self.selection.entries)
        missing = tuple(Partial(printable(it), "vanished or could not be read") for it in chosen if it not in there)
        partial = (*self._home.partial, *self.selection.skipped, *self._partial.values(), *missing)
        archived = {printable(it) for it in there}
        return Contents(
            members=members,
            size=self._follower.size,
            content=_digest(members),
            databases=tuple(it for it in copies if it.facts.name in archived),
            partial=_once(partial),
        )

    def _admit(self, member: Member, holes: int) -> None:
        """Refuse holes that a file got since it was chosen: to hash them may take for ever."""
        self._holes += holes
        if self._holes > MOST_HOLES:
            what = (
                f"{printable(member.name)}: with it, sparse files have {self._holes} bytes of holes, not {MOST_HOLES}"
            )
            raise Fault(STAGE_FAILED, what, where="archive")

    def _sources(self, held: ExitStack) -> tuple[Source, ...]:
        """Return what is archived, and from where: the home, and the copies of its databases."""
        home, entries = self._home, self.selection.entries
        chosen = [it.name for it in entries if it.name not in home.replaced]
        extra = sorted(home.as_they_lie - {it.name for it in entries})
        kinds = {it.name: it.kind for it in entries}
        refuse = partial(_refused, kinds, home.root.status().st_uid)
        sources = [Source(home.root, (*chosen, *extra), refuse)]
        if home.staged is not None and home.replaced:
            staged = held.enter_context(hold(home.staged))
            sources.append(Source(staged, sorted(home.replaced & {it.name for it in entries})))
        return tuple(sources)

    def _tell(self, name: bytes, why: str) -> None:
        self._partial.setdefault(printable(name), Partial(printable(name), why))


def _refused(kinds: Mapping[bytes, str], owner: int, name: bytes, status: os.stat_result) -> str:
    """Say why what was opened is not archived: something else may lie there now than what was listed."""
    kind = kind_of(status)
    if kind != kinds.get(name, "file"):
        return "something else was put in its place while it was read"
    return why_foreign(status, owner) if kind == "file" else ""


def tell(selection: Selection, context: Context) -> None:
    """Tell of exclusions that match nothing, and of what is mounted in the home."""
    for pattern in selection.unmatched:
        context.listener.warn("archive", f"the exclusion {pattern!r} matches nothing")
    for mount in selection.other_file_systems:
        context.listener.note("archive", f"{mount} is another file system and is not entered")


def _with_logs(home: Home, selection: Selection, context: Context) -> Home:
    """Where no stage copied the databases, what only their logs hold goes in beside them, whatever is excluded."""
    found = find_databases(home.root, selection)
    if found:
        context.listener.note("archive", f"databases are archived as they lie, with their logs: {len(found)}")
    names = {it.name + side for it in found for side in (b"", b"-wal", b"-journal")}
    there = {it for it in names if home.root.has(it)}
    partial = tuple(Partial(printable(it.name), home.uncopied) for it in found) if home.uncopied else ()
    return replace(home, as_they_lie=home.as_they_lie | there, partial=(*home.partial, *partial))


def _without_sidecars(home: Home, selection: Selection) -> Selection:
    """Leave out the logs of databases that have a copy: beside the copy they would corrupt it."""
    logs = {name + side for name in home.replaced for side in SIDECARS}
    return replace(selection, entries=tuple(it for it in selection.entries if it.name not in logs))


def _once(partial: Sequence[Partial]) -> tuple[Partial, ...]:
    first: dict[str, Partial] = {}
    for it in partial:
        first.setdefault(it.path, it)
    return tuple(first.values())


def _digest(members: Sequence[Member]) -> str:
    """Hash everything that a restore would bring back but times: the same digest means an unchanged home."""
    whole = hashlib.sha256()
    for it in members:
        row = (it.name, it.kind, it.size, it.mode, it.uid, it.gid, it.link, it.sha256, it.attributes)
        whole.update(repr(row).encode() + b"\n")
    return whole.hexdigest()
