"""The thing between archive and store: bytes in flight with what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from hermes_backup.home.databases.lean import Copied
from hermes_backup.home.selection import Partial
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.stages.delta import Delta
from hermes_backup.streams.coder import Chunks, Coder, join
from hermes_backup.streams.compression import Compress
from hermes_backup.streams.members import Member


@dataclass(frozen=True)
class Encryption:
    """How a stream is encrypted, as its manifest will say."""

    kind: Literal["recipients", "passphrase", "none"] = "none"
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What went into an archive; known when its last byte was read.

    ``size`` counts the archive's bytes before compression; ``content`` is a digest over its members. ``databases`` are
    the copies that were checked.
    """

    members: tuple[Member, ...]
    size: int
    content: str
    databases: tuple[Copied, ...]
    partial: tuple[Partial, ...]


@dataclass(frozen=True)
class Archive:
    """An archive of so many ``entries`` that can be made: ``chunks`` starts it, ``contents`` tells what went in.

    ``contents`` raises Outdated where something of it is not what it should be.
    """

    format: Literal["tar", "squashfs"]
    suffix: str
    excluded: tuple[str, ...]
    chunks: Callable[[], Chunks]
    contents: Callable[[], Contents]
    entries: int


class Outdated(Exception):  # noqa: N818 - it tells a state
    """What went into an archive is no good; ``archive`` is to be made in its place."""

    def __init__(self, archive: Archive) -> None:
        super().__init__()
        self.archive = archive


class Packing(Coder, Protocol):
    """The coder that makes an archive small; ``algorithm`` is what its manifest will say."""

    @property
    def algorithm(self) -> str:
        """How it compresses."""

    def plain_size(self, archive: int) -> int:
        """Return how many bytes come out when this is undone, for an archive of so many; known at its end."""


@dataclass(frozen=True)
class Stream:
    """An archive and the coders it will go through; lazily joined: nothing runs until somebody pulls.

    ``delta`` says when it may be made against a ``base``; ``full_because`` why it was not.
    """

    archive: Archive
    packing: Packing
    encryption: Encryption = field(default_factory=Encryption)
    coders: tuple[Coder, ...] = ()
    delta: Delta | None = None
    base: SnapshotName | None = None
    full_because: str = ""

    @property
    def suffix(self) -> str:
        """The suffix of the file that the stream becomes, such as ``.tar.zst.gpg``."""
        return self.archive.suffix + self.packing.suffix + "".join(it.suffix for it in self.coders)

    @property
    def index_suffix(self) -> str:
        """The suffix of the index that goes with it."""
        return ".index.zst" + "".join(it.suffix for it in self.coders)

    def then(self, coder: Coder, encryption: Encryption) -> Stream:
        """Return the stream with one more coder, which encrypts."""
        return replace(self, coders=(*self.coders, coder), encryption=encryption)

    def open(self) -> Chunks:
        """Start the archive and send it through all coders."""
        return join(self.archive.chunks(), (self.packing, *self.coders))

    def code_index(self, plain: Chunks) -> Chunks:
        """Send the index through the same encryption; it is always zstd."""
        return join(plain, (Compress("zstd", level=9, workers=1, long=False), *self.coders))
