"""What an agent learned or forgot between two snapshots: its memories and skills, as differences of their texts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hermes_backup.home.printable import printable
from hermes_backup.pipeline.amounts import show_size
from hermes_backup.pipeline.content import brought
from hermes_backup.pipeline.executor import Follower
from hermes_backup.pipeline.unpacking import Source
from hermes_backup.snapshots.differences import Difference
from hermes_backup.streams.members import Member

LARGEST = 100_000
"""Bytes of a file whose text is compared; hash, size and name tell of larger ones."""
_MOST_LINES = 4_000  # difflib needs seconds for more, where lines repeat as an agent can make them
_MOST_FILES = 200
_LEARNED = re.compile(rb"(?:profiles/[^/]+/)?(?:SOUL\.md|memories/[^/]+\.md|skills/.+)", re.DOTALL)


@dataclass(frozen=True)
class Lesson:
    """A memory or skill whose content differs; None where it is not in that snapshot, or is no file there."""

    name: bytes
    old: Member | None
    new: Member | None


@dataclass(frozen=True)
class TextDifference:
    """A unified difference, each line of it fit for a terminal; or why there is none."""

    lesson: Lesson
    lines: tuple[str, ...] = ()
    untold: str = ""


def is_learned(name: bytes) -> bool:
    """Tell whether a path is what an agent learns: its persona, memories and skills, also in a profile."""
    return _LEARNED.fullmatch(name) is not None


def lessons(difference: Difference) -> tuple[Lesson, ...]:
    """Return the memories and skills that came, went or have another content; what only moved is none."""
    found = [Lesson(it.name, None, it) for it in difference.added]
    found += [Lesson(it.name, it, None) for it in difference.removed]
    changed = (it for it in difference.changed if {"content", "kind"} & set(it.aspects))
    found += [Lesson(it.new.name, it.old, it.new) for it in changed]
    files = (Lesson(it.name, _file(it.old), _file(it.new)) for it in found if is_learned(it.name))
    return tuple(sorted((it for it in files if it.old or it.new), key=lambda it: it.name))


def told(some: Sequence[Lesson], older: Source, newer: Source, follower: Follower) -> tuple[TextDifference, ...]:
    """Fetch what these lessons say, each snapshot once and only if it is needed, and compare the texts.

    Raises:
        Fault: why a snapshot cannot be trusted, decrypted or believed; INTERRUPTED.
    """
    small = [it for it in some if max(_size(it.old), _size(it.new)) <= LARGEST][:_MOST_FILES]
    before = _contents(older, [it.name for it in small if it.old], follower)
    after = _contents(newer, [it.name for it in small if it.new], follower)
    names = str(older.chosen[1].name), str(newer.chosen[1].name)
    wanted = {it.name for it in small}
    return tuple(
        text_difference(it, before.get(it.name), after.get(it.name), names) if it.name in wanted else _untold(it)
        for it in some
    )


def text_difference(lesson: Lesson, old: bytes | None, new: bytes | None, snapshots: tuple[str, str]) -> TextDifference:
    """Compare two texts line by line; None is a file that is not there. ``snapshots`` are named in the head."""
    if b"\0" in (old or b"") + (new or b""):
        return TextDifference(lesson, untold="it is no text")
    one, other = _lines(old), _lines(new)
    if max(len(one), len(other)) > _MOST_LINES:
        return TextDifference(lesson, untold=f"it has more than {_MOST_LINES:,} lines")
    name = printable(lesson.name)
    heads = [f"{sign} {name if it is not None else '(nothing)'}  {snapshot}"
             for sign, it, snapshot in zip(("---", "+++"), (old, new), snapshots, strict=True)]  # fmt: skip
    differing = list(difflib.unified_diff(one, other, lineterm=""))[2:]
    return TextDifference(lesson, (*heads, *map(printable, differing)))


def _untold(lesson: Lesson) -> TextDifference:
    size = max(_size(lesson.old), _size(lesson.new))
    if size > LARGEST:
        return TextDifference(
            lesson, untold=f"it has {show_size(size)}, and more than {show_size(LARGEST)} is not compared"
        )
    return TextDifference(lesson, untold=f"only {_MOST_FILES} files are compared")


def _contents(source: Source, names: Sequence[bytes], follower: Follower) -> Mapping[bytes, bytes]:
    with brought(source, names, follower) as files:
        return {name: path.read_bytes() for name, path in files.items()}


def _lines(text: bytes | None) -> list[str]:
    if not text:
        return []
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    return [*lines, "\\ no newline at the end"] if lines[-1] else lines[:-1]


def _file(member: Member | None) -> Member | None:
    return member if member is not None and member.kind == "file" else None


def _size(member: Member | None) -> int:
    return member.size if member else 0
