"""A patch and its base give back what was patched, here and by plain zstd; whatever is wrong with either is told."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_backup.errors import DATA_DAMAGED, STAGE_FAILED, Fault
from hermes_backup.streams.coder import from_bytes
from hermes_backup.streams.patching import NoPatchError, Patch, Prefix, Unpatch, require_memory, table_of_matches

BASE = random.Random(1).randbytes(100_000)
_PEAK = """
import re, sys
from hermes_backup.streams.patching import Patch, Prefix
base = bytes(range(256)) * 4096
patch = Patch(Prefix.read((it for it in [base]), len(base)), 3, int(sys.argv[1]), "too large")
assert sum(map(len, patch.code(it for it in [base])))
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) << 10)
"""


def prefix(base: bytes) -> Prefix:
    return Prefix.read(from_bytes(base), len(base))


def patch(base: bytes, new: bytes, room: int | None = None) -> bytes:
    made = Patch(prefix(base), 3, 2 * len(base) if room is None else room, "too large")
    return b"".join(made.code(from_bytes(new)))


def unpatched(base: bytes, coded: bytes) -> bytes:
    return b"".join(Unpatch(lambda: prefix(base)).code(from_bytes(coded)))


@given(st.binary(min_size=8, max_size=5000), st.data())
@settings(deadline=None)
def test_what_was_patched_comes_back(base: bytes, data: st.DataObject) -> None:
    pieces = st.one_of(st.binary(max_size=300), st.integers(0, len(base)).map(lambda at: base[at : at + 700]))
    new = b"".join(data.draw(st.lists(pieces, max_size=8)))[: 2 * len(base)]
    assert unpatched(base, patch(base, new)) == new


@pytest.mark.parametrize("size", [0, 1, 70_000, 199_999, 200_000])
def test_plain_zstd_undoes_it(tmp_path: Path, size: int) -> None:
    new = (BASE[50_000:] + b"x" * 40_000 + BASE + BASE)[:size]
    (tmp_path / "base").write_bytes(BASE)
    argv = ["zstd", "-dc", "--long=31", f"--patch-from={tmp_path}/base"]
    assert subprocess.run(argv, input=patch(BASE, new), capture_output=True, check=True).stdout == new


def test_little_that_changed_is_little() -> None:
    assert len(patch(BASE, BASE[:60_000] + b"new" + BASE[60_000:])) < 200


def test_what_repeats_from_far_back_in_a_large_base_is_little() -> None:
    noise = random.Random(3)
    base, between = noise.randbytes(6 << 20), noise.randbytes(100_000)
    repeated = base[: 1 << 20]
    assert len(patch(base, between + repeated)) - len(between) < len(repeated) / 100


def test_one_byte_more_than_there_is_room_for_is_no_patch() -> None:
    assert unpatched(BASE, patch(BASE, BASE, room=100_000)) == BASE
    with pytest.raises(NoPatchError, match="too large"):
        patch(BASE, BASE + b"x", room=100_000)


@pytest.mark.parametrize(
    ("content", "size", "said"),
    [(BASE, 99_999, "more than"), (BASE, 100_001, "ends after"), (b"short", 5, "is none"), (b"", 1 << 40, "is none")],
)
def test_a_base_of_another_size_is_damage(content: bytes, size: int, said: str) -> None:
    with pytest.raises(Fault, match=said) as caught:
        Prefix.read(from_bytes(content), size)
    assert caught.value.kind is DATA_DAMAGED


@pytest.mark.parametrize("base", [BASE[::-1], BASE[:-1] + b"\0"])
def test_another_base_is_damage(base: bytes) -> None:
    coded = patch(BASE, BASE)
    with pytest.raises(Fault) as caught:
        unpatched(base, coded)
    assert caught.value.kind is DATA_DAMAGED


@pytest.mark.parametrize("spoil", [lambda it: it[:-1], lambda it: it + b"x", lambda it: it[:20] + b"\0" + it[21:]])
def test_a_spoilt_patch_is_damage(spoil: object) -> None:
    assert callable(spoil)
    with pytest.raises(Fault) as caught:
        unpatched(BASE, spoil(patch(BASE, BASE[:50_000] + random.Random(2).randbytes(500))))
    assert caught.value.kind is DATA_DAMAGED


LITTLE = """
import resource
from tests.streams.test_patching import *
base = bytes(300_000_000)
coded = patch(BASE, BASE)
held = prefix(base)
resource.setrlimit(resource.RLIMIT_AS, (700_000_000, 700_000_000))
try:
    {}
except (NoPatchError, Fault) as error:
    print(type(error).__name__, getattr(error, "kind", None) and error.kind.name, error)
"""


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("b''.join(Patch(held, 3, 600_000_000, '').code(from_bytes(base)))", "NoPatchError None zstd says: "),
        ("b''.join(Unpatch(lambda: prefix(base)).code(from_bytes(coded)))", "Fault HB-STAGE-FAILED"),
    ],
)
def test_too_little_memory_is_told_as_such(does: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", LITTLE.format(does)], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(said), done


def test_what_does_not_fit_this_machine_is_refused_before_it_is_fetched() -> None:
    require_memory(1 << 20)
    with pytest.raises(Fault, match="MiB are needed") as caught:
        require_memory(1 << 50)
    assert caught.value.kind is STAGE_FAILED


@pytest.mark.parametrize("room", [1 << 29, 1 << 31])
def test_the_table_of_matches_is_as_large_as_was_said(room: int) -> None:
    def peak(size: int) -> int:
        argv = [sys.executable, "-c", _PEAK, str(size)]
        return int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)

    taken = peak(room) - peak(1 << 21)
    assert 0.9 * table_of_matches(room) < taken < table_of_matches(room) + (12 << 20)
