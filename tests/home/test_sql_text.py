"""SQL divided into tokens as SQLite does it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.home.databases.sql_text import divided, enclosed, folded, tokens


@pytest.mark.parametrize(
    ("sql", "texts"),
    [
        ("a.b||'it''s; --' -- gone ' \n ,x'00'", ["a", ".", "b", "|", "|", "'it''s; --'", ",", "x'00'"]),
        ('"a ""b"" /*" [c]d] /* x */ `e``f`', ['"a ""b"" /*"', "[c]", "d", "]", "`e``f`"]),
        ("état$1\xa0北 1.5e3 .5 /* open", ["état$1\xa0北", "1.5e3", ".", "5"]),
        ("a--b\r\nc", ["a", "c"]),
    ],
)
def test_tokens(sql: str, texts: list[str]) -> None:
    found = tokens(sql)
    assert found is not None
    assert [it.text for it in found] == texts
    assert all(sql[it.start : it.end] == it.text for it in found)


@pytest.mark.parametrize("sql", ["'", '"a', "`", "[a", "'it''s", "x'0", "a 'b' 'c"])
def test_a_quote_that_is_not_closed(sql: str) -> None:
    assert tokens(sql) is None


@given(st.text(alphabet="ab'\"`[]-*/\n (),;.é1", max_size=30))
def test_nothing_is_lost_but_blanks_and_comments(sql: str) -> None:
    found = tokens(sql)
    if found is not None:
        at = [0, *(place for it in found for place in (it.start, it.end)), len(sql)]
        gaps = [sql[first:last] for first, last in zip(at[::2], at[1::2], strict=True)]
        assert all(tokens(it) == () for it in gaps)


def test_names() -> None:
    found = tokens("\"a\"\"b\" [c d] `e``f` 'it''s' Plain") or ()
    assert [it.name for it in found] == ['a"b', "c d", "e`f", "it's", "Plain"]
    assert found[-1].is_word("PLAIN")
    assert found[0].is_name('A"B')
    assert folded("ÀB") == "Àb"


def test_parentheses() -> None:
    inside, after = enclosed(tokens("(a, (b, c), f(d, e)) g") or ()) or ((), ())
    assert [[it.text for it in part][:2] for part in divided(inside, ",")] == [["a"], ["(", "b"], ["f", "("]]
    assert [it.text for it in after] == ["g"]
    assert enclosed(tokens("(a") or ()) is None
    assert enclosed(()) is None
