"""What a run on its own host needs around its stages: a private folder, keys, credentials, the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from hermes_backup.errors import from_system
from hermes_backup.pipeline.config import KEY_FOLDER, RCLONE_CREDENTIAL, SIGNING_CREDENTIAL, HostConfig
from hermes_backup.pipeline.executor import Follower
from hermes_backup.pipeline.hosts import state_folder
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.snapshots.signing import HostKey
from hermes_backup.stages.context import Context, Teardown
from hermes_backup.stages.credentials import credential
from hermes_backup.stages.ledger import Ledger
from hermes_backup.streams import folders, scratch
from hermes_backup.streams.keys import daily_keyring
from hermes_backup.streams.private import write_private

_RUN = "run-"


def pipeline_folder(config: HostConfig, name: str) -> Path:
    """Return where a pipeline's state lies: its lock, its ledger, its status."""
    return state_folder(config) / config.host / name


def status_path(config: HostConfig, name: str) -> Path:
    """Return where a pipeline's status file lies."""
    return pipeline_folder(config, name) / "status.json"


def private(folder: Path) -> Path:
    """Make a folder and the one above it, 0700, and return it.

    Raises:
        Fault: DISK_FULL, STAGE_FAILED.
    """
    try:
        for it in (folder.parent, folder):
            it.mkdir(parents=True, exist_ok=True, mode=0o700)
            it.chmod(0o700)
    except OSError as error:
        raise from_system(error, str(folder)) from None
    return folder


def supervised(config: HostConfig, name: str) -> Path:
    """Return the lock that is held while a command has the home of a pipeline.

    Raises:
        Fault: DISK_FULL, STAGE_FAILED.
    """
    return private(pipeline_folder(config, name)) / "supervised"


def sweep(folder: Path) -> None:
    """Remove what killed runs left."""
    scratch.sweep()
    folders.sweep(folder, _RUN)


@contextmanager
def host_key(config: HostConfig) -> Iterator[HostKey]:
    """Open the host's signing key: the one that is there, or given as a credential, or else made now.

    Raises:
        Fault: KEY_INVALID, DISK_FULL, or a state folder that cannot be written.
    """
    folder = private(state_folder(config) / config.host / KEY_FOLDER)
    given = credential(SIGNING_CREDENTIAL)
    with HostKey.ensure(folder, config.host, given if given.is_file() else None) as key:
        yield key


@contextmanager
def prepared(
    config: HostConfig, pipeline: Pipeline, folder: Path, now: datetime, listener: Follower, *, if_changed: bool = False
) -> Iterator[Context]:
    """Make the private folder, the keyring and the host's key of a run; all but the key go when the run goes.

    ``folder`` is the pipeline's, and locked by the caller.

    Raises:
        Fault: why a key is not usable, DISK_FULL.
    """
    with ExitStack() as stack:
        sweep(folder)
        room = stack.enter_context(folders.private_folder(folder, _RUN))
        keyring = stack.enter_context(
            daily_keyring(private(state_folder(config) / config.host), config.public_keys, now)
        )
        key = stack.enter_context(host_key(config))
        yield Context(
            host=config.host,
            pipeline=pipeline.name,
            now=now,
            folder=room,
            ledger=Ledger(folder),
            keyring=keyring,
            gnupghome=Path(config.gnupghome).expanduser() if config.gnupghome else None,
            host_key=key,
            pinned=None,
            rclone_config=_rclone_config(config, room),
            own_controller=config.own_controller,
            if_changed=if_changed,
            settings=_settings(config, pipeline),
            listener=listener,
            teardown=Teardown(),
        )


def _rclone_config(config: HostConfig, folder: Path) -> Path | None:
    """Return a copy of the rclone.conf, for rclone writes new tokens into it; None for the user's own."""
    given = credential(RCLONE_CREDENTIAL)
    if not config.rclone_config and not given.is_file():
        return None
    path = folder / "rclone.conf"
    write_private(path, config.rclone_config.encode() or given.read_bytes())
    return path


def _settings(config: HostConfig, pipeline: Pipeline) -> str:
    """Hash what is declared: a snapshot made under other settings never counts as the same."""
    stages = [(stage.name, stage.model_dump_json()) for stage in pipeline.stages]
    said = (config.home, config.exclude, config.exclude_extra, stages)
    return hashlib.sha256(repr(said).encode()).hexdigest()
