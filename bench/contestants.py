"""The contestants: shell recipes as people write them, and this program as its users start it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.pipeline.config import HostConfig, dump, parse_config

AGENT = "hermes-backup agent run"
RUN = "hermes-backup run (Ansible)"
RECIPE = "sqlite3 .backup; tar -cz | gpg -e"
PIPE = "tar | zstd -T0 --long | gpg -z 0"
COPY_PIPE = "sqlite3 .backup; tar | zstd -T0 --long | gpg -z 0"
HOST, PIPELINE = "bench", "nightly"
WHOLE = {"sqlite": {"search_indexes": "keep"}}  # as every recipe takes databases
PROGRAM = str(Path(sys.executable).parent / "hermes-backup")


@dataclass(frozen=True)
class Key:
    """A recipient: its GNUPGHOME, its fingerprint and its public key."""

    home: Path
    fingerprint: str
    public: str


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
        subprocess.run(["gpgconf", "--homedir", name, "--kill", "all"], check=True, capture_output=True)
        yield Key(home, fingerprint, public)


def contestants(home: Path, work: Path, key: Key) -> tuple[Contestant, ...]:
    """Return all, for one home; ``work`` is a folder of ours on the same file system."""
    recipes = [_recipe(name, home, work, key) for name in (RECIPE, COPY_PIPE, PIPE)]
    return (agent(home, work / "agent", key), fleet(home, work / "fleet", key), *recipes)


def agent(home: Path, work: Path, key: Key) -> Contestant:
    """This program on its host, without Ansible, with a rendered configuration."""
    stages = [WHOLE, "archive", {"encrypt": {"recipients": [key.fingerprint]}}, {"store": {"path": f"{work}/store"}}]
    return agent_with(stages, AGENT, home, work, key)


def agent_with(stages: Sequence[object], name: str, home: Path, work: Path, key: Key) -> Contestant:
    """This program on its host, with these stages."""
    config = work / "config"
    config.mkdir(parents=True)
    (config / f"{HOST}.json").write_text(dump(_config(stages, home, work, key)), encoding="utf-8")
    argv = (PROGRAM, "agent", "run", PIPELINE, "--config", str(config), "--json")
    return Contestant(name, argv, work / "store", "also checks, counts, indexes, signs, syncs")


def fleet(home: Path, work: Path, key: Key) -> Contestant:
    """This program from its controller: an inventory with this machine in it, through Ansible."""
    inventory = write_inventory(home, work, key)
    return Contestant(RUN, (PROGRAM, "run", str(inventory), "--json"), work / "store", "the same, through Ansible")


def write_inventory(home: Path, work: Path, key: Key) -> Path:
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
    (inventory / "group_vars" / "all.yml").write_text(
        f"hermes_backup_home: {home}\n"
        f"hermes_backup_recipients: [{key.fingerprint}]\n"
        f"hermes_backup_state: {work}/state\n"
        f"hermes_backup_config_dir: {work}/config\n"
        f"hermes_backup_gnupghome: {key.home}\n"
        "hermes_backup_pipelines:\n"
        f"  {PIPELINE}:\n"
        "    stages:\n"
        f"      - {json.dumps(WHOLE)}\n"
        "      - archive:\n"
        f"      - encrypt: {{recipients: [{key.fingerprint}]}}\n"
        f"      - store: {{path: {work}/store}}\n",
        encoding="utf-8",
    )
    return inventory


def _config(stages: Sequence[object], home: Path, work: Path, key: Key) -> HostConfig:
    made = parse_config({
        "host": HOST, "home": str(home), "state": f"{work}/state", "own_controller": True,
        "public_keys": [key.public], "gnupghome": str(key.home), "pipelines": {PIPELINE: {"stages": list(stages)}},
    })  # fmt: skip
    if not isinstance(made, HostConfig):
        raise SystemExit(f"bench: the configuration is not valid any more: {made}")
    return made


def _recipe(name: str, home: Path, work: Path, key: Key) -> Contestant:
    """A shell pipe into one file. ``-z 0`` apart, gpg is as it comes; with a copy, the copy replaces the database."""
    out = work / f"recipe-{name == RECIPE}-{'.backup' in name}"
    staged = out / "staged"
    gpg = f"gpg --homedir {shlex.quote(str(key.home))} --batch --quiet --trust-model always -r {key.fingerprint}"
    what = f"-C {shlex.quote(str(home))} ."
    copy = ""
    if ".backup" in name:
        copy = f"mkdir {staged} && sqlite3 {shlex.quote(f'{home}/state.db')} \".backup '{staged}/state.db'\" && "
        what = f"--exclude=./state.db --exclude=./state.db-wal --exclude=./state.db-shm {what} -C {staged} state.db"
    tail = f"> {out}/archive && rm -rf {staged}"
    if name == RECIPE:
        command = f"{copy} tar -czf - {what} | {gpg} -e {tail}"
    else:
        command = f"{copy} tar -cf - {what} | zstd -q -T0 --long | {gpg} -z 0 -e {tail}"
    note = "" if copy else "the live database as it lies: no backup"
    return Contestant(name, ("bash", "-o", "pipefail", "-c", command), out, note)


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
