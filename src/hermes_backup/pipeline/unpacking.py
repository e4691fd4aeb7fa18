"""A snapshot brought to the trusted machine: its list of files alone, or the checked tree in a private folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from hermes_backup.errors import FOLDER_EXPOSED, Fault
from hermes_backup.pipeline.choosing import Chosen
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.executor import Follower, execute, naming
from hermes_backup.pipeline.interruption import stoppable
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.stages.check import Check
from hermes_backup.stages.context import Context, Teardown
from hermes_backup.stages.decrypt import Decrypt
from hermes_backup.stages.encrypt import passphrase_of
from hermes_backup.stages.extract import Extract
from hermes_backup.stages.fetch import Fetch, fetched
from hermes_backup.stages.ledger import Ledger
from hermes_backup.stages.things import Plaintext, Report, Snapshot
from hermes_backup.streams import scratch
from hermes_backup.streams.folders import sweep
from hermes_backup.streams.keys import Keyring
from hermes_backup.streams.members import Member
from hermes_backup.streams.ownership import exposed

QUARANTINE = ".hermes-restore-"
"""How the names of private folders beside a target begin."""


@dataclass(frozen=True)
class Source:
    """A snapshot that is to be opened: whose it is, where it lies, and by which key it must be signed."""

    config: HostConfig
    pipeline: Pipeline
    chosen: Chosen
    pinned: Pinned

    def context(self, folder: Path, follower: Follower) -> Context:
        """Return the context of a run that opens it, with a private folder."""
        bare = bare_context(self.config, self.pipeline.name, folder, follower)
        return replace(bare, gnupghome=private_keys(self.config), pinned=self.pinned)

    @property
    def decrypt(self) -> Decrypt:
        """The stage that opens it, with the passphrase that its pipeline declares."""
        return Decrypt(passphrase_credential=passphrase_of(self.pipeline.stages))

    def fetched(self, context: Context, follower: Follower) -> Snapshot:
        """Find it and prove its manifest.

        Raises:
            Fault: as :func:`hermes_backup.stages.fetch.fetched`.
        """
        place, listed = self.chosen
        follower.stage(Fetch.name)
        with naming(Fetch.name):
            return fetched(place, str(listed.name), context)


@dataclass(frozen=True)
class Contents:
    """What a snapshot holds, by its signed manifest and its list of files."""

    manifest: Manifest
    members: tuple[Member, ...]


def contents(source: Source, follower: Follower) -> Contents:
    """Read the list of files; the data stays where it is.

    Raises:
        Fault: why it cannot be trusted or decrypted; INTERRUPTED.
    """
    with stoppable("ls"), scratch.scratch() as folder:
        context = source.context(folder, follower)
        snapshot = source.fetched(context, follower)
        return Contents(snapshot.manifest, source.decrypt.index(snapshot, context))


@contextmanager
def opened(source: Source, follower: Follower, parent: Path | None = None) -> Iterator[tuple[Plaintext, Context]]:
    """Bring the data into a private folder, proven and still encrypted; the folder goes at the end.

    It lies in ``parent``, which is made where it is not there, or with the system's temporary files.

    Raises:
        Fault: why it cannot be trusted or decrypted; INTERRUPTED.
    """
    with stoppable("restore"):
        if parent is not None:
            _require_own(parent)
            parent.mkdir(parents=True, exist_ok=True)
            sweep(parent, QUARANTINE)
        with scratch.findable_folder(parent, QUARANTINE) if parent is not None else scratch.scratch() as folder:
            context = source.context(folder, follower)
            snapshot = source.fetched(context, follower)
            yield execute((source.decrypt,), snapshot, context, follower), context


def _require_own(parent: Path) -> None:
    """Make sure that nobody else can put a link in the place of what is made in a folder."""
    found = exposed(parent / QUARANTINE)
    if found is not None:
        what = f"{found.path} {found.why}, who could lead this program elsewhere from there"
        mend = "Give a folder below one that only you can change, and move what came back to where it is wanted."
        raise Fault(FOLDER_EXPOSED, what, where=str(parent), mend=mend)


@contextmanager
def unpacked(
    source: Source,
    follower: Follower,
    parent: Path | None = None,
    only: Sequence[str] = (),
    *,
    leave_indexes: bool = False,
) -> Iterator[tuple[Report, Context]]:
    """Bring the home, or ``only`` these paths of it, into a private folder, checked; the folder goes at the end.

    ``leave_indexes``: search indexes that were left out are not made again.

    Raises:
        Fault: why it cannot be trusted, decrypted or believed; PATH_MISSING; INTERRUPTED.
    """
    with opened(source, follower, parent) as (plain, context):
        check = Check(depth="quick", search_indexes="leave" if leave_indexes else "rebuild")
        yield execute((Extract(only=tuple(only)), check), plain, context, follower), context


def bare_context(config: HostConfig, pipeline: str, folder: Path, follower: Follower) -> Context:
    """Return the context of a run that makes no snapshot, with a private folder and without any key."""
    return Context(
        host=config.host,
        pipeline=pipeline,
        now=datetime.now(timezone.utc),
        folder=folder,
        ledger=Ledger(folder),
        keyring=Keyring(None),
        gnupghome=None,
        host_key=None,
        pinned=None,
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
