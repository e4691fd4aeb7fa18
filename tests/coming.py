"""A home on machines that come and go: each has its own disk, all share a host's name, its key and a remote."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.pipeline.agent import Options, run_pipeline
from hermes_backup.pipeline.config import HostConfig, dump, parse_config
from hermes_backup.pipeline.roaming.attaching import Attached, Wanted, attach, detach
from hermes_backup.pipeline.status import Status
from hermes_backup.snapshots.signing import HostKey
from tests.site import PROGRAM, make_home
from tests.waiting import until


class Heard:
    """Follows a run and keeps what it says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, name: str) -> None:
        """A stage begins."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """So much is done."""

    def warn(self, stage: str, text: str) -> None:
        """A warning."""
        self.said.append(f"warning: {stage}: {text}")

    def note(self, stage: str, text: str) -> None:
        """A note."""
        self.said.append(f"{stage}: {text}")

    def published(self, manifest: Any, places: tuple[str, ...]) -> None:  # noqa: ARG002 - a listener's
        """A snapshot lies in these places."""
        self.said.append(f"published {manifest.name}")

    @property
    def text(self) -> str:
        """Everything."""
        return "\n".join(self.said)


@dataclass(frozen=True)
class Machine:
    """A machine with a disk of its own: ``folder`` holds its home and its state."""

    folder: Path
    remote: str
    archive: Mapping[str, Any] = field(default_factory=lambda: {"format": "squashfs"})
    encrypt: Mapping[str, Any] | None = None
    rclone_config: str = ""
    heard: Heard = field(default_factory=Heard)

    @property
    def home(self) -> Path:
        """Where the agent finds its home."""
        return self.folder / "home"

    @property
    def state(self) -> Path:
        """What this machine remembers of its snapshots."""
        return self.folder / "state" / "agent" / "snapshot"

    def config(self, **settings: Any) -> HostConfig:
        """Return the configuration; it is the same on all machines but for their folders."""
        secret = self.folder / "credentials" / "words"
        stages: list[Any] = [
            "sqlite",
            {"archive": dict(self.archive)},
            {"encrypt": dict(self.encrypt or {"passphrase_credential": str(secret)})},
            {"push": {"to": [self.remote], "attempts": 1}},
            {"prune": {"keep_last": 8}},
        ]
        data = {
            "host": "agent",
            "home": str(self.home),
            "state": str(self.folder / "state"),
            "own_controller": True,
            "rclone_config": self.rclone_config,
            "pipelines": {"snapshot": {"stages": stages, "schedule": {"every": "1s"}, "if_changed": True}},
            **settings,
        }
        made = parse_config(data)
        assert isinstance(made, HostConfig), made
        return made

    def come(self, **wanted: Any) -> Attached:
        """Bring the home."""
        return attach(self.config(), "snapshot", Wanted(**{"lease": 1.0, **wanted}), self.heard)

    def save(self, *, keep: bool = False) -> Status:
        """Take a snapshot."""
        return run_pipeline(self.config(), "snapshot", Options("test", keep=keep))

    def go(self, *, saved: bool = True) -> None:
        """Take the home away, as at a good end: everything is in a snapshot."""
        until = datetime.now(timezone.utc) if saved else None
        detach(self.config(), "snapshot", saved=until, follower=self.heard)

    def die(self) -> None:
        """End as with kill -9 of all: mounts of a container go with it, its disk stays."""
        for point in (self.home, self.state / "layers" / "lower"):
            until(partial(_let_go, point))

    def start(
        self,
        *words: str,
        command: tuple[str, ...] = (),
        before: tuple[str, ...] = (),
        inside: bool = False,
        **settings: Any,
    ) -> subprocess.Popen[str]:
        """Start ``hermes-backup wrap``, by a program that comes before it; ``inside``: the home is where it stands."""
        config = self.folder / "config"
        config.mkdir(exist_ok=True)
        (config / "agent.json").write_text(dump(self.config(**settings)))
        program = [str(Path(sys.executable).parent / "hermes-backup")] if inside else PROGRAM
        argv = [*before, *program, "wrap", "--config", str(config), "--lease", "1s", *words, "--", *command]
        env = {**os.environ, "CREDENTIALS_DIRECTORY": str(self.folder / "credentials")}
        return subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=self.home if inside else None
        )


def _let_go(point: Path) -> bool:
    """Unmount; False while somebody is still in it."""
    done = subprocess.run(["umount", "--", point], check=False, capture_output=True, env={**os.environ, "LC_ALL": "C"})
    return b"busy" not in done.stderr


@dataclass
class Cloud:
    """Machines that share a remote."""

    folder: Path
    signing: str
    archive: Mapping[str, Any]
    encrypt: Mapping[str, Any] | None = None
    machines: list[Machine] = field(default_factory=list)

    @property
    def remote(self) -> Path:
        """The remote, a folder reached through rclone."""
        return self.folder / "remote"

    @property
    def snapshots(self) -> Path:
        """Where snapshots lie in the remote."""
        return self.remote / "agent" / "snapshot"

    def images(self) -> list[Path]:
        """The data of the snapshots, the oldest first."""
        return sorted(it for it in self.snapshots.iterdir() if {".sqsh", ".tar"} & set(it.suffixes))

    def machine(self) -> Machine:
        """Return a new machine, with an empty disk and what a bundle gives it."""
        folder = self.folder / f"machine{len(self.machines)}"
        credentials = folder / "credentials"
        credentials.mkdir(parents=True)
        (credentials / "words").write_text("four words for tests\n")
        (credentials / "signing-key").write_text(self.signing)
        made = Machine(folder, str(self.remote), self.archive, self.encrypt)
        self.machines.append(made)
        return made


@pytest.fixture(scope="session")
def signing(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The signing key of the host, as a bundle holds it."""
    with HostKey.ensure(tmp_path_factory.mktemp("signing"), "agent") as key:
        return key.secret()


def settled(cloud: Cloud) -> Machine:
    """Return a machine that wrote a home, saved it and went in good order."""
    machine = cloud.machine()
    machine.come()
    make_home(machine.folder / "made")
    for it in (machine.folder / "made").iterdir():
        it.rename(machine.home / it.name)
    status = machine.save()
    assert status.state == "done", status
    machine.go()
    return machine


@pytest.fixture(scope="session")
def left(tmp_path_factory: pytest.TempPathFactory, signing: str) -> Path:
    """The remote that a machine left in good order."""
    with pytest.MonkeyPatch.context() as patch:
        made = _cloud(tmp_path_factory.mktemp("left"), signing, patch)
        settled(made)
    return made.remote


@pytest.fixture
def cloud(tmp_path: Path, signing: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Machines that come and go; what they leave mounted is unmounted."""
    made = _cloud(tmp_path, signing, monkeypatch)
    yield made
    for machine in made.machines:
        machine.die()


@pytest.fixture
def begun(cloud: Cloud, left: Path) -> Cloud:
    """The same, once a machine has written a home, saved it and gone in good order."""
    shutil.copytree(left, cloud.remote)
    return cloud


def _cloud(folder: Path, signing: str, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    credentials = folder / "credentials"
    credentials.mkdir()
    (credentials / "signing-key").write_text(signing)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    return Cloud(folder, signing, {"format": "squashfs"})
