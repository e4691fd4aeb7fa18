from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hermes_backup.errors import MANIFEST_BAD, Fault
from hermes_backup.snapshots.manifest import (
    Database,
    Manifest,
    PartialFile,
    check_belongs,
    from_json,
    to_json,
)
from tests.snapshots.made import HOST, PIPELINE, START, manifest_of, name_of

anything = st.text(max_size=40)
counts = st.integers(0, 2**63)
hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)


@st.composite
def lean(draw: st.DrawFn) -> Database:
    tables = draw(st.dictionaries(anything, counts, min_size=1, max_size=3))
    contents = {it: draw(hashes) for it in tables}
    left_out = tuple(draw(st.lists(anything, min_size=1, max_size=2)))
    return Database(path="state.db", page_size=1, pages=1, tables=tables, contents=contents, left_out=left_out)


manifests = st.builds(
    manifest_of,
    st.builds(name_of, st.integers(1, 10**12 - 1), st.just(START)),
    previous=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    excluded=st.lists(anything, max_size=3).map(tuple),
    files=counts,
    bytes=counts,
    databases=st.lists(
        st.builds(
            Database,
            path=anything,
            page_size=counts,
            pages=counts,
            tables=st.dictionaries(anything, counts, max_size=3),
        )
        | lean(),
        max_size=2,
    ).map(tuple),
    partial=st.lists(st.builds(PartialFile, path=anything, reason=anything), max_size=2).map(tuple),
)
NAME = name_of(7)


def changed(**changes: Any) -> str:
    """Return a manifest's text with some fields changed behind the model's back."""
    return json.dumps({**json.loads(to_json(manifest_of(NAME))), **changes}, indent=1, sort_keys=True) + "\n"


@given(manifests)
@settings(max_examples=50)
def test_a_manifest_reads_as_it_was_written(manifest: Manifest) -> None:
    text = to_json(manifest)
    assert from_json(text) == manifest
    assert to_json(from_json(text)) == text
    assert text.isascii()
    assert not any(line != line.rstrip() or line.startswith("-") for line in text.splitlines())


@given(st.text(max_size=30_000) | st.text(alphabet=["😀", "\x00", "\\", '"'], min_size=1_000, max_size=30_000))
@settings(max_examples=25)
def test_no_line_is_longer_than_gpg_signs_whole(path: str) -> None:
    text = to_json(manifest_of(NAME, partial=(PartialFile(path=path, reason=path),)))
    assert max(map(len, text.splitlines())) < 19_000
    assert from_json(text).partial[0].path == from_json(text).partial[0].reason


def test_a_name_that_is_not_utf8_is_shown_escaped() -> None:
    manifest = manifest_of(NAME, partial=(PartialFile(path="a\udcffb", reason="vanished"),))
    assert from_json(to_json(manifest)).partial[0].path == "a\\udcffb"


def test_a_full_text_is_read_with_any_line_ends() -> None:
    text = to_json(manifest_of(NAME))
    assert from_json(text.replace("\n", "\r\n")) == from_json(text.rstrip())


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"surprise": 1},
        {"sequence": 0},
        {"sequence": "7"},
        {"sequence": True},
        {"host": "../x"},
        {"created": "2026-01-08T03:30:00+01:00"},
        {"created": "2026-01-08T03:30:00.5Z"},
        {"previous": "A" * 64},
        {"previous": "a" * 64 + "\n"},
        {"parts": []},
        {"files": -1},
        {"kind": "delta"},
        {"base": str(NAME)},
        {"recipients": []},
        {"recipients": ["ABCD"]},
        {"encryption": "none"},
        {"encryption": "none", "recipients": []},
        {"format": "squashfs"},
        {"format": "zip"},
        {"host": None},
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Fault) as caught:
        from_json(changed(**changes))
    assert caught.value.kind is MANIFEST_BAD


@pytest.mark.parametrize("text", ["", "null", "{}", "[]", "\x00", "{" * 10_000])
def test_what_is_no_manifest(text: str) -> None:
    with pytest.raises(Fault) as caught:
        from_json(text)
    assert caught.value.kind is MANIFEST_BAD


def test_a_key_given_twice_is_refused() -> None:
    text = to_json(manifest_of(NAME))
    with pytest.raises(Fault, match="one spelling"):
        from_json(text.replace(' "files": 3', ' "files": 4,\n "files": 3'))


def test_parts_belong_to_the_snapshot() -> None:
    with pytest.raises(ValidationError):
        manifest_of(NAME, parts=manifest_of(name_of(8)).parts)


def test_an_old_snapshot_renamed_as_newest_is_caught() -> None:
    manifest = manifest_of(NAME)
    check_belongs(manifest, HOST, PIPELINE, NAME)
    for host, pipeline, name in (
        ("web-2", PIPELINE, NAME),
        (HOST, "hourly", NAME),
        (HOST, PIPELINE, name_of(8)),
        (HOST, PIPELINE, name_of(7, NAME.time + timedelta(seconds=1))),
    ):
        with pytest.raises(Fault) as caught:
            check_belongs(manifest, host, pipeline, name)
        assert caught.value.kind is MANIFEST_BAD


def test_nothing_in_a_manifest_can_be_changed() -> None:
    with pytest.raises(ValidationError):
        manifest_of(NAME).host = "other"


def test_a_database_without_anything_left_out_is_written_as_before() -> None:
    database = Database(path="state.db", page_size=4096, pages=2, tables={"t": 1})
    text = to_json(manifest_of(NAME, databases=(database,)))
    assert "contents" not in text
    assert "left_out" not in text
    with pytest.raises(Fault) as caught:
        from_json(text.replace('"page_size"', '"contents": {},\n   "page_size"'))
    assert caught.value.kind is MANIFEST_BAD


@pytest.mark.parametrize(
    ("contents", "left_out"),
    [({}, ("fts",)), ({"t": "0" * 64}, ()), ({"u": "0" * 64}, ("fts",)), ({"t": "0"}, ("fts",))],
)
def test_what_tables_hold_is_told_for_all_or_none(contents: dict[str, str], left_out: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        Database(path="x", page_size=1, pages=1, tables={"t": 1}, contents=contents, left_out=left_out)
