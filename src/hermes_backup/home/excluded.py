"""What lies in a home and in no backup: code, caches, models, logs. A restored home needs it as much as the old one."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from hermes_backup.home.layout import VOLATILE
from hermes_backup.home.patterns import Matcher, parse
from hermes_backup.home.selection import Rules
from hermes_backup.streams.directory import Directory


def excluded(home: Directory, rules: Rules, then: Collection[bytes]) -> Iterator[bytes]:
    """Yield the topmost entries of a home that the rules leave out of backups, by their names relative to it.

    What a snapshot holds (``then``) is none of them, nor what is over with a restart, such as locks.
    """
    left_out, over = _matcher(rules.patterns), _matcher(VOLATILE)
    folders = [b""]
    while folders:
        prefix = folders.pop()
        above = prefix.decode("utf-8", "surrogateescape")
        for last, is_folder in _children(home, prefix.removesuffix(b"/")):
            name = prefix + last
            spelled = os.fsdecode(last) + ("/" if is_folder else "")
            if name in then:
                folders += [name + b"/"] if is_folder else []
            elif left_out.excludes(above, spelled) and not over.excludes(above, spelled):
                yield name


def _matcher(lines: tuple[str, ...]) -> Matcher:
    return Matcher.of(tuple(it for it in map(parse, lines) if it is not None))


def _children(home: Directory, name: bytes) -> list[tuple[bytes, bool]]:
    """Return what lies in a folder, by name, and whether it is a folder itself."""
    try:
        with home.folder(name) as folder, os.scandir(folder.descriptor) as children:
            return sorted((os.fsencode(it.name), it.is_dir(follow_symlinks=False)) for it in children)
    except OSError:
        return []
