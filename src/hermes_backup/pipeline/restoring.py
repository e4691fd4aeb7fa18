"""A restore, which is a pipeline too: fetch, decrypt, extract, check, place, on the trusted machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from hermes_backup.errors import INTERRUPTED, SNAPSHOT_MISSING, Fault, from_system
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.executor import Follower, execute, naming
from hermes_backup.pipeline.interruption import interruptible
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.places import catalogs
from hermes_backup.snapshots.catalog import Known, Listed, find, load_manifests
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
from hermes_backup.streams.folders import private_folder, sweep
from hermes_backup.streams.keys import Keyring

LATEST = "latest"
_QUARANTINE = ".hermes-restore-"
_AT_ONCE = 20  # manifests to look at before older ones are fetched


@dataclass(frozen=True)
class Restored:
    """What a restore brought back, and from where."""

    target: Path
    manifest: Manifest
    source: str
    report: Report


def choose(
    config: HostConfig, pipeline: Pipeline, wanted: str, source: str = "", pinned: Pinned | None = None
) -> tuple[Place, Listed]:
    """Find the wanted snapshot in the first place that has it; for ``latest``, the newest that any place has.

    With ``pinned``, what calls itself the latest counts only if that key signed it: a name alone is no proof.

    Raises:
        Fault: SNAPSHOT_MISSING, or why no place could be looked into; it tells what each place said.
    """
    having: list[tuple[Place, Listed]] = []
    faults: list[tuple[Place, Fault]] = []
    for place, catalog in catalogs(config, pipeline, source):
        try:
            if isinstance(catalog, Fault):
                raise catalog
            listed = catalog.listed
            if wanted == LATEST and pinned is not None:
                listed = _newest_signed(place, config.host, pipeline.name, listed, pinned)
            having.append((place, find(listed, wanted)))
        except Fault as fault:
            faults.append((place, fault))
    if having:
        return max(having, key=lambda it: it[1].name)
    if not faults:
        raise Fault(SNAPSHOT_MISSING, f"pipeline {pipeline.name} keeps snapshots nowhere")
    first = faults[0][1]
    said = "; ".join(f"{place.label}: {fault.what}" for place, fault in faults)
    raise Fault(first.kind, said, mend=first.mend)


def _newest_signed(
    place: Place, host: str, pipeline: str, listed: Sequence[Listed], pinned: Pinned
) -> tuple[Listed, ...]:
    """Return the newest that the key signed; where none is, all: the newest will say why it is refused."""
    complete = sorted((it for it in listed if it.complete), key=lambda it: it.name, reverse=True)
    for start in range(0, len(complete), _AT_ONCE):
        some = complete[start : start + _AT_ONCE]
        for one, known in zip(some, load_manifests(place, host, pipeline, some, pinned), strict=True):
            if isinstance(known, Known):
                return (one,)
    return tuple(listed)


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
            raise from_system(error, "restore") from None
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
