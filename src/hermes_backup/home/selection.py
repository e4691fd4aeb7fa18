"""What of a home goes into a backup: one walk, one matcher, one list.

Names are bytes, because a file name need not be text.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hermes_backup.errors import HOME_EMPTY, HOME_MISSING, HOME_UNREADABLE, Fault
from hermes_backup.home.beginnings import beginning
from hermes_backup.home.holes import holes_at_most, too_sparse
from hermes_backup.home.layout import DEFAULT_EXCLUDES
from hermes_backup.home.patterns import Matcher, Unseen, is_comment, parse
from hermes_backup.home.printable import printable
from hermes_backup.streams.admission import MOST_HOLES

if TYPE_CHECKING:
    from pathlib import Path

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


def is_readable(path: bytes) -> bool:
    """Say whether this process may read a file, without opening it (opening would change its access time)."""
    return os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids)


def select(root: Path, rules: Rules) -> Selection:
    """Walk a home and choose by the rules; no link is followed but the root itself.

    Raises:
        Fault: HOME_MISSING, HOME_UNREADABLE; HOME_EMPTY when no file is left; CONFIG_INVALID, a bad pattern.
    """
    try:
        real = root.resolve(strict=True)
    except PermissionError as error:
        raise Fault(HOME_UNREADABLE, f"it cannot be reached: {error.strerror}", where=str(root)) from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        gone = isinstance(error, FileNotFoundError)
        what = "there is no such folder" if gone else "its links lead in a circle"
        raise Fault(HOME_MISSING, what, where=str(root)) from error
    if not real.is_dir():
        raise Fault(HOME_MISSING, "it is not a folder", where=str(root))
    walk = _Walk(os.fsencode(real), rules)
    walk.run()
    chosen = walk.selection()
    if any(entry.kind != "dir" for entry in chosen.entries):
        return chosen
    if chosen.skipped:
        first = chosen.skipped[0]
        raise Fault(HOME_UNREADABLE, f"no file can be read: {first.path}: {first.reason}", where=str(root))
    why = f"{chosen.excluded_entries} entries are excluded" if chosen.excluded_entries else "it holds no files"
    raise Fault(HOME_EMPTY, f"{why}, none is left", where=str(root))


class _Walk:
    """One walk under way: folders that are still to be read, and what has been chosen."""

    def __init__(self, root: bytes, rules: Rules) -> None:
        parsed = [(line, parse(line)) for line in rules.patterns]
        patterns = tuple(pattern for _, pattern in parsed if pattern is not None)
        defaults = frozenset(DEFAULT_EXCLUDES)
        self._ignored = tuple(line for line, pattern in parsed if pattern is None and not is_comment(line))
        self._root = root
        self._rules = rules
        self._markers = frozenset(os.fsencode(name) for name in rules.exclude_if_present)
        self._matcher = Matcher.of(patterns)
        self._unseen = Unseen(tuple(pattern for pattern in patterns if pattern.line not in defaults))
        self._device = 0
        self._folders: list[bytes] = []
        self._entries: list[Entry] = []
        self._skipped: list[Partial] = []
        self._foreign: list[str] = []
        self._sparse: dict[bytes, int] = {}
        self._excluded = self._volatile = 0

    def run(self) -> None:
        """Read folder after folder, without recursion: a tree may be deeper than Python's stack."""
        try:
            self._device = os.lstat(self._root).st_dev
            children = _children(self._root)
        except OSError as error:
            raise Fault(
                HOME_UNREADABLE, f"it cannot be listed: {error.strerror}", where=printable(self._root)
            ) from error
        marker = self._marker(self._root, children)
        if marker is not None:
            raise Fault(HOME_EMPTY, f"{printable(marker)} marks it as not to be saved", where=printable(self._root))
        self._take(b"", children)
        while self._folders:
            self._enter(self._folders.pop())

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

    def _enter(self, name: bytes) -> None:
        path = self._root + b"/" + name
        try:
            children = _children(path)
        except OSError as error:
            self._skip(name, error)
            return
        marker = self._marker(path, children)
        if marker is not None:
            self._excluded += len(children) - 1
            children = [child for child in children if child.name == marker]
        self._take(name + b"/", children)

    def _marker(self, path: bytes, children: list[os.DirEntry[bytes]]) -> bytes | None:
        for child in children:
            if child.name in self._markers:
                return child.name
            if child.name == _TAG_NAME and self._rules.cachedir_tag and _is_cache_tag(path + b"/" + _TAG_NAME):
                return child.name
        return None

    def _take(self, prefix: bytes, children: list[os.DirEntry[bytes]]) -> None:
        folder = prefix.decode("utf-8", "surrogateescape")
        for child in children:
            name = prefix + child.name
            try:
                status = child.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since the folder was listed
            except OSError as error:
                self._skip(name, error)
                continue
            kind = _KINDS.get(stat.S_IFMT(status.st_mode))
            spelled = child.name.decode("utf-8", "surrogateescape") + ("/" if kind == "dir" else "")
            self._unseen.see(folder + spelled)
            if self._matcher.excludes(folder, spelled):
                self._excluded += 1
            elif kind is None:
                self._volatile += 1
            else:
                if kind == "file" and (holes := holes_at_most(status)):
                    self._sparse[name] = holes
                self._keep(Entry(
                    name, kind, status.st_size, status.st_mode, status.st_ino, status.st_dev,
                    status.st_mtime_ns, status.st_uid, status.st_gid, status.st_ctime_ns,
                ))  # fmt: skip

    def _keep(self, entry: Entry) -> None:
        if entry.kind == "file":
            path = self._root + b"/" + entry.name
            if not is_readable(path):
                if os.path.lexists(path):  # else it is gone since the folder was listed
                    self._skipped.append(Partial(printable(entry.name), "permission denied"))
                return
        self._entries.append(entry)
        if entry.kind != "dir":
            return
        if entry.device != self._device and self._rules.one_file_system:
            self._foreign.append(printable(entry.name))
        else:
            self._folders.append(entry.name)

    def _skip(self, name: bytes, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            self._skipped.append(Partial(printable(name), (error.strerror or str(error)).lower()))


def _beyond(holes: int) -> str:
    return f"it has {holes} bytes of holes, and all files together may have {MOST_HOLES}"


def _children(path: bytes) -> list[os.DirEntry[bytes]]:
    with os.scandir(path) as children:
        return list(children)


def _is_cache_tag(path: bytes) -> bool:
    """Say whether a file carries the signature; a pipe or a link in its place is none."""
    with suppress(OSError):
        return beginning(path, len(_TAG_SIGNATURE)) == _TAG_SIGNATURE
    return False
