"""An inventory in a folder of a test, with one host on this machine and a key that can encrypt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.errors import Fault
from hermes_backup.fleet.inventory import find_inventory
from hermes_backup.fleet.problems import Faults
from hermes_backup.fleet.render import Fleet, render
from hermes_backup.pipeline.status import Status
from tests.backing import back_up
from tests.keys import Recipient
from tests.processes import processes
from tests.site import PROGRAM, make_home
from tests.waiting import until

LOCAL = "ansible_connection: local, ansible_python_interpreter: '{{ ansible_playbook_python }}'"
HOSTS = f"all:\n  hosts:\n    vps1: {{{LOCAL}}}\n"


@dataclass(frozen=True)
class Done:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Ground:
    """A folder with an inventory ``prod`` in it; nothing outside the folder is touched."""

    root: Path
    recipient: Recipient

    @property
    def inventory(self) -> Path:
        return self.root / "prod"

    def write(self, name: str, text: str) -> Path:
        file = self.inventory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def settings(self, *lines: str) -> Path:
        """Write the settings of all hosts: the usual folders, then the lines given; these start on line 8."""
        usual = [
            f"hermes_backup_recipients: [{self.recipient.fingerprint}]",
            f"hermes_backup_remotes: [{self.root}/remote]",
            f"hermes_backup_home: {self.root}/home",
            f"hermes_backup_state: {self.root}/state",
            f"hermes_backup_store: {self.root}/store",
            f"hermes_backup_config_dir: {self.root}/config",
            "",
        ]
        return self.write("group_vars/all.yml", "\n".join([*usual, *lines]) + "\n")

    def fleet(self, *, examine_keys: bool = False) -> Fleet:
        return render(find_inventory(str(self.inventory)), examine_keys=examine_keys)

    def faults(self, *, examine_keys: bool = False) -> list[tuple[str, str, str]]:
        """Return the place (below the inventory), the name and the words of everything that is wrong."""
        try:
            self.fleet(examine_keys=examine_keys).demand_sound()
        except Fault as fault:
            every = fault.faults if isinstance(fault, Faults) else (fault,)
            return [(it.where.removeprefix(f"{self.inventory}/"), it.kind.name, it.what) for it in every]
        return []

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
        return {**kept, "HOME": str(self.root), "USER": os.environ.get("USER", "")}

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROGRAM, *words],
            cwd=self.root,
            env={**self.environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *words: str, **environment: str) -> Done:
        child = self.start(*words, **environment)
        out, err = child.communicate(timeout=300)
        return Done(child.returncode, out, err)

    def back_up(self, *hosts: str) -> Mapping[str, Status]:
        """Back up as ``run`` does, without Ansible: for what comes after."""
        return back_up(self.root, self.inventory, *hosts)

    def status(self, pipeline: str = "nightly", host: str = "vps1") -> Mapping[str, Any]:
        text = (self.root / "state" / host / pipeline / "status.json").read_text()
        made: Mapping[str, Any] = json.loads(text)
        return made

    def agents(self) -> list[int]:
        """The agents that run for this folder."""
        wanted = {b"agent", os.fsencode(self.root / "config")}
        return [it.pid for it in processes() if wanted <= set(it.words.split(b"\0"))]


def new_ground(root: Path, recipient: Recipient, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """Make a sound inventory, whose ``nightly`` pushes to a folder; this process gets the program's environment."""
    make_home(root / "home")
    made = Ground(root, recipient)
    made.write("hosts.yml", HOSTS)
    made.write("keys/operator.asc", recipient.public)
    made.settings()
    monkeypatch.setenv("HOME", str(root))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return made


@pytest.fixture
def ground(tmp_path: Path, recipient: Recipient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """A sound inventory of one test; what still runs for it ends with the test."""
    made = new_ground(tmp_path, recipient, monkeypatch)
    yield made
    for pid in made.agents():
        os.kill(pid, signal.SIGTERM)
    until(lambda: not made.agents(), 30)  # less than those run that tests let sleep
