"""What counts as learned, and how two texts of an agent are shown side by side."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.pipeline.learning import LARGEST, Lesson, is_learned, lessons, text_difference
from hermes_backup.snapshots.differences import compare
from hermes_backup.streams.members import Member
from tests.snapshots.listing import LISTS, file, folder, link

WHEN = ("000001-20260101T000000Z", "000002-20260102T000000Z")
LESSON = Lesson(b"SOUL.md", file(b"SOUL.md"), file(b"SOUL.md", "two"))
TEXTS = st.none() | st.lists(st.sampled_from([b"a", b"b", b"\x1b[2J", b"\xff", b"", b"c\td\r", b"--- x"])).map(
    b"\n".join
)


@pytest.mark.parametrize(
    ("name", "learned"),
    [
        (b"SOUL.md", True),
        (b"memories/MEMORY.md", True),
        (b"memories/deep/MEMORY.md", False),
        (b"memories/MEMORY.md.lock", False),
        (b"skills/a/SKILL.md", True),
        (b"skills/a/new\nline.py", True),
        (b"profiles/research/skills/a", True),
        (b"profiles/research/SOUL.md", True),
        (b"workspace/SOUL.md", False),
        (b"skills", False),
        (b"state.db", False),
    ],
)
def test_what_is_learned(name: bytes, learned: bool) -> None:
    assert is_learned(name) is learned


@given(LISTS, LISTS)
def test_lessons_are_files_whose_content_differs(old: list[Member], new: list[Member]) -> None:
    before, after = {it.name: it for it in old}, {it.name: it for it in new}
    for it in lessons(compare(old, new)):
        assert is_learned(it.name)
        assert it.old is None or it.old == before[it.name]
        assert it.new is None or it.new == after[it.name]
        assert (it.old and it.old.sha256) != (it.new and it.new.sha256)


def test_what_only_moved_or_has_another_mode_is_no_lesson() -> None:
    old = [file(b"skills/a"), file(b"skills/b", "two"), folder(b"skills/d"), link(b"skills/l", b"x")]
    new = [file(b"skills/c"), file(b"skills/b", "two", mode=0o600), link(b"skills/l", b"y")]
    assert lessons(compare(old, new)) == ()


@given(TEXTS, TEXTS)
def test_a_difference_leads_from_one_text_to_the_other(old: bytes | None, new: bytes | None) -> None:
    lines = text_difference(LESSON, old, new, WHEN).lines
    assert all(it.isprintable() for it in lines)
    assert (len(lines) > 2) == ((old or b"") != (new or b""))
    came = sum(it[:1] == "+" for it in lines[2:]) - sum(it[:1] == "-" for it in lines[2:])
    assert came == _count(new) - _count(old)


def _count(text: bytes | None) -> int:
    """Lines, and the remark that the last one has no end."""
    return 0 if not text else text.count(b"\n") + 2 * (not text.endswith(b"\n"))


def test_a_difference_reads_as_people_know_it() -> None:
    it = text_difference(LESSON, b"one\ntwo\n", b"one\n\x1b]0;x\x07\n", WHEN)
    assert it.lines == (
        f"--- SOUL.md  {WHEN[0]}", f"+++ SOUL.md  {WHEN[1]}", "@@ -1,2 +1,2 @@", " one", "-two", "+\\x1b]0;x\\x07",
    )  # fmt: skip
    assert text_difference(LESSON, None, b"x", WHEN).lines[0] == f"--- (nothing)  {WHEN[0]}"


@pytest.mark.parametrize(("text", "said"), [(b"a\0b", "no text"), (b"x\n" * 4001, "4,000 lines")])
def test_what_is_not_compared_is_said(text: bytes, said: str) -> None:
    for pair in ((text, b"x"), (None, text)):
        it = text_difference(LESSON, *pair, WHEN)
        assert it.lines == ()
        assert said in it.untold


def test_a_text_that_repeats_itself_takes_no_minutes() -> None:
    old = b"".join(b"%d\n" % (it % 101) for it in range(4000))
    new = b"".join(b"%d\n" % (it * 7 % 103) for it in range(4000))
    assert max(len(old), len(new)) <= LARGEST
    began = time.process_time()
    text_difference(LESSON, old, new, WHEN)
    assert time.process_time() - began < 10
