"""Compression, gpg and their failures, on real bytes."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_backup.errors import Fault
from hermes_backup.streams.coder import Chunks, from_bytes, join
from hermes_backup.streams.compression import Algorithm, Compress, Decompress, algorithm_of
from hermes_backup.streams.gpg import Decrypt, EncryptTo, EncryptWith
from hermes_backup.streams.keys import private_keyring
from tests.keys import KeyMaker, Recipient, agents

ALGORITHMS: tuple[Algorithm, ...] = ("zstd", "lz4", "gzip", "none")


def text(size: int, seed: int = 1) -> bytes:
    dice = random.Random(seed)
    words = [dice.randbytes(6).hex() for _ in range(500)]
    return " ".join(dice.choices(words, k=size // 13)).encode()


def failing(data: bytes) -> Chunks:
    yield data
    raise ValueError("the source broke")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(max_examples=25, deadline=None)
@given(data=st.binary(max_size=5000), level=st.integers(1, 9))
def test_what_was_compressed_comes_back(algorithm: Algorithm, data: bytes, level: int) -> None:
    coded = b"".join(Compress(algorithm, level).code(from_bytes(data)))
    assert b"".join(Decompress(algorithm).code(from_bytes(coded))) == data


@pytest.mark.parametrize(("algorithm", "tool"), [("zstd", "zstd"), ("lz4", "lz4"), ("gzip", "gzip")])
def test_the_field_s_own_tool_reads_it(algorithm: Algorithm, tool: str) -> None:
    data = text(3_000_000)
    coded = b"".join(Compress(algorithm).code(from_bytes(data)))
    assert subprocess.run([tool, "-dc"], input=coded, capture_output=True, check=True).stdout == data
    assert len(coded) < len(data)


@pytest.mark.parametrize("algorithm", ["zstd", "lz4", "gzip"])
@pytest.mark.parametrize("spoil", ["cut", "empty", "flip", "append"])
def test_damage_is_noticed(algorithm: Algorithm, spoil: str) -> None:
    coded = bytearray(b"".join(Compress(algorithm).code(from_bytes(text(200_000)))))
    if spoil == "cut":
        coded = coded[:-1]
    elif spoil == "empty":
        coded = coded[:0]
    elif spoil == "flip":
        coded[len(coded) // 2] ^= 1
    else:
        coded += b"more"
    with pytest.raises(Fault) as caught:
        b"".join(Decompress(algorithm).code(from_bytes(bytes(coded))))
    assert caught.value.kind.name == "HB-DATA-DAMAGED"


def test_long_distance_matching_finds_what_repeats_far_apart() -> None:
    block = os.urandom(1 << 20)
    data = block + os.urandom(24 << 20) + block
    long = sum(map(len, Compress("zstd", 3).code(from_bytes(data))))
    short = sum(map(len, Compress("zstd", 3, long=False).code(from_bytes(data))))
    assert long < short - (1 << 19)


@pytest.mark.parametrize("name", ["a.tar.zst.gpg", "a.tar.zst", "a.index.zst.gpg"])
def test_the_name_tells_the_compression(name: str) -> None:
    assert algorithm_of(name) == "zstd"


def test_no_suffix_is_no_compression() -> None:
    assert algorithm_of("a.tar.gpg") == "none"


@pytest.fixture
def ring(recipient: Recipient, tmp_path: Path) -> Iterator[Path]:
    with private_keyring([recipient.public]) as keyring:
        assert keyring.homedir is not None
        yield keyring.homedir


def test_gpg_encrypts_to_a_recipient_and_back(recipient: Recipient, ring: Path) -> None:
    data = text(5_000_000)
    sealed = b"".join(EncryptTo((recipient.fingerprint,), ring).code(from_bytes(data)))
    assert data[:100] not in sealed
    assert b"".join(Decrypt(recipient.gnupghome).code(from_bytes(sealed))) == data


@pytest.mark.parametrize("spoil", ["cut-last", "cut-half", "empty", "flip-head", "flip-middle", "flip-tail", "append"])
def test_gpg_never_calls_damaged_data_whole(recipient: Recipient, ring: Path, spoil: str) -> None:
    sealed = bytearray(b"".join(EncryptTo((recipient.fingerprint,), ring).code(from_bytes(os.urandom(300_000)))))
    if spoil.startswith("flip"):
        sealed[{"flip-head": 40, "flip-middle": len(sealed) // 2, "flip-tail": len(sealed) - 2}[spoil]] ^= 1
    elif spoil == "append":
        sealed += b"\xcb\x10b\x00\x00\x00\x00\x00forged"
    else:
        sealed = sealed[: {"cut-last": len(sealed) - 1, "cut-half": len(sealed) // 2, "empty": 0}[spoil]]
    with pytest.raises(Fault) as caught:
        b"".join(Decrypt(recipient.gnupghome).code(from_bytes(bytes(sealed))))
    assert caught.value.kind.name in ("HB-DATA-DAMAGED", "HB-KEY-SECRET-MISSING")


def test_without_the_private_key_nothing_comes_out(recipient: Recipient, ring: Path, key_maker: KeyMaker) -> None:
    sealed = b"".join(EncryptTo((recipient.fingerprint,), ring).code(from_bytes(b"secret")))
    with pytest.raises(Fault) as caught:
        b"".join(Decrypt(key_maker.home()).code(from_bytes(sealed)))
    assert caught.value.kind.name == "HB-KEY-SECRET-MISSING"


def test_a_passphrase_works_too_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("correct horse\n")
    wrong.write_text("battery staple\n")
    (tmp_path / "gnupg").mkdir(mode=0o700)
    data = text(100_000)
    sealed = b"".join(EncryptWith(right, tmp_path / "gnupg").code(from_bytes(data)))
    assert sealed[2:5] == bytes([4, 9, 3]), "version 4, AES256, iterated and salted"
    assert (sealed[5], sealed[14]) == (10, 255), "by SHA512, as often as OpenPGP can say (RFC 4880, 3.7.1.3)"
    assert b"".join(Decrypt(tmp_path / "gnupg", right, keys=False).code(from_bytes(sealed))) == data
    with pytest.raises(Fault) as caught:
        b"".join(Decrypt(tmp_path / "gnupg", wrong, keys=False).code(from_bytes(sealed)))
    assert caught.value.kind.name == "HB-KEY-PASSPHRASE"
    assert agents(tmp_path) == [], "no agent was asked, neither how often to hash"


@pytest.mark.parametrize("content", [b"", b"\n", None])
def test_an_empty_or_missing_passphrase_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "passphrase"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Fault) as caught:
        b"".join(EncryptWith(path, tmp_path).code(from_bytes(b"x")))
    assert caught.value.kind.name == "HB-KEY-PASSPHRASE"


def test_a_broken_source_kills_gpg_and_is_told(recipient: Recipient, ring: Path) -> None:
    coders = (Compress("zstd"), EncryptTo((recipient.fingerprint,), ring))
    with pytest.raises(ValueError, match="the source broke"):
        b"".join(join(failing(text(2_000_000)), coders))


def test_closing_early_ends_gpg(recipient: Recipient, ring: Path) -> None:
    before = _children()
    stream = EncryptTo((recipient.fingerprint,), ring).code(from_bytes(os.urandom(8 << 20)))
    next(stream)
    assert len(_children()) == len(before) + 1
    stream.close()
    assert _children() == before


def _children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
