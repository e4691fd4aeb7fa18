"""How large a delta may be: base, new archive, zstd's table and all else together fit what was allowed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.stages.delta import GROWN, TOO_LARGE, Delta
from hermes_backup.streams.patching import LARGEST, OVERHEAD, table_of_matches

_MIB = 1 << 20
MEMORY = st.integers(65, 8192)
BASE = st.integers(8, 4096 * _MIB)


@given(MEMORY, BASE, st.integers(0, 200_000))
def test_all_together_fits(memory: int, base: int, entries: int) -> None:
    room = Delta.model_validate({"memory": f"{memory}M"}).room(base, entries)
    if room.size > 0:
        assert base + room.size + table_of_matches(room.size) + OVERHEAD <= memory * _MIB
        assert room.size <= min(2 * base, LARGEST)
    assert room.beyond == (GROWN if room.size == 2 * base else TOO_LARGE)


@given(MEMORY)
def test_what_is_kept_as_a_base_leaves_room_for_another_like_it(memory: int) -> None:
    delta = Delta.model_validate({"memory": f"{memory}M"})
    assert delta.room(delta.largest, 0).size >= delta.largest * 0.9


def test_a_gigabyte_needs_more_than_twice_its_size() -> None:
    base = 1107 * _MIB
    assert Delta.model_validate({"memory": "2560M"}).room(base, 500).size < 1388 * _MIB
    assert Delta.model_validate({"memory": "2816M"}).room(base, 500).size > 1388 * _MIB
