"""Bulk encryption and decryption by gpg in a pipe.

``-z 0`` because the data is compressed already: 215 MB/s against 39 MB/s with gpg's default (measured, 1 GiB).
gpg's exit status alone is no proof; the status lines (doc/DETAILS of GnuPG) must say that it came to its end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hermes_backup.errors import (
    DATA_DAMAGED,
    DISK_FULL,
    KEY_PASSPHRASE,
    KEY_SECRET_MISSING,
    STAGE_FAILED,
    Fault,
)
from hermes_backup.streams.coder import Chunks, Feeder, read_chunks
from hermes_backup.streams.process import PIPE, Argument, Process, spawn

# the most that OpenPGP knows, which gpg-agent finds on any machine of today: asked, it measures a second to find it
_S2K_COUNT = "65011712"
_UNLOCK = "Unlock it first: echo test | gpg -r FINGERPRINT -e | gpg -d, in a terminal; gpg-agent then remembers it."
# a clock that stands before a key was made must not stop a backup: then the key's signatures lie in the future
ANY_CLOCK = ("--ignore-time-conflict", "--ignore-valid-from")
# only private keys need one, and one that is started outlives a killed run
NO_AGENT = ("--no-autostart",)
COMMON: tuple[Argument, ...] = ("--batch", "--no-tty", "--no-options", "--no-auto-key-locate", *ANY_CLOCK)


class _Run:
    """A gpg in a pipe, with its status lines read as they come."""

    def __init__(
        self,
        arguments: Sequence[Argument],
        stage: str,
        *,
        homedir: Path | None,
        pass_fds: Sequence[int],
        stdin: int | IO[bytes] = PIPE,
    ) -> None:
        ours, theirs = os.pipe()
        try:
            home: tuple[Argument, ...] = () if homedir is None else ("--homedir", homedir)
            argv: list[Argument] = ["gpg", *COMMON, *home, "--status-fd", str(theirs), *arguments]
            self.process: Process = spawn(argv, stage=stage, stdin=stdin, stdout=PIPE, pass_fds=(theirs, *pass_fds))
        finally:
            os.close(theirs)
        self._lines: list[str] = []
        self._status = os.fdopen(ours, encoding="utf-8", errors="replace")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self._status as status:
            self._lines.extend(line.removeprefix("[GNUPG:] ").strip() for line in status)

    def finish(self) -> tuple[int, tuple[str, ...]]:
        """Wait for the end; return the exit status and the status lines."""
        code = self.process.wait()
        self._reader.join()
        return code, tuple(self._lines)

    def output(self) -> Chunks:
        """Yield what the process writes; kill it when this is closed early."""
        done = False
        try:
            yield from read_chunks(self.process.stdout)
            done = True
        finally:
            if not done:
                self.process.kill()

    def pump(self, chunks: Chunks) -> Chunks:
        """Feed the process from ``chunks`` and yield what it writes; kill it when this is closed early."""
        feeder = Feeder(chunks, self.process)
        feeder.start()
        done = False
        try:
            yield from self.output()
            feeder.join()
            if feeder.error is not None:
                raise feeder.error
            done = True
        finally:
            if not done:
                self.process.kill()
                feeder.join(timeout=5)


@dataclass(frozen=True)
class EncryptTo:
    """Encrypt to the keys of full fingerprints, whose public keys lie in ``homedir``."""

    recipients: tuple[str, ...]
    homedir: Path

    @property
    def suffix(self) -> str:
        """``.gpg``."""
        return ".gpg"

    def code(self, chunks: Chunks) -> Chunks:
        """Encrypt.

        Raises:
            Fault: STAGE_FAILED, DISK_FULL.
        """
        to = [word for fingerprint in self.recipients for word in ("-r", fingerprint)]
        run = _Run(
            [*NO_AGENT, "--trust-model", "always", "-z", "0", *to, "--encrypt"],
            "encrypt",
            homedir=self.homedir,
            pass_fds=(),
        )
        return _encrypted(run, chunks)


@dataclass(frozen=True)
class EncryptWith:
    """Encrypt with the passphrase in a file (symmetric, AES256)."""

    passphrase: Path
    homedir: Path

    @property
    def suffix(self) -> str:
        """``.gpg``."""
        return ".gpg"

    def code(self, chunks: Chunks) -> Chunks:
        """Encrypt; the passphrase reaches gpg by a file descriptor, never by its arguments.

        Raises:
            Fault: KEY_PASSPHRASE, STAGE_FAILED, DISK_FULL.
        """
        with open_passphrase(self.passphrase) as secret:
            words = [*NO_AGENT, "--pinentry-mode", "loopback", "--passphrase-fd", str(secret.fileno())]
            words += ["-z", "0", "--cipher-algo", "AES256", "--s2k-digest-algo", "SHA512", "--s2k-count", _S2K_COUNT]
            run = _Run([*words, "--symmetric"], "encrypt", homedir=self.homedir, pass_fds=(secret.fileno(),))
        return _encrypted(run, chunks)


def _encrypted(run: _Run, chunks: Chunks) -> Chunks:
    yield from run.pump(chunks)
    code, status = run.finish()
    if code != 0 or "END_ENCRYPTION" not in status:
        said = run.process.errors()
        raise Fault(
            DISK_FULL if "No space left" in said else STAGE_FAILED,
            f"gpg ended with {code}: {said}",
            where="encrypt",
        )


@dataclass(frozen=True)
class Decrypt:
    """Decrypt with the private keys in ``homedir`` (None: GnuPG's own), or with the passphrase in a file.

    gpg gives plaintext before it notices damage, so what comes out is for quarantine only until the end.

    Attributes:
        passphrase: of the data, or of the private keys.
        keys: whether private keys are wanted, and so an agent.
    """

    homedir: Path | None
    passphrase: Path | None = None
    keys: bool = True

    @property
    def suffix(self) -> str:
        """Nothing: the name loses its suffix."""
        return ""

    def code(self, chunks: Chunks) -> Chunks:
        """Decrypt.

        Raises:
            Fault: KEY_SECRET_MISSING, KEY_PASSPHRASE, DATA_DAMAGED.
        """
        run = self._begun(PIPE)
        return self._decrypted(run, run.pump(chunks))

    def file(self, path: Path) -> Chunks:
        """Decrypt a file, which gpg reads itself; it is begun at once.

        Raises:
            OSError: it cannot be opened; and as :meth:`code`.
        """
        with path.open("rb") as file:
            run = self._begun(file)
        return self._decrypted(run, run.output())

    def _begun(self, stdin: int | IO[bytes]) -> _Run:
        if self.passphrase is None:
            return _Run(["--decrypt"], "decrypt", homedir=self.homedir, pass_fds=(), stdin=stdin)
        with open_passphrase(self.passphrase) as secret:
            words = [*(() if self.keys else NO_AGENT), "--pinentry-mode", "loopback"]
            words += ["--passphrase-fd", str(secret.fileno()), "--decrypt"]
            return _Run(words, "decrypt", homedir=self.homedir, pass_fds=(secret.fileno(),), stdin=stdin)

    def _decrypted(self, run: _Run, output: Chunks) -> Chunks:
        yield from output
        code, status = run.finish()
        keywords = {line.split(" ", 1)[0] for line in status}
        if code == 0 and {"DECRYPTION_OKAY", "END_DECRYPTION"} <= keywords and "PLAINTEXT" in keywords:
            return
        said = run.process.errors()
        opened = {"DECRYPTION_KEY", "DECRYPTION_OKAY"} & keywords
        if not opened and ("PINENTRY_LAUNCHED" in keywords or "No pinentry" in said) and self.passphrase is None:
            raise Fault(KEY_PASSPHRASE, f"the private key is locked: {said}", where="decrypt", mend=_UNLOCK)
        if not opened and "NO_SECKEY" in keywords:
            raise Fault(KEY_SECRET_MISSING, said, where="decrypt")
        if self.passphrase is not None and "Bad session key" in said:
            raise Fault(KEY_PASSPHRASE, f"the passphrase in {self.passphrase} does not fit", where="decrypt")
        raise Fault(DATA_DAMAGED, f"gpg ended with {code}: {said}", where="decrypt")


def open_passphrase(path: Path) -> IO[bytes]:
    """Open a file that holds a passphrase in its first line.

    Raises:
        Fault: KEY_PASSPHRASE when it is missing, unreadable or empty.
    """
    try:
        secret = path.open("rb")
    except OSError as error:
        raise Fault(KEY_PASSPHRASE, f"cannot read the passphrase: {error.strerror}", where=str(path)) from None
    if not secret.readline().strip():
        secret.close()
        raise Fault(KEY_PASSPHRASE, "the passphrase is empty", where=str(path))
    os.lseek(secret.fileno(), 0, os.SEEK_SET)
    return secret
