"""The outer packets of what the real gpg writes, and of what nobody should take for it."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_backup.errors import Fault
from hermes_backup.streams.packets import Packets, inspect
from tests.keys import KeyMaker, Recipient

LARGE = 3 << 20


@pytest.fixture(scope="module")
def three(key_maker: KeyMaker) -> list[Recipient]:
    return [key_maker.make(), key_maker.make("rsa2048", "encr", "never"), key_maker.make()]


@pytest.fixture(scope="module")
def home(key_maker: KeyMaker, three: list[Recipient]) -> Path:
    """A GNUPGHOME with the three public keys."""
    home = key_maker.home()
    for key in three:
        argv = ["gpg", "--homedir", str(home), "--batch", "--import"]
        subprocess.run(argv, input=key.public.encode(), check=True, capture_output=True)
    return home


def gpg(home: Path, data: bytes, *words: str) -> bytes:
    options = [
        "--batch",
        "--no-tty",
        "--trust-model",
        "always",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "secret",
    ]
    done = subprocess.run(
        ["gpg", "--homedir", str(home), *options, *words], input=data, check=True, capture_output=True
    )
    return done.stdout


def in_pieces(data: bytes, most: int = 70_000) -> Iterator[bytes]:
    """Cut anywhere, with empty pieces too."""
    dice = random.Random(len(data))
    while data:
        step = dice.choice((0, 1, 2, 5, 512, most))
        yield data[:step]
        data = data[step:]


def to(*keys: Recipient) -> list[str]:
    return [word for key in keys for word in ("-r", key.fingerprint)]


@pytest.mark.parametrize("size", [0, 1, 100, 191, 192, 8383, 8384, 70_000, LARGE])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_recipient_is_counted_whatever_the_size(
    size: int, count: int, home: Path, three: list[Recipient]
) -> None:
    sealed = gpg(home, os.urandom(size), "-z", "0", *to(*three[:count]), "--encrypt")
    assert inspect(in_pieces(sealed)) == Packets(recipients=count, passphrases=0, protected=True)


def test_a_file_of_known_length_has_no_partial_lengths(home: Path, three: list[Recipient], tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    for size in (10, 300, 9000, LARGE):
        plain.write_bytes(os.urandom(size))
        sealed = gpg(home, b"", "-z", "0", *to(three[0]), "--output", "-", "--encrypt", str(plain))
        assert inspect(in_pieces(sealed)) == Packets(1, 0, protected=True)


def test_passphrases_and_mixtures(home: Path, three: list[Recipient]) -> None:
    assert inspect([gpg(home, b"text", "--symmetric")]) == Packets(0, 1, protected=True)
    mixed = gpg(home, b"text", *to(*three[:2]), "--symmetric", "--encrypt")
    assert inspect([mixed]) == Packets(2, 1, protected=True)
    hidden = gpg(home, b"text", "--throw-keyids", *to(three[0]), "--encrypt")
    assert inspect([hidden]) == Packets(1, 0, protected=True)


@pytest.mark.parametrize("words", [["--rfc4880"], ["--compress-algo", "zip"], ["-z", "9"]])
def test_other_manners_of_gpg(words: list[str], home: Path, three: list[Recipient]) -> None:
    sealed = gpg(home, b"text " * 30_000, *words, *to(three[1]), "--encrypt")
    assert inspect(in_pieces(sealed)) == Packets(1, 0, protected=True)


def old_format(tag: int, body: bytes, length_type: int) -> bytes:
    """A packet with a length of the old format: 1, 2 or 4 bytes, or none (RFC 4880, section 4.2.1)."""
    length = b"" if length_type == 3 else len(body).to_bytes(1 << length_type, "big")
    return bytes([0x80 | tag << 2 | length_type]) + length + body


def new_format(tag: int, *parts: bytes) -> bytes:
    """A packet of the new format; all parts but the last are powers of two (section 4.2.2.4)."""
    made = bytes([0xC0 | tag])
    for part in parts[:-1]:
        made += bytes([0xE0 | (len(part).bit_length() - 1)]) + part
    last = len(parts[-1])
    length = bytes([last]) if last < 192 else b"\xff" + last.to_bytes(4, "big")
    return made + length + parts[-1]


@pytest.mark.parametrize("length_type", [0, 1, 2])
def test_lengths_of_the_old_format(length_type: int) -> None:
    keys = old_format(1, b"k" * 200, length_type)
    data = new_format(18, b"\x01" + b"d" * 511, b"d" * 512, b"d" * 300)
    assert inspect(in_pieces(keys * 2 + data)) == Packets(2, 0, protected=True)


def test_a_packet_to_the_end_of_the_file_takes_all() -> None:
    assert inspect(in_pieces(old_format(3, b"s" * 10, 0) + new_format(20, b"d"))) == Packets(0, 1, protected=True)
    with pytest.raises(Fault, match="ends within"):
        inspect([old_format(1, b"k" * 100, 3)])


def test_bytes_may_come_one_by_one(home: Path, three: list[Recipient]) -> None:
    sealed = gpg(home, os.urandom(20_000), "-z", "0", *to(*three[:2]), "--encrypt")
    assert inspect(bytes([it]) for it in sealed) == inspect([sealed]) == Packets(2, 0, protected=True)


@pytest.mark.parametrize("cut", [1, 2, 3, 50, 0.5, -1, -10])
def test_a_cut_file_is_noticed(cut: float, home: Path, three: list[Recipient]) -> None:
    sealed = gpg(home, os.urandom(100_000), "-z", "0", *to(*three[:2]), "--encrypt")
    end = len(sealed) // 2 if cut == 0.5 else int(cut)
    with pytest.raises(Fault) as caught:
        inspect(in_pieces(sealed[:end]))
    assert caught.value.kind.name == "HB-DATA-DAMAGED"


def test_what_is_no_encrypted_message(home: Path, three: list[Recipient], key_maker: KeyMaker) -> None:
    sealed = gpg(home, b"text", *to(three[0]), "--encrypt")
    owner = three[0].gnupghome
    for junk, said in {
        b"": "ends within",
        b"plain text": "does not start",
        bytes(1000): "does not start",
        b"\x28\xb5\x2f\xfd" + bytes(100): "does not start",
        gpg(home, b"text", "--store"): "kind",
        gpg(home, b"text", "-z", "0", "--store"): "kind 11",
        gpg(owner, b"text", "--sign"): "kind",
        gpg(owner, b"text", "--armor", *to(three[0]), "--encrypt"): "does not start",
        sealed + b"more": "follow",
        sealed + sealed: "follow",
        gpg(home, b"text", "--rfc2440", *to(three[1]), "--encrypt"): "kind 9",
        sealed[:-1]: "ends within",
        b"\xff\xff\xff": "kind 63",
    }.items():
        with pytest.raises(Fault, match=said) as caught:
            inspect(in_pieces(junk))
        assert caught.value.kind.name == "HB-DATA-DAMAGED"
