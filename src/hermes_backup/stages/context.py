"""What a stage is given besides its value: who runs, where it may write, and whom it tells."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.snapshots.signing import HostKey, Pinned
from hermes_backup.stages.ledger import Ledger
from hermes_backup.streams.keys import Keyring


class Listener(Protocol):
    """Whoever follows a run: the event log, the status file, a progress bar."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """So many bytes of so many are done; ``total`` 0 means that nobody knows."""

    def warn(self, stage: str, text: str) -> None:
        """Something that the operator should know; the run goes on and may still be complete."""

    def note(self, stage: str, text: str) -> None:
        """Something worth a line in the log."""

    def published(self, manifest: Manifest, places: tuple[str, ...]) -> None:
        """A snapshot was committed in these places."""


@dataclass(frozen=True)
class Teardown:
    """What must happen when the home is no longer read, and when the run ends.

    Attributes:
        home_released: closed as soon as the home was read, and its copies are known to be good, or at failure; the
            copies begin to go then.
        succeeded: called in order when all stages are done.
        failed: called when the run fails.
        always: closed at the end, however it ends.
    """

    home_released: ExitStack = field(default_factory=ExitStack)
    succeeded: list[Callable[[], None]] = field(default_factory=list)
    failed: list[Callable[[], None]] = field(default_factory=list)
    always: ExitStack = field(default_factory=ExitStack)


@dataclass(frozen=True)
class Context:
    """A run, as its stages see it.

    Attributes:
        folder: private (0700) and empty at the start; gone when the run goes. Plaintext lies nowhere else.
        ledger: what this host remembers of its chain.
        keyring: the public keys of the recipients, or on the trusted machine its own keys.
        gnupghome: where the private keys are, on the trusted machine; None for GnuPG's own.
        pinned: the key by which this host's manifests must be signed; None where nothing is fetched.
        host_key: the host's signing key; None where nothing is signed (restore, drill).
        own_controller: this host is its own controller, so that it may prune its remotes.
        if_changed: end early when the home equals the last snapshot.
        settings: a digest of everything declared that shapes a snapshot.
    """

    host: str
    pipeline: str
    now: datetime
    folder: Path
    ledger: Ledger
    keyring: Keyring
    gnupghome: Path | None
    host_key: HostKey | None
    pinned: Pinned | None
    rclone_config: Path | None
    own_controller: bool
    if_changed: bool
    settings: str
    listener: Listener
    teardown: Teardown
