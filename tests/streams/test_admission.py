"""The doorkeeper: which members of an archive may be extracted, whatever their order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.errors import Fault
from hermes_backup.streams.admission import MOST_HOLES, Doorkeeper
from hermes_backup.streams.members import Member, MemberKind


def member(name: bytes, kind: MemberKind = "file", link: bytes | None = None, mode: int = 0o644) -> Member:
    return Member(name, kind, 0, mode, 0, 0, 0.0, link)


def reason(*members: Member) -> str:
    """Why the last of these members is refused; the others are let in."""
    keeper = Doorkeeper()
    for it in members[:-1]:
        keeper.admit(it)
    with pytest.raises(Fault) as caught:
        keeper.admit(members[-1])
    assert caught.value.kind.name == "HB-RESTORE-REFUSED"
    return caught.value.what


def test_a_home_is_let_in() -> None:
    keeper = Doorkeeper()
    for it in (
        member(b"a", "dir"), member(b"a/b"), member(b"a/b again", "hardlink", b"a/b"), member(b"..a"), member(b"a/b.."),
        member(b"l", "link", b"a/b"), member(b"a/up", "link", b"../l"), member(b"a.b/..c/d"), member(b"new\nline"),
        member(b"\xff\xfe"), member(b"c:\\windows"), member(b"-rf"), member(b"~"), member(b"lx/y"), member(b"x" * 5000),
    ):  # fmt: skip
        keeper.admit(it)
    assert keeper.outward == []


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b"/",
        b"/etc/passwd",
        b"..",
        b".",
        b"a/..",
        b"../a",
        b"a/../b",
        b"./a",
        b"a/.",
        b"a//b",
        b"a/",
        b"//a",
        b"a\0b",
    ],
)
@pytest.mark.parametrize("kind", ["file", "dir", "link"])
def test_names_that_leave_or_say_more_than_one_thing(name: bytes, kind: MemberKind) -> None:
    assert "leaves the folder" in reason(member(name, kind, b"x" if kind == "link" else None))


@pytest.mark.parametrize("kind", ["file", "dir", "link", "hardlink"])
@pytest.mark.parametrize("name", [b"l/x", b"l/x/y", b"d/m/x"])
def test_nothing_goes_through_a_link(name: bytes, kind: MemberKind) -> None:
    links = (member(b"f"), member(b"l", "link", b"d"), member(b"d", "dir"), member(b"d/m", "link", b"/tmp"))
    target = b"f" if kind in ("link", "hardlink") else None
    assert "through a link" in reason(*links, member(name, kind, target))


@pytest.mark.parametrize("name", [b"f/x", b"f/x/y", b"d/h/x"])
@pytest.mark.parametrize("kind", ["file", "dir", "link", "hardlink"])
def test_nothing_goes_through_a_file(name: bytes, kind: MemberKind) -> None:
    before = (member(b"f"), member(b"d", "dir"), member(b"d/h", "hardlink", b"f"))
    target = b"f" if kind in ("link", "hardlink") else None
    assert "through a file" in reason(*before, member(name, kind, target))


@pytest.mark.parametrize("name", [b"d", b"d/e", b"d/e/f"])
@pytest.mark.parametrize("kind", ["file", "link", "hardlink"])
def test_nothing_but_a_folder_has_something_below_it(name: bytes, kind: MemberKind) -> None:
    target = b"f" if kind in ("link", "hardlink") else None
    assert "lies below it" in reason(member(b"f"), member(b"d/e/f/g"), member(name, kind, target))
    keeper = Doorkeeper()
    for it in (member(b"d/e/f/g"), member(b"d/e", "dir"), member(b"d", "dir"), member(b"d/e/h")):
        keeper.admit(it)


def test_folders_that_are_told_of_by_what_is_in_them_alone_are_bounded() -> None:
    """Each name of 4 kB may tell of 2,000 folders: a short list would take all memory."""
    assert "too many folders" in reason(*(member(b"%d" % number + b"/d" * 1500) for number in range(30)))


def test_holes_of_all_members_together_are_bounded() -> None:
    keeper = Doorkeeper()
    keeper.admit(member(b"a"), MOST_HOLES - 1)
    keeper.admit(member(b"b"), 1)
    with pytest.raises(Fault, match="bytes of holes"):
        keeper.admit(member(b"c"), 1)


@pytest.mark.parametrize("second", ["file", "dir", "link", "hardlink"])
@pytest.mark.parametrize("first", ["file", "dir", "link"])
def test_nothing_stands_there_twice(first: MemberKind, second: MemberKind) -> None:
    one = member(b"a", first, b"x" if first == "link" else None)
    assert "twice" in reason(member(b"f"), one, member(b"a", second, b"f" if "link" in second else None))


@pytest.mark.parametrize(
    "target", [b"later", b"/etc/passwd", b"../f", b"./f", b"d", b"l", b"again", b"self", b"f/", b"F"]
)
def test_a_hard_link_leads_to_a_file_before_it(target: bytes) -> None:
    before = (
        member(b"f"), member(b"d", "dir"), member(b"l", "link", b"f"), member(b"again", "hardlink", b"f"),
    )  # fmt: skip
    assert "hard link" in reason(*before, member(b"self", "hardlink", target))


def test_what_is_neither_file_nor_folder_nor_link() -> None:
    assert "device" in reason(member(b"null", "other"))
    assert "no name" in reason(member(b"l", "link", b""))
    assert "no name" in reason(member(b"l", "link", b"a\0b"))


@pytest.mark.parametrize(
    ("name", "target", "outward"),
    [
        (b"l", b"f", False), (b"l", b"..", True), (b"d/l", b"..", False), (b"d/l", b"../f", False),
        (b"d/l", b"../..", True),
        (b"d/l", b"../../f", True), (b"l", b"/f", True), (b"l", b"a/../../f", True), (b"l", b"a/../f", False),
        (b"l", b"./f", False), (b"a/b/c", b"../.././f", False), (b"l", b"a//..//..", True),
    ],
)  # fmt: skip
def test_links_that_point_outside_are_noted_and_let_in(name: bytes, target: bytes, outward: bool) -> None:
    keeper = Doorkeeper()
    keeper.admit(member(name, "link", target))
    assert keeper.outward == ([name] if outward else [])


PIECES = st.lists(st.sampled_from([b"a", b"b", b"..", b".", b"", b"l"]), min_size=1, max_size=4).map(b"/".join)


@given(members=st.lists(st.tuples(PIECES, st.sampled_from(["file", "dir", "link", "hardlink"]), PIECES), max_size=8))
def test_whatever_comes_nobody_gets_out(members: list[tuple[bytes, MemberKind, bytes]]) -> None:
    """Follow the rules of a file system: no admitted member is made outside, or through what is no folder."""
    keeper = Doorkeeper()
    links: set[bytes] = set()
    names: set[bytes] = set()
    kinds: dict[bytes, str] = {}
    for name, kind, target in members:
        try:
            keeper.admit(member(name, kind, target if kind in ("link", "hardlink") else None))
        except Fault:
            continue
        steps = name.split(b"/")
        assert not {b"", b".", b".."} & set(steps)
        assert name not in names
        assert not any(b"/".join(steps[:end]) in links for end in range(1, len(steps)))
        assert kind != "hardlink" or target in names - links
        above = [b"/".join(steps[:end]) for end in range(1, len(steps))]
        assert all(kinds.setdefault(it, "dir") == "dir" for it in above)
        assert kinds.setdefault(name, kind) == kind
        names.add(name)
        if kind == "link":
            links.add(name)
