"""RESTORE.txt: how to bring a snapshot back with gpg, zstd and tar alone, for who has nothing of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hermes_backup.snapshots.names import check_host, check_pipeline, data_suffix

_TEMPLATE = Path(__file__).with_name("RESTORE.txt.j2")
_FINGERPRINT = re.compile(r"(?:[0-9A-F]{40}|[0-9A-F]{64})", re.ASCII)
_UNPACKERS = {"zstd": "zstd -dc", "lz4": "lz4 -dc", "gzip": "gzip -dc", "none": ""}


@dataclass(frozen=True)
class RestoreFacts:
    """What the text must know of a pipeline; all of it goes into commands, so all of it is checked.

    Raises:
        ValueError: a fingerprint is none.
        KeyError: a compression that this program does not write.
        Fault: CONFIG_INVALID for names that cannot be folders.
    """

    host: str
    pipeline: str
    format: Literal["tar", "squashfs"]
    compression: str
    encryption: Literal["recipients", "passphrase", "none"]
    host_fingerprint: str
    recipients: tuple[str, ...] = ()
    lean: bool = False
    """Search indexes are left out of its databases."""

    def __post_init__(self) -> None:
        check_host(self.host)
        check_pipeline(self.pipeline)
        for fingerprint in (self.host_fingerprint, *self.recipients):
            if _FINGERPRINT.fullmatch(fingerprint) is None:
                raise ValueError(f"not a full fingerprint: {fingerprint[:80]!r}")
        _ = self.suffix

    @property
    def suffix(self) -> str:
        """The suffix of the pipeline's data."""
        return data_suffix(self.format, self.compression, encrypted=self.encryption != "none")

    @property
    def deltas(self) -> bool:
        """Whether some of the pipeline's snapshots may be deltas; its settings may have been others before."""
        return (self.format, self.compression) == ("tar", "zstd")

    @property
    def delta_suffix(self) -> str:
        """The suffix of a delta's data."""
        return data_suffix(self.format, self.compression, encrypted=self.encryption != "none", delta=True)

    def unpacked(self, name: str, suffix: str) -> str:
        """Return the pipe that turns a snapshot's data into a stream of tar, or into a squashfs image."""
        first = f'"$FROM/{name}{suffix}"'
        unpack = _UNPACKERS[self.compression] if self.format == "tar" else ""
        if self.encryption == "none":
            return f"{unpack or 'cat'} {first}"
        return f"gpg --decrypt {first}" + (f" | {unpack}" if unpack else "")

    @property
    def index_steps(self) -> str:
        """The pipe that turns the list of files into text."""
        first = '"$FROM/$SNAPSHOT.index.zst'
        return f'zstd -dc {first}"' if self.encryption == "none" else f'gpg --decrypt {first}.gpg" | zstd -dc'

    @property
    def programs(self) -> str:
        """The programs that the commands run, but for those of every Linux."""
        unpack = _UNPACKERS[self.compression].partition(" ")[0] if self.format == "tar" else "unsquashfs"
        extract = "tar" if self.format == "tar" else ""
        return ", ".join(name for name in ("gpg", unpack, extract, "sqlite3") if name)


def restore_text(facts: RestoreFacts) -> str:
    """Return the text that lies beside the snapshots of a pipeline."""
    from jinja2 import Environment, StrictUndefined  # commands that only look need neither it nor its 40 ms

    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - plain text, and every value is checked above
    )
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(facts=facts)
