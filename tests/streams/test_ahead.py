"""A stream pulled ahead is the same stream: its bytes, its errors and its end."""

from __future__ import annotations

import threading
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.streams.ahead import ahead
from hermes_backup.streams.coder import Chunks


class Source:
    """A stream that says how far it was pulled, and whether it was closed."""

    def __init__(self, chunks: list[bytes] | None = None, error: Exception | None = None) -> None:
        self.closed = False
        self.pulled = 0
        self._chunks = chunks
        self._error = error

    def stream(self) -> Chunks:
        try:
            for it in self._chunks if self._chunks is not None else (b"%d" % it for it in count()):
                self.pulled += 1
                yield it
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True


@given(st.lists(st.binary(max_size=8), max_size=30))
def test_the_same_chunks_in_the_same_order(chunks: list[bytes]) -> None:
    source = Source(chunks)
    assert list(ahead(source.stream())) == chunks
    assert source.closed


@pytest.mark.parametrize("length", [0, 1, 20])
def test_an_error_comes_after_the_chunks_before_it(length: int) -> None:
    source = Source([b"x"] * length, ValueError("cut"))
    stream = ahead(source.stream())
    for _ in range(length):
        assert next(stream) == b"x"
    with pytest.raises(ValueError, match="cut"):
        next(stream)
    assert source.closed


@pytest.mark.parametrize("taken", [0, 1, 2, 40])
def test_closed_early_it_closes_its_source_and_leaves_no_thread(taken: int) -> None:
    source = Source()
    before = threading.active_count()
    stream = ahead(source.stream())
    for number in range(taken):
        assert next(stream) == b"%d" % number
    stream.close()
    assert source.closed == (taken > 0)
    assert threading.active_count() == before
    assert source.pulled < taken + 10


def test_nothing_is_pulled_before_somebody_asks() -> None:
    source = Source()
    ahead(source.stream())
    assert source.pulled == 0
