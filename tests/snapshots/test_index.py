"""The list of files as it is written and read."""

from __future__ import annotations

import pytest
from hypothesis import given

from hermes_backup.errors import Fault
from hermes_backup.snapshots.index import Lines, from_bytes, to_lines
from hermes_backup.streams.members import Member
from tests.snapshots.listing import LISTS, file


@given(LISTS, LISTS)
def test_a_list_is_read_as_it_was_written_also_beside_another(one: list[Member], other: list[Member]) -> None:
    known = Lines()
    for members in (one, other):
        lines = b"".join(to_lines(members))
        assert from_bytes(lines) == from_bytes(lines, known) == tuple(members)


def test_a_line_that_was_read_is_not_read_again() -> None:
    lines = b"".join(to_lines([file(b"a"), file(b"b")]))
    known = Lines()
    first, second = from_bytes(lines, known), from_bytes(lines, known)
    assert all(it is other for it, other in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"file"', b'"\\u001b[2J"'),
        (b'"file"', b'["file"]'),
        (b"6f6e65", b"\\u001b]0;"),
        (b'"size":3', b'"size":"x"'),
        (b'"0644"', b'"0999"'),
        (b'"a"', b'"\\ud800"'),
        (b"}", b""),
        (b"{", b"[{"),
        (b'"a"', b'"' + b"a/" * 2049 + b'"'),
        (b'"a"', b'"a\\u0000b"'),
    ],
)
def test_a_line_that_this_program_does_not_write_is_damage(old: bytes, new: bytes) -> None:
    lines = b"".join(to_lines([file(b"a")]))
    assert old in lines
    for known in (None, Lines()):
        with pytest.raises(Fault) as caught:
            from_bytes(lines.replace(old, new, 1), known)
        assert caught.value.kind.name == "HB-DATA-DAMAGED"
        assert caught.value.what.isprintable()


def test_lists_that_have_little_in_common_end_where_there_is_no_more_room() -> None:
    lists = [b"".join(to_lines([file(f"{it}{number}".encode()) for number in range(9)])) for it in "abc"]
    known = Lines(room=2 * len(lists[0]) + 4 * 9 * 8)
    for one in (*lists[:2], *lists[:2]):
        assert len(from_bytes(one, known)) == 9
    with pytest.raises(Fault) as caught:
        from_bytes(lists[2], known)
    assert caught.value.kind.name == "HB-INDEX-TOO-LARGE"


def test_many_lists_end_where_there_is_no_more_room_although_each_is_like_the_others() -> None:
    lines = b"".join(to_lines([file(b"a"), file(b"b")]))
    known = Lines(room=len(lines) + 3 * 2 * 8)
    read = [from_bytes(lines, known) for _ in range(3)]
    assert len({id(it) for members in read for it in members}) == 2
    with pytest.raises(Fault, match="too many"):
        from_bytes(lines, known)


def test_other_names_of_files_take_room_once() -> None:
    known = Lines(room=3 * 301)
    made = {id(known.named(b"z", file(name))) for name in (b"a", b"b", b"c", b"a", b"b", b"c")}
    assert len(made) == 3
    with pytest.raises(Fault, match="too many"):
        known.named(b"z", file(b"d"))
