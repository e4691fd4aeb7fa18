"""How search indexes are made again, told after the files of a list."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_backup.errors import Fault
from hermes_backup.snapshots import index
from hermes_backup.snapshots.index import Lines
from hermes_backup.snapshots.remaking import Asked, Remaking, from_bytes, to_lines
from hermes_backup.streams.members import Member
from tests.snapshots.listing import LISTS

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
COUNTS = st.integers(0, 2**63)
ASKED = st.builds(Asked, term=TEXTS, hits=COUNTS, sha256=st.binary(min_size=32, max_size=32).map(bytes.hex))
REMAKINGS = st.builds(
    Remaking,
    database=TEXTS,
    table=TEXTS,
    create=TEXTS,
    settings=st.lists(TEXTS, max_size=2).map(tuple),
    insert=TEXTS,
    condition=TEXTS,
    triggers=st.lists(TEXTS, max_size=3).map(tuple),
    rows=COUNTS,
    searches=st.lists(ASKED, max_size=2).map(tuple),
)
ONE = Remaking(database="state.db", table="fts", create="CREATE", insert="INSERT", rows=1)


@given(LISTS, st.lists(REMAKINGS, max_size=3))
@settings(max_examples=50)
def test_it_is_read_as_it_was_written_and_is_no_file(members: list[Member], told: list[Remaking]) -> None:
    data = b"".join([*index.to_lines(members), *to_lines(told)])
    assert from_bytes(data) == tuple(told)
    assert index.from_bytes(data) == index.from_bytes(data, Lines()) == tuple(members)
    assert data.isascii()
    assert len(data.splitlines()) == len(members) + len(told)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"rows":1', b'"rows":-1'),
        (b'"rows":1', b'"rows":"1"'),
        (b'"rows":1', b'"rows":1,"more":2'),
        (b'"table":"fts",', b""),
        (b'"CREATE"', b'["CREATE"]'),
        (b"}}\n", b"}"),
        (b"}}\n", b"}}}\n"),
        (b'"INSERT"', b'"' + b"x" * (1 << 20) + b'y"'),
    ],
)
def test_a_line_that_this_program_does_not_write_is_damage(old: bytes, new: bytes) -> None:
    (line,) = to_lines([ONE])
    assert old in line
    with pytest.raises(Fault) as caught:
        from_bytes(line.replace(old, new, 1))
    assert caught.value.kind.name == "HB-DATA-DAMAGED"
