"""A host for tests: a small home, its state, its store and a remote, and the agent run on it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.pipeline.agent import Options, run_pipeline
from hermes_backup.pipeline.config import HostConfig, dump, parse_config
from hermes_backup.pipeline.status import Status
from tests.keys import Recipient

PROGRAM = (sys.executable, "-m", "hermes_backup")


@dataclass(frozen=True)
class Site:
    """Folders of one host; ``stages`` makes a nightly pipeline of them."""

    root: Path
    recipient: Recipient
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """The Hermes home."""
        return self.root / "home"

    @property
    def store(self) -> Path:
        """The local store."""
        return self.root / "store"

    @property
    def remote(self) -> Path:
        """A remote that is a folder, reached through rclone."""
        return self.root / "remote"

    @property
    def folder(self) -> Path:
        """The state folder of the nightly pipeline."""
        return self.root / "state" / "vps1" / "nightly"

    def usual(self, *more: Any, archive: Any = None) -> list[Any]:
        """The stages of a usual backup, and more."""
        return [
            "sqlite",
            {"archive": archive},
            {"encrypt": {"recipients": [self.recipient.fingerprint]}},
            {"store": {"path": str(self.store)}},
            *more,
        ]

    def config(self, stages: Sequence[Any], **settings: Any) -> HostConfig:
        """Make the configuration of the host."""
        data = {
            "host": "vps1",
            "home": str(self.home),
            "state": str(self.root / "state"),
            "own_controller": True,
            "public_keys": [self.recipient.public],
            "gnupghome": str(self.recipient.gnupghome),
            "pipelines": {"nightly": {"stages": list(stages)}},
            **settings,
        }
        made = parse_config(data)
        assert isinstance(made, HostConfig), made
        return made

    def run(self, stages: Sequence[Any] | None = None, *, options: Options | None = None, **settings: Any) -> Status:
        """Run the nightly pipeline in this process."""
        config = self.config(self.usual() if stages is None else stages, **settings)
        return run_pipeline(config, "nightly", options or Options("test"))

    def start(
        self, stages: Sequence[Any] | None = None, *words: str, under: Sequence[str] = (), **settings: Any
    ) -> subprocess.Popen[bytes]:
        """Start ``hermes-backup agent run nightly`` as a process of its own, ``under`` a command that starts it."""
        folder = self.root / "config"
        folder.mkdir(exist_ok=True)
        (folder / "vps1.json").write_text(dump(self.config(self.usual() if stages is None else stages, **settings)))
        argv = [*under, *PROGRAM, "agent", "run", "nightly", "--config", str(folder), *words]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ})

    def snapshots(self, place: Path | None = None) -> list[str]:
        """The files under final names in a place, sorted."""
        folder = (place or self.store) / "vps1" / "nightly"
        return sorted(it.name for it in folder.iterdir()) if folder.is_dir() else []

    def status(self) -> Status:
        """What the status file says."""
        return Status.read(self.folder / "status.json")


def make_home(home: Path) -> None:
    """Make a small home with a database in WAL mode."""
    (home / "memories").mkdir(parents=True)
    (home / "skills" / "report").mkdir(parents=True)
    (home / "empty").mkdir()
    (home / "logs").mkdir()
    home.chmod(0o700)
    (home / "SOUL.md").write_text("I am the test.\n")
    (home / "memories" / "MEMORY.md").write_text("The owner likes tea.\n" * 50)
    (home / "skills" / "report" / "run.sh").write_text("#!/bin/sh\necho report\n")
    (home / "skills" / "report" / "run.sh").chmod(0o755)
    (home / ".env").write_text("TOKEN=very-secret-token-7316\n")
    (home / ".env").chmod(0o600)
    (home / "logs" / "agent.log").write_text("noise\n" * 1000)
    (home / "current").symlink_to("skills/report")
    fill(home / "state.db", 200)


def fill(path: Path, rows: int) -> None:
    """Add messages to a database, made in WAL mode if need be."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, content TEXT)")
    connection.executemany(
        "INSERT INTO messages (content) VALUES (?)", [(f"message {it} " * 20,) for it in range(rows)]
    )
    connection.commit()
    connection.close()


def messages_in(path: Path) -> int:
    """Count the messages of a database."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM messages").fetchone()
    return int(count)


@pytest.fixture
def site(tmp_path: Path, recipient: Recipient) -> Site:
    """A host with a small home."""
    make_home(tmp_path / "home")
    return Site(tmp_path, recipient)
