"""Two lists of files, and the tables of two manifests, side by side."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

from hypothesis import given

from hermes_backup.snapshots.differences import (
    Rows,
    aspects,
    compare,
    compare_databases,
    leaves,
    own_rows,
    plain,
)
from hermes_backup.snapshots.index import Lines
from hermes_backup.snapshots.manifest import Database
from hermes_backup.streams.members import Member
from tests.snapshots.listing import LISTS, file, folder


@given(LISTS, LISTS)
def test_every_name_is_told_once_and_the_older_list_with_it_is_the_newer(old: list[Member], new: list[Member]) -> None:
    seen = compare(old, new)
    before, after = {it.name: it for it in old}, {it.name: it for it in new}
    gone = [it.name for it in seen.removed] + [it.old.name for it in seen.renamed]
    come = {it.name: it for it in (*seen.added, *(it.new for it in (*seen.renamed, *seen.changed)))}
    told = [*gone, *(it.name for it in seen.added), *(it.new.name for it in seen.renamed)]
    assert len(told) == len(set(told))
    made = {**{name: it for name, it in before.items() if name not in gone}, **come}
    assert made.keys() == after.keys()
    assert all(not aspects(made[name], after[name]) for name in after)
    assert seen.same == len(before.keys() & after.keys()) - len(seen.changed)


@given(LISTS)
def test_nothing_differs_from_itself(some: list[Member]) -> None:
    later = [replace(it, mtime=it.mtime + 60) for it in some]
    seen = compare(some, later)
    assert (seen.added, seen.changed, seen.removed, seen.renamed) == ((), (), (), ())
    assert seen.same == len(some)


@given(LISTS, LISTS)
def test_what_was_added_one_way_was_removed_the_other(old: list[Member], new: list[Member]) -> None:
    there, back = compare(old, new), compare(new, old)
    assert len(there.renamed) == len(back.renamed)
    assert len(there.added) == len(back.removed)
    assert {it.new.name for it in there.changed} == {it.new.name for it in back.changed}


@given(LISTS, LISTS)
def test_a_renamed_file_has_its_content(old: list[Member], new: list[Member]) -> None:
    for it in compare(old, new).renamed:
        assert it.old.sha256 == it.new.sha256
        assert it.old.name != it.new.name


def test_a_rename_prefers_the_same_last_name() -> None:
    old = [file(b"a/one"), file(b"a/two")]
    new = [file(b"b/one"), file(b"b/two")]
    pairs = {(it.old.name, it.new.name) for it in compare(old, new).renamed}
    assert pairs == {(b"a/one", b"b/one"), (b"a/two", b"b/two")}


def test_an_empty_file_is_no_rename() -> None:
    assert compare([file(b"a", "")], [file(b"b", "")]).renamed == ()


def test_what_changed_is_said() -> None:
    old = file(b"x")
    cases = (
        (file(b"x", "two"), ("content",)),
        (file(b"x", mode=0o600), ("mode",)),
        (file(b"x", "two", uid=7), ("content", "owner")),
        (folder(b"x"), ("kind",)),
        (file(b"x", mtime=99.0), ()),
    )
    for new, said in cases:
        assert aspects(old, new) == said


def test_hard_links_are_the_files_that_they_are() -> None:
    first = [file(b"a"), Member(b"b", "hardlink", 0, 0o644, 0, 0, 0.0, link=b"a")]
    other = [file(b"b"), Member(b"a", "hardlink", 0, 0o644, 0, 0, 0.0, link=b"b")]
    assert plain(first, Lines()) == plain(other, Lines()) == (file(b"a"), file(b"b"))
    lost = Member(b"b", "hardlink", 0, 0o644, 0, 0, 0.0, link=b"nowhere")
    assert plain([lost], Lines()) == (lost,)


@given(LISTS)
def test_leaves_leave_out_only_folders_that_hold_something(some: list[Member]) -> None:
    kept = set(leaves(some))
    for it in some:
        holds = any(other.name.startswith(it.name + b"/") for other in some)
        assert (it in kept) == (it.kind != "dir" or not holds)


def test_folders_as_deep_as_names_can_be_take_no_room() -> None:
    deep = [folder(b"%d/" % number + b"a/" * 2000 + b"b") for number in range(100)]
    tracemalloc.start()
    assert len(leaves(deep)) == 100
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 << 20


def database(path: str, **tables: int) -> Database:
    return Database(path=path, page_size=4096, pages=9, tables=tables)


def test_databases_by_their_rows() -> None:
    old = [database("a.db", messages=3, gone=1), database("b.db", x=1), database("same.db", x=1)]
    new = [database("a.db", messages=15, come=2), database("c.db", y=4), database("same.db", x=1)]
    changed, removed, added = sorted(compare_databases(old, new), key=lambda it: (it.old is None, it.new is None))
    assert changed.tables == (Rows("come", None, 2), Rows("gone", 1, None), Rows("messages", 3, 15))
    assert (removed.path, removed.new, removed.tables) == ("b.db", None, (Rows("x", 1, None),))
    assert (added.path, added.old, added.tables) == ("c.db", None, (Rows("y", None, 4),))


def test_that_an_index_is_left_out_is_no_difference() -> None:
    shadows = {f"fts{it}": 7 for it in ("_data", "_idx", "_content", "_docsize", "_config")}
    whole = database("a.db", messages=3, **shadows)
    lean = database("a.db", messages=3).model_copy(update={"left_out": ("fts",)})
    assert compare_databases([whole], [lean]) == compare_databases([lean], [whole]) == ()
    (changed,) = compare_databases([whole], [database("a.db", messages=3)])  # it is gone there
    assert {it.table for it in changed.tables} == set(shadows)


def test_tables_that_sqlite_keeps_for_itself_are_known_by_their_company() -> None:
    shadows = [f"messages_fts{it}" for it in ("_data", "_idx", "_content", "_docsize", "_config")]
    rows = [Rows(it, 1, 2) for it in ("messages", "user_data", "sqlite_sequence", *shadows)]
    kept = own_rows(rows, [it.table for it in rows])
    assert [it.table for it in kept] == ["messages", "user_data"]
