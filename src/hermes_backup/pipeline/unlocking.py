"""Private keys unlocked for a drill that nobody watches, by a passphrase that systemd hands to the service."""

from __future__ import annotations

from pathlib import Path

from hermes_backup.errors import KEY_PASSPHRASE, Fault
from hermes_backup.stages.credentials import credential
from hermes_backup.streams.coder import from_bytes, join
from hermes_backup.streams.gpg import Decrypt, EncryptTo
from hermes_backup.streams.keys import secret_keys

CREDENTIAL = "gpg-passphrase"
"""The credential's name (systemd.exec(5), LoadCredential=)."""
_TRIAL = b"unlocked\n"


def unlock(gnupghome: Path | None) -> None:
    """Let the gpg-agent learn the passphrase of each private key here; nothing without the credential.

    A few bytes are encrypted to each key and decrypted again. The agent forgets as it is configured to.

    Raises:
        Fault: KEY_PASSPHRASE when it fits none of them.
    """
    passphrase = credential(CREDENTIAL)
    if not passphrase.is_file():
        return
    home = gnupghome or Path("~/.gnupg").expanduser()
    opened = [_opens(fingerprint, home, passphrase) for fingerprint in secret_keys(gnupghome)]
    if not any(opened):
        said = f"the credential {CREDENTIAL} unlocks none of {len(opened)} private keys"
        raise Fault(KEY_PASSPHRASE, said, where=str(home))


def _opens(fingerprint: str, home: Path, passphrase: Path) -> bool:
    try:
        sealed = b"".join(join(from_bytes(_TRIAL), [EncryptTo((fingerprint,), home)]))
        return b"".join(join(from_bytes(sealed), [Decrypt(home, passphrase)])) == _TRIAL
    except Fault:
        return False
