"""What of a home goes into a backup: one walk, one matcher, one list.

Names are bytes, because a file name need not be text.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hermes_backup.errors import HOME_EMPTY, HOME_UNREADABLE, Fault
from hermes_backup.home.beginnings import beginning_below
from hermes_backup.home.holes import holes_at_most, too_sparse
from hermes_backup.home.layout import DEFAULT_EXCLUDES
from hermes_backup.home.patterns import Matcher, Unseen, is_comment, parse
from hermes_backup.home.printable import printable
from hermes_backup.streams.admission import MOST_HOLES
from hermes_backup.streams.directory import user_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermes_backup.streams.directory import Directory

_TAG_NAME = b"CACHEDIR.TAG"
_TAG_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"  # https://bford.info/cachedir/
_KINDS: dict[int, Literal["file", "dir", "link"]] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
}


@dataclass(frozen=True)
class Partial:
    """Something of the home that the backup lacks: a printable path, relative to the root, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Rules:
    """What is left out: by gitignore patterns rooted at the home, by tag, by marker, by file system."""

    patterns: tuple[str, ...] = DEFAULT_EXCLUDES
    cachedir_tag: bool = True
    exclude_if_present: tuple[str, ...] = ()
    one_file_system: bool = True


@dataclass(frozen=True)
class Entry:
    """A file, folder or link to archive, as it was seen.

    ``name`` is relative to the root, without a slash at either end.
    """

    name: bytes
    kind: Literal["file", "dir", "link"]
    size: int
    mode: int
    inode: int
    device: int
    mtime_ns: int
    uid: int
    gid: int
    ctime_ns: int


@dataclass(frozen=True)
class Selection:
    """What a walk chose.

    ``entries`` are sorted by name, so a folder stands before what is in it. ``unmatched`` are the user's own
    patterns that matched nothing. ``excluded_entries`` counts what the rules left out, a folder with all that
    is in it as one; ``volatile`` counts sockets, pipes and devices; ``bytes`` adds up files.
    ``other_file_systems`` are mount points whose contents were left out.
    """

    entries: tuple[Entry, ...]
    skipped: tuple[Partial, ...] = ()
    unmatched: tuple[str, ...] = ()
    excluded_entries: int = 0
    bytes: int = 0
    volatile: int = 0
    other_file_systems: tuple[str, ...] = ()


def kind_of(status: os.stat_result) -> Literal["file", "dir", "link"] | None:
    """Return what can be archived of something; None for sockets, pipes and devices."""
    return _KINDS.get(stat.S_IFMT(status.st_mode))


def is_foreign(status: os.stat_result, owner: int) -> bool:
    """Say whether a file is neither the home owner's nor this process's user's; in root's own home none is.

    Whoever can write in a home may have given another user's file a name there, which root could read.
    """
    return owner != 0 and status.st_uid not in {owner, os.geteuid() or owner}


def why_foreign(status: os.stat_result, owner: int) -> str:
    """Say why a file is not archived, and what to do; empty where it is."""
    if not is_foreign(status, owner):
        return ""
    return f"it belongs to {user_name(status.st_uid)}, not to {user_name(owner)}: give it to the home's owner"


def select(root: Directory, rules: Rules) -> Selection:
    """Walk a home and choose by the rules; no link is followed.

    Raises:
        Fault: HOME_UNREADABLE; HOME_EMPTY when no file is left; CONFIG_INVALID, a bad pattern.
    """
    walk = _Walk(root, rules)
    walk.run()
    chosen = walk.selection()
    there = {entry.kind for entry in chosen.entries}
    if "file" in there or ("link" in there and not chosen.skipped):
        return chosen
    if chosen.skipped:
        first = chosen.skipped[0]
        raise Fault(HOME_UNREADABLE, f"no file can be read: {first.path}: {first.reason}", where=printable(str(root)))
    why = f"{chosen.excluded_entries} entries are excluded" if chosen.excluded_entries else "it holds no files"
    raise Fault(HOME_EMPTY, f"{why}, none is left", where=printable(str(root)))


