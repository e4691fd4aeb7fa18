"""A restore, which is a pipeline too: fetch, decrypt, extract, check, place, on the trusted machine."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from hermes_backup.errors import DISK_FULL, INTERRUPTED, SNAPSHOT_MISSING, STAGE_FAILED, Fault
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.executor import Follower, execute, naming
from hermes_backup.pipeline.folders import private_folder, sweep
from hermes_backup.pipeline.interruption import interruptible
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.places import catalogs
from hermes_backup.snapshots.catalog import Listed, find
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.stages.check import Check
from hermes_backup.stages.context import Context, Teardown
from hermes_backup.stages.decrypt import Decrypt
from hermes_backup.stages.encrypt import Encrypt
from hermes_backup.stages.extract import Extract
from hermes_backup.stages.fetch import Fetch, fetched
from hermes_backup.stages.ledger import Ledger
from hermes_backup.stages.place import PlaceTree, require_vacant
from hermes_backup.stages.things import Report
from hermes_backup.streams.keys import Keyring

_QUARANTINE = ".hermes-restore-"


@dataclass(frozen=True)
class Restored:
    """What a restore brought back, and from where."""

    target: Path
    manifest: Manifest
    source: str
    report: Report


def choose(config: HostConfig, pipeline: Pipeline, wanted: str, source: str = "") -> tuple[Place, Listed]:
    """Find the wanted snapshot in the first place that has it; for ``latest``, the newest that any place has.

    Raises:
        Fault: SNAPSHOT_MISSING, or why the only place could not be looked into.
    """
    having: list[tuple[Place, Listed]] = []
    faults: list[Fault] = []
    for place, catalog in catalogs(config, pipeline, source):
        try:
            if isinstance(catalog, Fault):
                raise catalog
            having.append((place, find(catalog.listed, wanted)))
        except Fault as fault:
            faults.append(fault)
    if having:
        return max(having, key=lambda it: it[1].name)
    raise faults[0] if faults else Fault(SNAPSHOT_MISSING, f"pipeline {pipeline.name} keeps snapshots nowhere")


def restore(
    config: HostConfig,
    pipeline: Pipeline,
    chosen: tuple[Place, Listed],
    target: Path,
    pinned: Pinned,
    follower: Follower,
) -> Restored:
    """Bring a snapshot back into a folder that does not exist yet, through a quarantine beside it.

    Signature, sizes and hashes are proven before anything is decrypted; the target appears whole or not at all.

    Raises:
        Fault: why the snapshot cannot be trusted, decrypted or placed; INTERRUPTED. The target is left alone then.
    """
    place, listed = chosen
    target = target.expanduser().absolute()
    require_vacant(target)
    stages = (Decrypt(passphrase_credential=_credential(pipeline)), Extract(), Check())
    with interruptible():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            sweep(target.parent, _QUARANTINE)
            with private_folder(target.parent, _QUARANTINE) as folder:
                context = _context(config, pipeline, folder, pinned, follower)
                follower.stage(Fetch.name)
                with naming(Fetch.name):
                    snapshot = fetched(place, str(listed.name), context)
                report: Report = execute(stages, snapshot, context, follower)
                execute((PlaceTree(to=target),), report, context, follower)
        except KeyboardInterrupt:
            raise Fault(INTERRUPTED, "stopped by a signal; the target was left alone", where="restore") from None
        except OSError as error:
            kind = DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else STAGE_FAILED
            said = f"{error.strerror}: {error.filename or target.parent}"
            raise Fault(kind, said, where="restore") from None
    return Restored(target, report.tree.manifest, place.label, report)


def _credential(pipeline: Pipeline) -> str | None:
    return next((it.passphrase_credential for it in pipeline.stages if isinstance(it, Encrypt)), None)


def _context(config: HostConfig, pipeline: Pipeline, folder: Path, pinned: Pinned, follower: Follower) -> Context:
    return Context(
        host=config.host,
        pipeline=pipeline.name,
        now=datetime.now(timezone.utc),
        folder=folder,
        ledger=Ledger(folder),
        keyring=Keyring(None),
        gnupghome=private_keys(config),
        host_key=None,
        pinned=pinned,
        rclone_config=None,
        own_controller=False,
        if_changed=False,
        settings="",
        listener=follower,
        teardown=Teardown(),
    )


def private_keys(config: HostConfig) -> Path | None:
    """Return the GNUPGHOME with the private keys: as declared, else as in the environment, else GnuPG's own."""
    declared = config.gnupghome or os.environ.get("GNUPGHOME", "")
    return Path(declared).expanduser() if declared else None
