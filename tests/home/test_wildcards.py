"""Patterns with many wildcards: the same matches as pathspec's, in time that is bounded."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from hermes_backup.home.patterns import Matcher, parse
from hermes_backup.home.wildcards import bounded

PARTS = st.lists(st.sampled_from(["a", "b", "*", "?", "[ab]", "[!c]", "\\\\*"]), min_size=1, max_size=6).map("".join)
LINES = st.lists(st.one_of(PARTS, st.just("**")), min_size=1, max_size=5).map("/".join)
PATHS = st.lists(st.text("ab*", min_size=1, max_size=6), min_size=1, max_size=6).map("/".join)


@settings(max_examples=200)
@given(line=LINES, paths=st.lists(PATHS, min_size=1, max_size=8))
def test_the_same_matches(line: str, paths: list[str]) -> None:
    regex = getattr(next(iter(GitIgnoreSpec.from_lines([line]).patterns)), "regex", None)
    if regex is None or not regex.pattern.startswith("^"):
        return
    source = regex.pattern.replace("(?P<ps_d>/)", "/")
    for path in (it + end for it in paths for end in ("", "/")):
        expected = re.match(source, path, re.DOTALL)
        assert (re.match(bounded(source), path, re.DOTALL) is None) == (expected is None), path


@pytest.mark.parametrize(
    ("line", "matches", "path"),
    [
        ("*" * 5000, True, "a" * 255),
        ("*" * 5000 + "b", False, "a" * 255),
        ("*a" * 1000 + "*b", False, "a" * 255),
        ("*a" * 100 + "*b", False, "a" * 255),
        ("*a" * 100 + "*b", True, "a" * 254 + "b"),
        ("?*" * 120 + "b", False, "a" * 255),
        ("[ab]*" * 120 + "c", False, "ab" * 127),
        ("**/a/" * 500 + "b", False, "a/" * 2000 + "x"),
        ("**/*/" * 100 + "b", False, "a/" * 2000 + "x"),
        ("**/*/" * 100 + "b", True, "a/" * 2000 + "b"),
        ("**/a*a*a*/" * 50 + "b", False, "aaaaaaaaa/" * 400 + "x"),
    ],
)
def test_many_wildcards_end_soon(line: str, matches: bool, path: str) -> None:
    """With these expressions as pathspec writes them, this process would not end."""
    pattern = parse(line)
    assert pattern is not None
    folder, slash, name = path.rpartition("/")
    assert Matcher.of((pattern, pattern)).excludes(folder + slash, name) is matches
