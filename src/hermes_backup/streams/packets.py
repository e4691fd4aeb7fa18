"""The outer OpenPGP packets of an encrypted file, which need no key to be read (RFC 4880, section 4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hermes_backup.errors import DATA_DAMAGED, Fault

_PUBKEY, _PASSPHRASE, _PROTECTED, _AEAD = 1, 3, 18, 20
_NEW_FORMAT = 0x40
_TO_THE_END = 3  # section 4.2.1: the length is that of the file


@dataclass(frozen=True)
class Packets:
    """How many keys and passphrases can open a file, and whether its data is protected against changes."""

    recipients: int
    passphrases: int
    protected: bool


@dataclass(frozen=True)
class Opener:
    """A packet by which one key opens a file: the 16 digits of that (sub)key's id, zeros where it is hidden."""

    key_id: str
    packet: bytes


class _Reader:
    """Takes bytes from a stream of chunks, and can skip the rest."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._have = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            step = self._step(count - len(taken))
            taken += self._have[self._at - step : self._at]
        return taken

    @property
    def position(self) -> int:
        """How far it is in its chunk."""
        return self._at

    def skip(self, count: int) -> None:
        while count:
            count -= self._step(count)

    def _step(self, most: int) -> int:
        """Go on by at least one byte, within one chunk."""
        if self.ended():
            raise Fault(DATA_DAMAGED, "the encrypted file ends within a packet")
        step = min(most, len(self._have) - self._at)
        self._at += step
        return step

    def skip_all(self) -> None:
        while not self.ended():
            self._at = len(self._have)

    def ended(self) -> bool:
        while self._at >= len(self._have):
            more = next(self._chunks, None)
            if more is None:
                return True
            self._have, self._at = more, 0
        return False


def inspect(chunks: Iterable[bytes]) -> Packets:
    """Read all of an encrypted file and tell its outer packets; the data packet must be the last and whole.

    Raises:
        Fault: DATA_DAMAGED when the packets are cut, unknown, or followed by more.
    """
    reader = _Reader(chunks)
    recipients = passphrases = 0
    while True:
        tag, length_type = _tag(reader)
        if tag in (_PROTECTED, _AEAD):
            _skip_body(reader, length_type)
            if not reader.ended():
                raise Fault(DATA_DAMAGED, "bytes follow the encrypted data")
            return Packets(recipients, passphrases, protected=True)
        if tag not in (_PUBKEY, _PASSPHRASE):
            raise Fault(DATA_DAMAGED, f"a packet of kind {tag} stands where the encrypted data should begin")
        recipients += tag == _PUBKEY
        passphrases += tag == _PASSPHRASE
        _skip_body(reader, length_type)


def openers(data: bytes) -> tuple[tuple[Opener, ...], bytes]:
    """Split a whole encrypted file into the packets of its recipients and the encrypted data after them.

    One of the packets followed by the data is a file that this key alone opens; passphrases are left out.

    Raises:
        Fault: DATA_DAMAGED.
    """
    reader = _Reader([data])
    found: list[Opener] = []
    while True:
        start = reader.position
        tag, length_type = _tag(reader)
        if tag in (_PROTECTED, _AEAD):
            return tuple(found), data[start:]
        if tag not in (_PUBKEY, _PASSPHRASE):
            raise Fault(DATA_DAMAGED, f"a packet of kind {tag} stands where the encrypted data should begin")
        body = reader.take(_length(reader, length_type))
        if tag == _PUBKEY:
            found.append(Opener(body[1:9].hex().upper(), data[start : reader.position]))


def _length(reader: _Reader, length_type: int | None) -> int:
    """Return the length of a packet that comes in one part, as those before the data do."""
    length, partial = _new_length(reader) if length_type is None else (0, length_type == _TO_THE_END)
    if partial:
        raise Fault(DATA_DAMAGED, "a packet before the encrypted data has no length")
    return length if length_type is None else int.from_bytes(reader.take(1 << length_type), "big")


def _tag(reader: _Reader) -> tuple[int, int | None]:
    """Return a packet's kind, and for one of the old format the type of its length."""
    first = reader.take(1)[0]
    if not first & 0x80:
        raise Fault(DATA_DAMAGED, "the file does not start as an OpenPGP message")
    if first & _NEW_FORMAT:
        return first & 0x3F, None
    return first >> 2 & 0x0F, first & 3


def _skip_body(reader: _Reader, length_type: int | None) -> None:
    """Skip a packet's body; old-format lengths are of 1, 2 or 4 bytes, new ones may come in parts."""
    if length_type == _TO_THE_END:
        reader.skip_all()
        return
    if length_type is not None:
        reader.skip(int.from_bytes(reader.take(1 << length_type), "big"))
        return
    partial = True
    while partial:
        length, partial = _new_length(reader)
        reader.skip(length)


def _new_length(reader: _Reader) -> tuple[int, bool]:
    first = reader.take(1)[0]
    if first < 192:  # noqa: PLR2004 - the bounds of section 4.2.2
        return first, False
    if first < 224:  # noqa: PLR2004
        return (first - 192 << 8) + reader.take(1)[0] + 192, False
    if first == 255:  # noqa: PLR2004
        return int.from_bytes(reader.take(4), "big"), False
    return 1 << (first & 0x1F), True
