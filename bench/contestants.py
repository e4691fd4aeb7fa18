"""This program as its users start it: a key, a configuration, an inventory, and what a run left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.pipeline.config import HostConfig, dump, parse_config

HOST, PIPELINE = "bench", "nightly"
WHOLE = {"sqlite": {"search_indexes": "keep"}}  # as every recipe takes databases
PROGRAM = str(Path(sys.executable).parent / "hermes-backup")


@dataclass(frozen=True)
class Key:
    """A recipient: its GNUPGHOME, its fingerprint and its public key."""

    home: Path
    fingerprint: str
    public: str

    def end_agent(self) -> None:
        """End the gpg-agent that decryption starts: it would stay, as a user's does."""
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=True, capture_output=True)


@dataclass(frozen=True)
class Contestant:
    """A way to make a backup. ``argv`` leaves its output in ``out``, which is emptied before each run."""

    name: str
    argv: tuple[str, ...]
    out: Path
    note: str = ""


@contextlib.contextmanager
def new_key() -> Iterator[Key]:
    """Make a key pair for as long as the block lasts, in a folder with a name short enough for gpg-agent's socket."""
    with tempfile.TemporaryDirectory(prefix="hbb", ignore_cleanup_errors=True) as name:
        home = Path(name)
        gpg = ["gpg", "--homedir", name, "--batch", "--no-tty", "--pinentry-mode", "loopback"]
        words = ["--passphrase", "", "--quick-generate-key", "bench <bench@example.org>", "future-default", "default"]
        subprocess.run([*gpg, *words, "never"], check=True, capture_output=True)
        listing = _output([*gpg, "--with-colons", "--list-keys"])
        fingerprint = next(it.split(":")[9] for it in listing.splitlines() if it.startswith("fpr"))
        public = _output([*gpg, "--armor", "--export", fingerprint])
        key = Key(home, fingerprint, public)
        key.end_agent()
        yield key


def standard(key: Key, store: Path) -> list[object]:
    """Return the stages of a plain nightly pipeline."""
    return ["sqlite", "archive", {"encrypt": {"recipients": [key.fingerprint]}}, {"store": {"path": str(store)}}]


def agent(name: str, stages: Sequence[object], home: Path, work: Path, key: Key) -> Contestant:
    """This program on its host, without Ansible, with these stages, of which the last stores in ``work/store``."""
    config = write_config(stages, home, work, key)
    argv = (PROGRAM, "agent", "run", PIPELINE, "--config", str(config), "--json")
    return Contestant(name, argv, work / "store", "also checks, counts, indexes, signs, syncs")


def write_config(stages: Sequence[object], home: Path, work: Path, key: Key) -> Path:
    """Write the rendered configuration of one host, and return its folder."""
    made = parse_config({
        "host": HOST, "home": str(home), "state": f"{work}/state", "own_controller": True,
        "public_keys": [key.public], "gnupghome": str(key.home), "pipelines": {PIPELINE: {"stages": list(stages)}},
    })  # fmt: skip
    if not isinstance(made, HostConfig):
        raise SystemExit(f"bench: the configuration is not valid any more: {made}")
    config = work / "config"
    config.mkdir(parents=True)
    (config / f"{HOST}.json").write_text(dump(made), encoding="utf-8")
    return config


def write_inventory(stages: Sequence[object], home: Path, work: Path, key: Key) -> Path:
    """Write an inventory of this one machine, and return its folder."""
    inventory = work / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "keys").mkdir()
    (inventory / "keys" / "bench.asc").write_text(key.public, encoding="ascii")
    (inventory / "hosts.yml").write_text(
        f"all:\n  hosts:\n    {HOST}:\n      ansible_connection: local\n"
        '      ansible_python_interpreter: "{{ ansible_playbook_python }}"\n',
        encoding="utf-8",
    )
    variables = {
        "home": str(home), "recipients": [key.fingerprint], "state": f"{work}/state", "config_dir": f"{work}/config",
        "gnupghome": str(key.home), "memory_max": "6G", "pipelines": {PIPELINE: {"stages": list(stages)}},
    }  # fmt: skip
    said = "".join(f"hermes_backup_{name}: {json.dumps(value)}\n" for name, value in variables.items())
    (inventory / "group_vars" / "all.yml").write_text(said, encoding="utf-8")
    return inventory


def pin(inventory: Path, config: Path, env: Mapping[str, str]) -> None:
    """Make the host's signing key, and let the inventory know it."""
    argv = (PROGRAM, "agent", "key", "--config", str(config))
    said = subprocess.run(argv, check=True, capture_output=True, text=True, env=dict(env)).stdout
    pins = inventory / "keys" / "hosts"
    pins.mkdir(exist_ok=True)
    (pins / f"{HOST}.asc").write_text(json.loads(said)["public_key"], encoding="ascii")


def environment(work: Path) -> dict[str, str]:
    """Return the environment of all contestants: this one, with folders of the benchmark's own for state and cache."""
    ours = {f"XDG_{it}_HOME": str(work / "xdg" / it.lower()) for it in ("CONFIG", "CACHE", "STATE", "DATA")}
    # without it each start compiles all modules anew, as no user's does
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **ours, "NO_COLOR": "1"}


def emptied(contestant: Contestant) -> None:
    """Remove what the last run left."""
    shutil.rmtree(contestant.out, ignore_errors=True)
    contestant.out.mkdir(parents=True, mode=0o700)


def stored(contestant: Contestant) -> int:
    """Return the bytes of all files that a run left."""
    return sum(it.stat().st_size for it in contestant.out.rglob("*") if it.is_file())


def _output(argv: list[str]) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
