"""Stage ``encrypt``: GPG to recipients, or with a passphrase."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from hermes_backup.errors import Fault
from hermes_backup.stages.context import Context
from hermes_backup.stages.credentials import credential
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.stream import Encryption, Stream
from hermes_backup.streams.gpg import EncryptTo, EncryptWith, open_passphrase
from hermes_backup.streams.keys import normal


class Encrypt(Stage):
    """Encrypt the archive, so that only the holders of a private key, or of the passphrase, can read it."""

    name: ClassVar[str] = "encrypt"
    takes: ClassVar[tuple[type, ...]] = (Stream,)
    gives: ClassVar[type] = Stream

    recipients: tuple[str, ...] = Field(default=())
    """Full fingerprints; each of them alone can decrypt."""
    passphrase_credential: str | None = None
    """Name of a systemd credential, or absolute path of a file, whose first line is the passphrase."""

    @field_validator("recipients")
    @classmethod
    def _full_fingerprints(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(dict.fromkeys(normal(it) for it in value))
        except Fault as fault:
            raise ValueError(fault.what) from None

    @model_validator(mode="after")
    def _one_of_both(self) -> Encrypt:
        if bool(self.recipients) == (self.passphrase_credential is not None):
            raise ValueError("give either recipients or passphrase_credential; without either nobody could decrypt")
        return self

    def preflight(self, context: Context) -> None:
        """Examine the keys, or the passphrase file."""
        if self.passphrase_credential is not None:
            open_passphrase(credential(self.passphrase_credential)).close()
        for warning in context.keyring.examine(self.recipients, context.now):
            context.listener.warn(self.name, warning)

    def plan(self, context: Context) -> tuple[str, ...]:
        """Say to whom."""
        del context
        return (f"encrypt to {', '.join(self.recipients)}" if self.recipients else "encrypt with a passphrase",)

    def run(self, value: Any, context: Context) -> Stream:
        """Add encryption to the stream; nothing runs yet."""
        stream: Stream = value
        homedir = context.keyring.homedir or context.folder
        if self.passphrase_credential is not None:
            coder = EncryptWith(credential(self.passphrase_credential), homedir)
            return stream.then(coder, Encryption("passphrase"))
        return stream.then(EncryptTo(self.recipients, homedir), Encryption("recipients", self.recipients))


def passphrase_of(stages: Iterable[Stage]) -> str | None:
    """Return the credential whose passphrase opens what these stages encrypt; None where keys do."""
    return next((it.passphrase_credential for it in stages if isinstance(it, Encrypt)), None)