class _Walk:
    """One walk under way: folders that are still to be read, and what has been chosen."""

    def __init__(self, root: Directory, rules: Rules) -> None:
        parsed = [(line, parse(line)) for line in rules.patterns]
        patterns = tuple(pattern for _, pattern in parsed if pattern is not None)
        defaults = frozenset(DEFAULT_EXCLUDES)
        self._ignored = tuple(line for line, pattern in parsed if pattern is None and not is_comment(line))
        self._root = root
        self._rules = rules
        self._markers = frozenset(os.fsencode(name) for name in rules.exclude_if_present)
        self._matcher = Matcher.of(patterns)
        self._unseen = Unseen(tuple(pattern for pattern in patterns if pattern.line not in defaults))
        status = root.status()
        self._device, self._owner = status.st_dev, status.st_uid
        self._folders: list[tuple[bytes, tuple[int, int]]] = []
        self._entries: list[Entry] = []
        self._skipped: list[Partial] = []
        self._foreign: list[str] = []
        self._sparse: dict[bytes, int] = {}
        self._excluded = self._volatile = 0

    def run(self) -> None:
        """Read folder after folder, without recursion: a tree may be deeper than Python's stack."""
        try:
            children = _children(self._root)
        except OSError as error:
            what = f"it cannot be listed: {error.strerror}"
            raise Fault(HOME_UNREADABLE, what, where=printable(str(self._root))) from error
        marker = self._marker(self._root, children)
        if marker is not None:
            what = f"{printable(marker)} marks it as not to be saved"
            raise Fault(HOME_EMPTY, what, where=printable(str(self._root)))
        self._take(self._root, b"", children)
        while self._folders:
            self._enter(*self._folders.pop())

    def selection(self) -> Selection:
        """Return what was chosen."""
        refused = too_sparse(self._root, self._sparse)
        skipped = [*self._skipped, *(Partial(printable(it), _beyond(size)) for it, size in refused.items())]
        entries = [it for it in self._entries if it.name not in refused]
        return Selection(
            entries=tuple(sorted(entries, key=lambda entry: entry.name)),
            skipped=tuple(sorted(skipped, key=lambda partial: partial.path)),
            unmatched=self._ignored + self._unseen.lines(),
            excluded_entries=self._excluded,
            bytes=sum(it.size for it in entries if it.kind == "file"),
            volatile=self._volatile,
            other_file_systems=tuple(sorted(self._foreign)),
        )

    def _enter(self, name: bytes, seen: tuple[int, int]) -> None:
        try:
            with self._root.folder(name) as folder:
                status = folder.status()
                if (status.st_dev, status.st_ino) != seen:
                    return  # another folder lies there now: this one is gone since it was listed
                children = _children(folder)
                marker = self._marker(folder, children)
                if marker is not None:
                    self._excluded += len(children) - 1
                    children = [child for child in children if child.name == marker]
                self._take(folder, name + b"/", children)
        except OSError as error:
            self._skip(name, error)

    def _marker(self, folder: Directory, children: list[_Child]) -> bytes | None:
        for child in children:
            if child.name in self._markers:
                return child.name
            if child.name == _TAG_NAME and self._rules.cachedir_tag and _is_cache_tag(folder):
                return child.name
        return None

    def _take(self, folder: Directory, prefix: bytes, children: list[_Child]) -> None:
        above = prefix.decode("utf-8", "surrogateescape")
        for child in children:
            name = prefix + child.name
            status = child.status
            if isinstance(status, OSError):
                self._skip(name, status)
                continue
            kind = kind_of(status)
            spelled = child.name.decode("utf-8", "surrogateescape") + ("/" if kind == "dir" else "")
            self._unseen.see(above + spelled)
            if self._matcher.excludes(above, spelled):
                self._excluded += 1
            elif kind is None:
                self._volatile += 1
            elif kind != "file" or self._is_ours(folder, name, child.name, status):
                if kind == "file" and (holes := holes_at_most(status)):
                    self._sparse[name] = holes
                self._keep(Entry(
                    name, kind, status.st_size, status.st_mode, status.st_ino, status.st_dev,
                    status.st_mtime_ns, status.st_uid, status.st_gid, status.st_ctime_ns,
                ))  # fmt: skip

    def _is_ours(self, folder: Directory, name: bytes, last: bytes, status: os.stat_result) -> bool:
        """Say whether a file may be read, by this process and by the home's owner; if not, note why."""
        why = why_foreign(status, self._owner)
        if not why and self._is_elsewhere(folder, last, status):
            why = "another file system is mounted there"
        if why:
            self._skipped.append(Partial(printable(name), why))
            return False
        if is_readable(folder, last):
            return True
        if folder.has(last):  # else it is gone since the folder was listed
            self._skipped.append(Partial(printable(name), "permission denied"))
        return False

    def _is_elsewhere(self, folder: Directory, last: bytes, status: os.stat_result) -> bool:
        """Say whether a file is a mount of another file system; an overlay shows two devices in one mount."""
        if status.st_dev == self._device or not self._rules.one_file_system:
            return False
        with suppress(OSError):
            return folder.mount(last) != self._root.mount()
        return False

    def _keep(self, entry: Entry) -> None:
        self._entries.append(entry)
        if entry.kind != "dir":
            return
        if entry.device != self._device and self._rules.one_file_system:
            self._foreign.append(printable(entry.name))
        else:
            self._folders.append((entry.name, (entry.device, entry.inode)))

    def _skip(self, name: bytes, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            self._skipped.append(Partial(printable(name), (error.strerror or str(error)).lower()))


def _beyond(holes: int) -> str:
    return f"it has {holes} bytes of holes, and all files together may have {MOST_HOLES}"


@dataclass(frozen=True)
class _Child:
    name: bytes
    status: os.stat_result | OSError


def _children(folder: Directory) -> list[_Child]:
    return list(_seen(folder))


def _seen(folder: Directory) -> Iterator[_Child]:
    with os.scandir(folder.descriptor) as children:
        for child in children:
            name = os.fsencode(child.name)  # of a descriptor they come as text
            try:
                yield _Child(name, child.stat(follow_symlinks=False))
            except FileNotFoundError:
                continue  # gone since the folder was listed
            except OSError as error:
                yield _Child(name, error)


def is_readable(folder: Directory, name: bytes) -> bool:
    """Say whether this process may read a file, without opening it (opening would change its access time)."""
    effective = os.access in os.supports_effective_ids
    return os.access(name, os.R_OK, dir_fd=folder.descriptor, effective_ids=effective)


def _is_cache_tag(folder: Directory) -> bool:
    """Say whether a folder's tag carries the signature; a pipe or a link in its place is none."""
    with suppress(OSError):
        return beginning_below(folder, _TAG_NAME, len(_TAG_SIGNATURE)) == _TAG_SIGNATURE
    return False
