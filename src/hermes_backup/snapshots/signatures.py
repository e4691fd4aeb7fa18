"""What gpg's status lines say about one signed file (GnuPG's doc/DETAILS), as pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----"
_END = b"-----END PGP SIGNATURE-----"
_PREFIX = "[GNUPG:] "
_PRIMARY_FINGERPRINT = 10  # the place of the primary key's fingerprint on a VALIDSIG line
_REFUSED = {
    "BADSIG": "the text was changed after it was signed",
    "ERRSIG": "it is signed by another key",
    "NO_PUBKEY": "it is signed by another key",
    "EXPSIG": "the signature has expired",
    "EXPKEYSIG": "the key has expired",
    "REVKEYSIG": "the key was revoked",
    "NODATA": "there is no signature",
    "UNEXPECTED": "gpg found something unexpected",
    "ERROR": "gpg cannot read it",
    "FAILURE": "gpg cannot read it",
}


def is_one_signed_text(content: bytes) -> bool:
    """Tell whether a file is one clear-signed text from first byte to last: gpg skips what lies around it."""
    return (
        content.startswith(_BEGIN + b"\n")
        and content.endswith(_END + b"\n")
        and content.count(_BEGIN) == 1
        and content.count(_END) == 1
    )


def blocks(status: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Return for each file its name and its status lines: those after its ``FILE_START``, up to its ``FILE_DONE``.

    What follows is of gpg's own end: gpg 2.4 says FAILURE there when any file of many was bad.
    """
    name = ""
    lines: list[str] = []
    for line in status.splitlines():
        words = line.removeprefix(_PREFIX).split(" ")
        if not line.startswith(_PREFIX):
            continue
        if words[0] == "FILE_START":
            if name:
                yield name, tuple(lines)
            name, lines = words[-1], []
        elif name:
            lines.append(" ".join(words))
            if words[0] == "FILE_DONE":
                yield name, tuple(lines)
                name = ""
    if name:
        yield name, tuple(lines)


def problem(lines: Sequence[str], pinned: str) -> str:
    """Return what is wrong with a file's signature; nothing when the pinned key, and no other, signed one text."""
    words = [line.split(" ") for line in lines]
    for first, *_ in words:
        if first in _REFUSED:
            return _REFUSED[first]
    kinds = [first for first, *_ in words]
    if any(kinds.count(kind) != 1 for kind in ("PLAINTEXT", "NEWSIG", "GOODSIG", "VALIDSIG", "FILE_DONE")):
        return "it is not one text with one good signature"
    valid = next(line for line in words if line[0] == "VALIDSIG")
    if len(valid) <= _PRIMARY_FINGERPRINT or valid[_PRIMARY_FINGERPRINT] != pinned:
        return "it is signed by another key"
    return ""
