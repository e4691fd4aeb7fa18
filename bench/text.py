"""Text for the benchmark's home: what lies on this machine, each file once and no long line twice."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

_ROOTS = (
    "/usr/share/doc", "/usr/share/man", "/usr/lib/python3", "/usr/lib/python3.11", "/usr/lib/python3.12",
    "/usr/lib/python3.13", "/usr/include", "/usr/share/perl", "/usr/share/locale", "/usr/share", sys.prefix,
    sys.base_prefix, "/usr/lib", "/usr/local", "/etc", "/opt",
)  # fmt: skip
_PRIVATE = ("shadow", "ssl", "ssh", "gnupg")
_NO_TEXT = (".pyc", ".so", ".a", ".o", ".whl", ".zip", ".jar", ".png", ".jpg", ".mo")
_SMALLEST, _LARGEST = 200, 8 << 20  # bytes
_LONG_LINE = 40  # characters; a shorter one, such as "}" or "import os", may come again


class Text:
    """A stream of lines: first the machine's own text, in an order that is always the same, then permutations of it.

    ``permuted`` says how many characters were had by permuting the words of earlier lines, because the machine
    has no more text of its own.
    """

    def __init__(self) -> None:
        self.own = 0
        self.permuted = 0
        self._files: list[Path] = []

    def lines(self) -> Iterator[str]:
        """Yield lines for ever."""
        seen: set[bytes] = set()
        contents: set[bytes] = set()
        for file in _candidates():
            lines = _read(file, contents)
            if lines:
                self._files.append(file)
            for line in lines:
                if len(line) >= _LONG_LINE:
                    mark = hashlib.blake2b(line.encode("utf-8", "replace"), digest_size=8).digest()
                    if mark in seen:
                        continue
                    seen.add(mark)
                self.own += len(line)
                yield line
        seen.clear()
        yield from self._permuted()

    def _permuted(self) -> Iterator[str]:
        round_ = 0
        while self._files:
            round_ += 1
            for number, file in enumerate(self._files):
                chance = random.Random(f"{round_} {number}")
                words = " ".join(_read(file, set())).split()
                chance.shuffle(words)
                for start in range(0, len(words), 12):
                    line = " ".join(words[start : start + 12]) + "\n"
                    self.permuted += len(line)
                    yield line
        raise SystemExit("bench: there is no text on this machine to make a home of")


def _candidates() -> Iterator[Path]:
    """Yield the machine's text files root by root; within a root shuffled, as subjects come up in talk."""
    known: set[tuple[int, int]] = set()
    for root in _ROOTS:
        found: list[Path] = []
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(it for it in folders if it not in _PRIVATE)
            for name in sorted(names):
                path = Path(folder, name)
                if not name.endswith(_NO_TEXT) and not name.startswith(_PRIVATE) and _is_new(path, known):
                    found.append(path)
        random.Random(root).shuffle(found)
        yield from found


def _is_new(path: Path, known: set[tuple[int, int]]) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode) or not _SMALLEST <= status.st_size <= _LARGEST:
        return False
    key = (status.st_dev, status.st_ino)
    if key in known:
        return False
    known.add(key)
    return True


def _read(file: Path, contents: set[bytes]) -> list[str]:
    """Return a file's lines; none if it is no text, or a copy of one that was read."""
    try:
        data = file.read_bytes()
        if file.suffix == ".gz":
            data = gzip.decompress(data)
        if b"\0" in data[:4096]:
            return []
        text = data.decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return []
    digest = hashlib.blake2b(data, digest_size=16).digest()
    if digest in contents:
        return []
    contents.add(digest)
    return text.splitlines(keepends=True)
