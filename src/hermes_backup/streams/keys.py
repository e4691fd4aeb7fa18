"""Public keys of recipients: examined before any work, in a private keyring of their own.

Each start of gpg costs a small home's run more than its data does, so a day's examination is kept, with its keyring.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from hermes_backup.errors import (
    DISK_FULL,
    KEY_EXPIRED,
    KEY_INVALID,
    KEY_MISSING,
    KEY_REVOKED,
    KEY_SIGN_ONLY,
    Fault,
)
from hermes_backup.streams.gpg import COMMON, NO_AGENT
from hermes_backup.streams.process import Argument, run
from hermes_backup.streams.scratch import scratch

WARN_BEFORE = timedelta(days=30)
_FINGERPRINT_DIGITS = (40, 64)
_KEPT = "recipients-"
_LONGEST_USE = 2 * 24 * 3600.0  # seconds: a run that began before midnight still encrypts by yesterday's
_EXAMINED = "examined.json"
_KEYRINGS = ("pubring.kbx", "pubring.gpg")
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")
_SOCKET = "S.gpg-agent"
_AGENT_PATIENCE = 5.0  # seconds
_AGENT_PAUSE = 0.005


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
    """A GNUPGHOME with the keys that a run may use; ``known`` are those that were examined today already."""

    homedir: Path | None
    known: tuple[Key, ...] | None = None

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
        if self.known is not None:
            return self.known
        home: tuple[Argument, ...] = () if self.homedir is None else ("--homedir", self.homedir)
        done = run(["gpg", *COMMON, *NO_AGENT, *home, "--with-colons", "--list-keys"], stage="keys")
        return tuple(_key(records) for records in _records(done.stdout, "pub"))


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


@contextmanager
def daily_keyring(folder: Path, public_keys: Sequence[str], now: datetime) -> Iterator[Keyring]:
    """Give the keyring of these keys that lies in a private folder since today, or make it; others go.

    Whatever is wrong with what lies there, a keyring is made for this run alone.

    Raises:
        Fault: KEY_INVALID when one of them is no public key.
    """
    digest = hashlib.sha256(json.dumps([*public_keys, f"{now:%Y-%m-%d}"]).encode()).hexdigest()
    kept = folder / f"{_KEPT}{digest[:32]}"
    if (known := _examined(kept)) is not None:
        yield Keyring(kept, known)
        return
    with private_keyring(public_keys) as ring:
        if public_keys and ring.homedir is not None:
            known = ring.keys()
            _keep(ring.homedir, known, kept)
        yield Keyring(ring.homedir, known)


def _examined(kept: Path) -> tuple[Key, ...] | None:
    try:
        told = json.loads((kept / _EXAMINED).read_text(encoding="utf-8"))
        if told.pop() != _digest(kept):
            return None
        return tuple(Key(**{**it, "encrypts_until": _moment(it["encrypts_until"])}) for it in told) or None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _digest(homedir: Path) -> str:
    """Hash the keyring of a GNUPGHOME: what a power cut left of it is none."""
    there = [it for it in (homedir / name for name in _KEYRINGS) if it.exists()]
    return hashlib.sha256(b"".join(it.read_bytes() for it in there)).hexdigest()


def _moment(said: str | None) -> datetime | None:
    return None if said is None else datetime.fromisoformat(said)


def _keep(homedir: Path, keys: Sequence[Key], kept: Path) -> None:
    """Keep a copy of a keyring under a name that tells its keys and day; what no run uses any more goes."""
    rows = [{**asdict(it), "encrypts_until": it.encrypts_until and it.encrypts_until.isoformat()} for it in keys]
    made = kept.with_name(f"{_KEPT}new-{secrets.token_hex(4)}")
    with suppress(OSError):
        if kept.exists() and _examined(kept) is None:
            shutil.rmtree(kept, ignore_errors=True)
        for old in kept.parent.glob(f"{_KEPT}*"):
            if time.time() - old.stat().st_mtime > _LONGEST_USE:
                shutil.rmtree(old, ignore_errors=True)
        try:
            made.mkdir(mode=0o700)
            for name in _KEYRINGS:
                with suppress(FileNotFoundError):
                    shutil.copyfile(homedir / name, made / name)
            (made / _EXAMINED).write_text(json.dumps([*rows, _digest(made)]), encoding="utf-8")
            made.rename(kept)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def end_agent(homedir: Path, *, stage: str) -> None:
    """End the gpg-agent of a GNUPGHOME, if there is one; ``stage`` is whose work it did, for errors.

    No other daemon needs to be ended: nothing here starts a dirmngr, and a scdaemon goes with its agent. Its socket is
    in the GNUPGHOME; or in /run/user, where the user is logged in, under a name that gpgconf knows (gpgconf(1)).

    Raises:
        Fault: TOOL_MISSING.
    """
    if any(Path(f"/run/user/{os.geteuid()}/gnupg").glob(f"d.*/{_SOCKET}")):
        run(["gpgconf", "--homedir", homedir, "--kill", "gpg-agent"], stage=stage)
    with suppress(OSError):
        above = os.open(homedir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            address = f"/proc/self/fd/{above}/{_SOCKET}"  # a socket's path has 107 bytes (unix(7))
            _tell(address, b"KILLAGENT\n")
            until = time.monotonic() + _AGENT_PATIENCE
            while time.monotonic() < until:  # one that is ending takes the next gpg's call, and the next agent's socket
                time.sleep(_AGENT_PAUSE)
                _tell(address, b"")
        finally:
            os.close(above)


def _tell(address: str, line: bytes) -> None:
    """Say a line to who listens at a socket, after its greeting, and wait for the answer.

    Raises:
        OSError: nobody does.
    """
    with socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(_AGENT_PATIENCE)
        agent.connect(address)
        if line:
            with agent.makefile("rwb") as said:
                said.readline()
                said.write(line)
                said.flush()
                said.readline()


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


def _records(listed: bytes, first: str) -> Iterator[list[list[str]]]:
    """Split a listing with colons (doc/DETAILS of GnuPG) into keys: lists of records, each with its fields."""
    records: list[list[str]] = []
    for line in listed.splitlines():
        fields = [_ESCAPE.sub(_unescaped, it).decode("utf-8", "replace") for it in line.split(b":")]
        if fields[0] == first and records:
            yield records
            records = []
        if records or fields[0] == first:
            records.append(fields)
    if records:
        yield records


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)])


def fingerprints(listed: bytes, first: str = "pub") -> tuple[str, ...]:
    """Return the fingerprint of each key in a listing with colons; ``first`` is the record that begins a key."""
    return tuple(next(it[9] for it in records if it[0] == "fpr") for records in _records(listed, first))


def _key(records: Sequence[Sequence[str]]) -> Key:
    parts = [(it[11], it[1], it[6]) for it in records if it[0] in ("pub", "sub")]
    users = [it[9] for it in records if it[0] == "uid"]
    encrypting = [it for it in parts if "e" in it[0]]
    usable = [it for it in encrypting if it[1] not in ("r", "e", "d", "i")]
    revoked = bool(encrypting) and all(it[1] == "r" for it in encrypting)
    return Key(
        fingerprint=next(it[9] for it in records if it[0] == "fpr"),
        user=users[0] if users else "no user id",
        validity="r" if revoked or "D" in parts[0][0] else parts[0][1],
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
