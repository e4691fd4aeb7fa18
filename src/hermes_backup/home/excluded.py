"""What lies in a home and in no backup: code, caches, models, logs. A restored home needs it as much as the old one."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from hermes_backup.home.layout import VOLATILE
from hermes_backup.home.patterns import Matcher, parse
from hermes_backup.home.selection import Rules


def excluded(home: Path, rules: Rules, then: Collection[bytes]) -> Iterator[bytes]:
    """Yield the topmost entries of a home that the rules leave out of backups, by their names relative to it.

    What a snapshot holds (``then``) is none of them, nor what is over with a restart, such as locks.
    """
    left_out, over = _matcher(rules.patterns), _matcher(VOLATILE)
    folders = [b""]
    while folders:
        prefix = folders.pop()
        above = prefix.decode("utf-8", "surrogateescape")
        for child in _children(os.fsencode(home) + b"/" + prefix):
            name = prefix + child.name
            is_folder = child.is_dir(follow_symlinks=False)
            spelled = os.fsdecode(child.name) + ("/" if is_folder else "")
            if name in then:
                folders += [name + b"/"] if is_folder else []
            elif left_out.excludes(above, spelled) and not over.excludes(above, spelled):
                yield name


def _matcher(lines: tuple[str, ...]) -> Matcher:
    return Matcher.of(tuple(it for it in map(parse, lines) if it is not None))


def _children(folder: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(folder) as children:
            return sorted(children, key=lambda it: it.name)
    except OSError:
        return []
