"""Public keys of recipients: examined before any work, in a private keyring of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import gnupg

from hermes_backup.errors import (
    DISK_FULL,
    KEY_EXPIRED,
    KEY_INVALID,
    KEY_MISSING,
    KEY_REVOKED,
    KEY_SIGN_ONLY,
    TOOL_MISSING,
    Fault,
)
from hermes_backup.streams.gpg import ANY_CLOCK, COMMON, NO_AGENT
from hermes_backup.streams.process import Argument, clean_environment, find, run
from hermes_backup.streams.scratch import scratch

WARN_BEFORE = timedelta(days=30)
_FINGERPRINT_DIGITS = (40, 64)


@dataclass(frozen=True)
class Key:
    """What gpg says of a public key; ``encrypts_until`` is the latest expiry of a usable encryption (sub)key.

    ``capable`` is whether any (sub)key was ever meant for encryption; ``usable`` whether one can be used now.
    """

    fingerprint: str
    user: str
    validity: str
    capable: bool
    usable: bool
    encrypts_until: datetime | None


@dataclass(frozen=True)
class Keyring:
    """A GNUPGHOME with the keys that a run may use."""

    homedir: Path | None

    def examine(self, fingerprints: Sequence[str], now: datetime) -> tuple[str, ...]:
        """Make sure that every recipient can be encrypted to; return warnings of keys that expire soon.

        Raises:
            Fault: the first key that cannot do its job, by name.
        """
        known = {key.fingerprint: key for key in self.keys()}
        warnings: list[str] = []
        for wanted in fingerprints:
            fingerprint = normal(wanted)
            key = known.get(fingerprint)
            if key is None:
                raise Fault(KEY_MISSING, f"no public key for recipient {fingerprint}")
            warnings += judge(key, now)
        return tuple(warnings)

    def keys(self) -> tuple[Key, ...]:
        """Every public key of the ring."""
        return tuple(_key(raw) for raw in _gnupg(self.homedir).list_keys())


def judge(key: Key, now: datetime) -> tuple[str, ...]:
    """Decide whether a key can be encrypted to at ``now``; return warnings.

    Raises:
        Fault: KEY_REVOKED, KEY_EXPIRED, KEY_SIGN_ONLY.
    """
    who = f"{key.fingerprint} ({key.user})"
    if key.validity in ("r", "d"):
        raise Fault(KEY_REVOKED, f"recipient {who} is revoked")
    if not key.capable:
        raise Fault(KEY_SIGN_ONLY, f"recipient {who} can sign but cannot encrypt")
    until = key.encrypts_until
    if key.validity == "e" or not key.usable or (until is not None and until <= now):
        when = f" on {until:%Y-%m-%d}" if until else ""
        raise Fault(KEY_EXPIRED, f"recipient {who} expired{when}, or this clock ({now:%Y-%m-%d}) is wrong")
    if until is not None and until - now < WARN_BEFORE:
        return (f"recipient {who} expires on {until:%Y-%m-%d}, in {(until - now).days} days",)
    return ()


def normal(fingerprint: str) -> str:
    """Return a full fingerprint in capitals without blanks.

    Raises:
        Fault: KEY_INVALID for anything shorter: short ids can be forged.
    """
    bare = fingerprint.replace(" ", "").upper().removeprefix("0X")
    if len(bare) not in _FINGERPRINT_DIGITS or any(it not in "0123456789ABCDEF" for it in bare):
        raise Fault(KEY_INVALID, f"{fingerprint!r} is no full fingerprint", where="recipients")
    return bare


@contextmanager
def private_keyring(public_keys: Sequence[str]) -> Iterator[Keyring]:
    """Make a keyring in a private folder that holds just these armored keys, and remove it afterwards.

    Raises:
        Fault: KEY_INVALID when one of them is no public key.
    """
    with scratch() as homedir:
        for armored in public_keys:
            import_key(homedir, armored)
        yield Keyring(homedir)


def end_agent(homedir: Path, *, stage: str) -> None:
    """End the gpg-agent of a GNUPGHOME, if there is one; ``stage`` is whose work it did, for errors.

    No other daemon needs to be ended: nothing here starts a dirmngr, and a scdaemon goes with its agent.

    Raises:
        Fault: TOOL_MISSING.
    """
    run(["gpgconf", "--homedir", homedir, "--kill", "gpg-agent"], stage=stage)


def secret_keys(homedir: Path | None) -> dict[str, tuple[str, ...]]:
    """Return the keys whose private halves are at hand: by fingerprint, the 16 digit ids of what can decrypt.

    A private subkey that is elsewhere (doc/DETAILS of GnuPG: ``#``) is left out; one on a card is at hand.

    Raises:
        Fault: TOOL_MISSING.
    """
    home: tuple[Argument, ...] = () if homedir is None else ("--homedir", homedir)
    done = run(["gpg", *COMMON, *home, "--with-colons", "--list-secret-keys"], stage="keys")
    found: dict[str, tuple[str, ...]] = {}
    ids: list[str] = []
    last = ""
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        fields = line.split(":")
        if fields[0] == "sec":
            ids, last = [], ""
        if fields[0] in ("sec", "ssb") and "e" in fields[11] and fields[14] != "#":
            ids.append(fields[4])
        if fields[0] == "fpr" and not last:
            last = fields[9]
        if last and ids:
            found[last] = tuple(ids)
    return found


def import_key(homedir: Path, armored: str) -> None:
    """Put one armored public key into a keyring.

    Raises:
        Fault: KEY_INVALID when gpg finds no key in it, DISK_FULL.
    """
    argv = ["gpg", *COMMON, *NO_AGENT, "--homedir", homedir, "--no-auto-check-trustdb", "--import"]
    done = run(argv, stage="keys", input=armored.encode())
    if "No space left on device" in done.stderr:
        raise Fault(DISK_FULL, "no room for a keyring", where=str(homedir))
    if done.returncode != 0 or "secret keys read" in done.stderr:
        said = done.stderr.strip().partition("\n")[0]
        raise Fault(KEY_INVALID, f"not a public key: {said}", where="keys")


def _gnupg(homedir: Path | None) -> Any:
    try:
        return gnupg.GPG(
            gpgbinary=find("gpg"),
            gnupghome=None if homedir is None else str(homedir),
            options=["--no-options", *ANY_CLOCK, *NO_AGENT],
            env=clean_environment(),
        )
    except (OSError, ValueError) as error:
        raise Fault(TOOL_MISSING, f"gpg does not run: {error}", where="keys") from None


def _key(raw: dict[str, Any]) -> Key:
    subkeys = list(raw.get("subkey_info", {}).values())
    parts = [(str(it["cap"]), str(it["trust"]), str(it["expires"])) for it in (raw, *subkeys)]
    encrypting = [it for it in parts if "e" in it[0]]
    usable = [it for it in encrypting if it[1] not in ("r", "e", "d", "i")]
    revoked = bool(encrypting) and all(it[1] == "r" for it in encrypting)
    return Key(
        fingerprint=str(raw["fingerprint"]),
        user=str(raw["uids"][0]) if raw["uids"] else "no user id",
        validity="r" if revoked or "D" in parts[0][0] else str(raw["trust"]),
        capable=bool(encrypting),
        usable=bool(usable),
        encrypts_until=_latest(parts[0][2], [it[2] for it in usable or encrypting]),
    )


def _latest(primary: str, subkeys: Sequence[str]) -> datetime | None:
    """A subkey without an end still ends with its primary key."""
    last = None if not all(subkeys) else max(subkeys, key=int, default=None)
    ends = [moment for moment in (_time(primary), _time(last or "")) if moment is not None]
    return min(ends, default=None)


def _time(seconds: str) -> datetime | None:
    return datetime.fromtimestamp(int(seconds), timezone.utc) if seconds else None
