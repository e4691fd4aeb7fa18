"""The recipients' public keys, examined on the controller: a key that cannot do its job is known before a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.errors import KEY_MISSING, Fault
from hermes_backup.fleet.checks import Found
from hermes_backup.pipeline.config import HostConfig, pipeline_of
from hermes_backup.pipeline.locate import Spot, shown
from hermes_backup.stages.encrypt import Encrypt
from hermes_backup.streams.keys import Key, import_key, judge, private_keyring

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from hermes_backup.fleet.places import Places


@dataclass(frozen=True)
class KnownKeys:
    """The public keys of an inventory: as text, by fingerprint, and what is wrong with their files."""

    folder: Path
    armored: tuple[str, ...]
    by_fingerprint: Mapping[str, Key]
    found: tuple[Found, ...]


def read_keys(folder: Path, *, examine: bool) -> KnownKeys:
    """Read ``*.asc`` of a folder; with ``examine`` gpg looks at each."""
    files = sorted(folder.glob("*.asc"))
    armored = tuple(file.read_text(encoding="utf-8", errors="replace") for file in files)
    if not examine or not files:
        return KnownKeys(folder, armored, {}, ())
    found: list[Found] = []
    with private_keyring(()) as ring:
        for file, text in zip(files, armored, strict=True):
            try:
                import_key(_homedir(ring.homedir), text)
            except Fault as fault:
                what = Fault(fault.kind, fault.what, where=shown(file), mend=fault.mend)
                found.append(Found(Spot(file), what, frozenset()))
        keys = {key.fingerprint: key for key in ring.keys()}  # noqa: SIM118 - a Keyring is no dict
    return KnownKeys(folder, armored, keys, tuple(found))


def examine(config: HostConfig, places: Places, keys: KnownKeys, now: datetime) -> Iterator[Found | str]:
    """Judge the key of each recipient of each pipeline; yields what is wrong, and warnings as text."""
    for name in config.pipelines:
        for at, stage in enumerate(pipeline_of(config, name).stages):
            if isinstance(stage, Encrypt):
                path = ("hermes_backup_pipelines", name, "stages", at, stage.name, "recipients")
                for number, fingerprint in enumerate(stage.recipients):
                    yield from _judged(fingerprint, places.find((*path, number)), config.host, keys, now)


def _judged(fingerprint: str, spot: Spot, host: str, keys: KnownKeys, now: datetime) -> Sequence[Found | str]:
    key = keys.by_fingerprint.get(fingerprint)
    if key is None:
        missing = Fault(
            KEY_MISSING, f"no public key for recipient {fingerprint} in {shown(keys.folder)}", where=str(spot)
        )
        return (Found(spot, missing, frozenset({host})),)
    try:
        return judge(key, now)
    except Fault as fault:
        placed = Fault(fault.kind, fault.what, where=str(spot), mend=fault.mend)
        return (Found(spot, placed, frozenset({host})),)


def _homedir(path: Path | None) -> Path:
    if path is None:
        raise ValueError("a private keyring has a folder")
    return path
