"""The versions of one file, and files by a pattern, across snapshots."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.snapshots.differences import aspects
from hermes_backup.snapshots.history import versions
from hermes_backup.snapshots.searching import matches, ranges, search, within
from hermes_backup.streams.members import Member
from tests.snapshots.listing import CONTENTS, LISTS, file, folder, numbers

SIGHTINGS = st.lists(st.none() | st.builds(file, st.just(b"x"), CONTENTS, mtime=st.floats(0, 9)), max_size=12)


@given(SIGHTINGS)
def test_the_versions_tell_every_snapshot_once_and_what_it_holds(held: list[Member | None]) -> None:
    names = numbers(*range(1, len(held) + 1))
    found = versions(list(zip(names, held, strict=True)))
    told = [(name, it.member) for it in found for name in it.snapshots]
    untold = len(held) - len(told)
    assert held[:untold] == [None] * untold
    assert [name for name, _ in told] == list(names[untold:])
    for (_, said), really in zip(told, held[untold:], strict=True):
        assert (said is None) == (really is None)
        assert said is None or really is None or not aspects(said, really)


@given(SIGHTINGS)
def test_neighbours_differ_and_are_called_by_what_happened(held: list[Member | None]) -> None:
    found = versions(list(zip(numbers(*range(1, len(held) + 1)), held, strict=True)))
    for older, newer in itertools.pairwise(found):
        called = {(False, True): "added", (True, False): "removed", (True, True): "changed"}
        assert newer.change == called[older.member is not None, newer.member is not None]
    if found:
        assert found[0].change == ("first" if held[0] is not None else "added")


def test_a_file_that_was_never_there_has_no_version() -> None:
    assert versions([(name, None) for name in numbers(1, 2)]) == ()


@pytest.mark.parametrize(
    ("pattern", "fitting", "other"),
    [
        ("*.md", ["SOUL.md", "memories/MEMORY.md"], ["SOUL.mdx", "a.md/b"]),
        ("SOUL.md", ["SOUL.md", "profiles/x/SOUL.md"], ["MY_SOUL.md"]),
        ("skills/*", ["skills/a"], ["skills/a/b", "skills", "x/skills/a"]),
        ("skills/**/SKILL.md", ["skills/SKILL.md", "skills/a/b/SKILL.md"], ["SKILL.md", "skills/a/skill.md"]),
        ("**/b", ["b", "a/b", "a/c/b"], ["b/a"]),
        ("a/[bc]?/", ["a/bx", "a/c/"[:3] + "x"], ["a/dx", "a/b"]),
        ("a/**/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab"]),
        ("new\nline", ["new\nline"], ["new"]),
    ],
)
def test_patterns(pattern: str, fitting: list[str], other: list[str]) -> None:
    assert [it for it in fitting if not matches(pattern, it)] == []
    assert [it for it in other if matches(pattern, it)] == []


def test_a_pattern_of_many_stars_is_no_trap() -> None:
    assert not matches("/".join(["**"] * 30 + ["x"]), "/".join(["a"] * 60))


@given(st.lists(LISTS, max_size=5))
def test_a_search_finds_every_file_of_every_snapshot_in_one_version(lists: list[list[Member]]) -> None:
    names = numbers(*range(1, len(lists) + 1))
    found = search(list(zip(names, lists, strict=True)), "**")
    told = sorted((name, it.member.name) for it in found for name in it.snapshots)
    assert told == sorted((name, it.name) for name, some in zip(names, lists, strict=True) for it in some)
    for it in found:
        for name in it.snapshots:
            held = next(one for one in lists[names.index(name)] if one.name == it.member.name)
            assert not aspects(held, it.member)


@given(st.sets(st.integers(1, 12)), st.sets(st.integers(1, 12)))
def test_ranges_name_these_snapshots_and_no_other(some: set[int], more: set[int]) -> None:
    every = sorted(some | more)
    text = ranges(numbers(*sorted(some)), numbers(*every))
    ends = [[int(it) for it in part.split("-")] for part in text.split(", ") if part]
    told = {number for end in ends for number in every if end[0] <= number <= end[-1]}
    assert told == some


def test_ranges_read_well() -> None:
    assert ranges(numbers(1, 2, 5, 9), numbers(1, 2, 5, 7, 9)) == "1-5, 9"


def test_within_a_folder() -> None:
    members = [file(b"SOUL.md"), folder(b"a"), file(b"a/b"), folder(b"a/c"), file(b"a/c/d"), file(b"ab")]
    names = {
        path: [it.name for it in within(members, path)] for path in (".", "a", "a/", "a/c", "ab", "nothing", "SOUL.md")
    }
    assert names["."] == [b"SOUL.md", b"a", b"ab"]
    assert names["a"] == names["a/"] == [b"a/b", b"a/c"]
    assert names["a/c"] == [b"a/c/d"]
    assert names["ab"] == [b"ab"]
    assert names["nothing"] == []
    assert len(within(members, ".", deep=True)) == len(members)
