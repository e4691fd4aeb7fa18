"""What an agent that nobody can deploy to is given: a folder to be mounted where its container looks for it.

A container that comes and goes keeps neither files nor a signing key, so its key is made here and travels with its
credentials. The key that lies in the folder stays, so that the chain of the host's snapshots goes on.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hermes_backup.errors import (
    HOST_KEY_CHANGED,
    HOST_KEY_MISSING,
    KEY_INVALID,
    STAGE_FAILED,
    TARGET_NOT_EMPTY,
    Fault,
    from_system,
)
from hermes_backup.fleet.checks import default_state
from hermes_backup.fleet.declared import declared
from hermes_backup.fleet.pins import pin, pin_file
from hermes_backup.fleet.render import Fleet, FleetHost
from hermes_backup.pipeline.config import SIGNING_CREDENTIAL, HostConfig, dump
from hermes_backup.pipeline.hosts import credentials_folder
from hermes_backup.pipeline.locate import shown
from hermes_backup.snapshots.signing import HostKey
from hermes_backup.streams.private import write_private
from hermes_backup.streams.scratch import scratch

Change = Literal["written", "unchanged", "removed"]
_PRIVATE = 0o600


@dataclass(frozen=True)
class Bundle:
    """A bundle as it lies in its folder.

    Attributes:
        files: every file, by its name below the folder, with what became of it.
        fingerprint: of the signing key.
        pinned: its public half was pinned now; else it was before.
    """

    host: str
    folder: Path
    files: Mapping[str, Change]
    fingerprint: str
    pinned: bool


@dataclass(frozen=True)
class _Key:
    """A signing key: its private half as it is handed over, and the public one as it is pinned, both armored."""

    private: bytes
    public: str
    fingerprint: str


def bundle(fleet: Fleet, host: FleetHost, folder: Path) -> Bundle:
    """Write what the agent of a host needs into a folder: its configuration, its credentials, its signing key.

    Done again, it changes what is declared otherwise, and nothing else. Nothing is written before the signing key is
    known to sign, and to be the one that is pinned, if any is.

    Raises:
        Fault: CONFIG_INVALID; TARGET_NOT_EMPTY when the folder holds something else than this host's bundle;
            HOST_KEY_CHANGED when another key is pinned, KEY_INVALID for one that cannot sign; DISK_FULL, STAGE_FAILED
            for a folder that cannot be written.
    """
    wanted = declared(host, [it.name for it in fleet.hosts])
    credentials = {name: text.encode() for name, text in wanted.credentials.items()}
    pins = fleet.inventory.pins
    _require_own(folder, host.name)
    key = _signing_key(host.name, credentials.get(SIGNING_CREDENTIAL), folder, pins)
    texts = {**credentials, SIGNING_CREDENTIAL: key.private}
    try:
        changes = _written(folder, host.name, _config(host, wanted.config), texts)
    except OSError as error:
        raise from_system(error, shown(folder)) from None
    try:  # last: a pinned key whose private half was never written would lock the host out
        pinned = pin(pins, host.name, key.public)
    except OSError as error:
        raise from_system(error, shown(pins)) from None
    return Bundle(host.name, folder, changes, key.fingerprint, pinned)


def _config(host: FleetHost, plain: Mapping[str, object]) -> str:
    """Write the configuration; where this machine was taken for the host, its state is not that of a user here."""
    config = HostConfig.model_validate(plain)
    if host.connection == "local" and config.state == str(default_state()):
        config = config.model_copy(update={"state": ""})
    return dump(config)


def _require_own(folder: Path, host: str) -> None:
    """Make sure that a folder is not there, is empty, or holds this host's bundle and nothing else.

    Raises:
        Fault: TARGET_NOT_EMPTY, STAGE_FAILED.
    """
    try:
        foreign = next(_foreign(folder, host), None)
    except OSError as error:
        raise from_system(error, shown(folder)) from None
    if foreign is not None:
        what = f"it is not the bundle of host {host}: {foreign.name} lies in it" if foreign != folder else "no folder"
        mend = "Give a folder that does not exist yet, or this host's own bundle; each host has a bundle of its own."
        raise Fault(TARGET_NOT_EMPTY, what, where=shown(folder), mend=mend)


def _foreign(folder: Path, host: str) -> Iterator[Path]:
    """Find what no bundle of a host holds; no link counts as what it leads to."""
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            yield folder
        return
    inner = credentials_folder(folder, host)
    ours = {f"{host}.json", f".{host}.json.new"}  # .new: of a write that was killed
    for it in sorted(folder.iterdir()):
        if not (_is_folder(it) if it == inner.parent else it.name in ours and _is_file(it)):
            yield it
    for it in sorted(inner.parent.iterdir()) if _is_folder(inner.parent) else ():
        if it != inner or not _is_folder(it):
            yield it
    for it in sorted(inner.iterdir()) if _is_folder(inner) else ():
        if not _is_file(it):
            yield it


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _signing_key(host: str, given: bytes | None, folder: Path, pins: Path) -> _Key:
    """Return the key that is declared, or lies in the folder, or is made now; nothing is written or pinned yet.

    Raises:
        Fault: HOST_KEY_CHANGED when another key is pinned, KEY_INVALID, STAGE_FAILED, DISK_FULL.
    """
    lies = credentials_folder(folder, host) / SIGNING_CREDENTIAL
    mend = (
        f"Put the old signing-key into {shown(lies.parent)}, or declare it under hermes_backup_credentials. "
        f"Where it is lost the host is a new one: move {shown(pin_file(pins, host))} away."
    )
    try:
        known = given if given is not None else lies.read_bytes() if lies.exists() else None
    except OSError as error:
        raise from_system(error, shown(lies)) from None
    if known is None and pin_file(pins, host).exists():
        what = f"a signing key of host {host} is pinned, and {shown(folder)} does not hold its private half"
        raise Fault(HOST_KEY_CHANGED, what, where=shown(pin_file(pins, host)), mend=mend)
    key = _opened(host, known, "hermes_backup_credentials" if given is not None else shown(lies))
    if pin_file(pins, host).exists():
        try:
            pin(pins, host, key.public)  # compares, and writes nothing
        except Fault as fault:
            raise Fault(fault.kind, fault.what, where=fault.where, mend=mend) from None
    return key


def _opened(host: str, private: bytes | None, where: str) -> _Key:
    """Let gpg open a private key, or make one, and sign with it."""
    with scratch() as room:
        given = None if private is None else room / SIGNING_CREDENTIAL
        try:
            if given is not None and private is not None:
                write_private(given, private)
            with HostKey.ensure(room / "gnupg", host, given) as key:
                key.sign("this key signs\n")
                return _Key(private or key.secret().encode(), key.public(), key.fingerprint)
        except OSError as error:
            raise from_system(error, str(room)) from None
        except Fault as fault:
            if private is None or fault.kind not in {KEY_INVALID, HOST_KEY_MISSING, STAGE_FAILED}:
                raise
            mend = "Put a private key there that hermes-backup bundle wrote: for signing only, without a passphrase."
            raise Fault(KEY_INVALID, f"not a key that signs: {fault.what}", where=where, mend=mend) from None


def _written(folder: Path, host: str, config: str, credentials: Mapping[str, bytes]) -> Mapping[str, Change]:
    """Write the files, the configuration last, and remove credentials that are declared no more."""
    inner = credentials_folder(folder, host)
    for it in (folder, inner.parent, inner):
        it.mkdir(parents=True, exist_ok=True, mode=0o700)
        it.chmod(0o700)
    texts = {inner / name: text for name, text in credentials.items()} | {folder / f"{host}.json": config.encode()}
    changes = {file: _put(file, text) for file, text in texts.items()}
    for file in sorted(inner.iterdir()):
        if file not in texts:
            file.unlink()
            changes[file] = "removed"
    return {str(file.relative_to(folder)): change for file, change in sorted(changes.items())}


def _put(file: Path, text: bytes) -> Change:
    if file.exists() and file.read_bytes() == text and stat.S_IMODE(file.stat().st_mode) == _PRIVATE:
        return "unchanged"
    write_private(file, text, durable=True)
    return "written"
