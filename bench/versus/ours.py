"""This program: its agent on the host that it saves, and the restore on the machine that has the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import contestants as field
from bench.contestants import HOST, PIPELINE, PROGRAM, Key
from bench.versus.contestant import Contestant, back, repository, shell, word

_BOUND = 300_000_000  # bytes
_ALLOWANCE = {"keep": 2816, "auto": 768}  # MiB, for the last full archive and the new one: with a state.db of 1 GB
_WITH_DELTA = (False, True)


@dataclass(frozen=True)
class Variant:
    """One way to set up the pipeline."""

    search_indexes: str
    delta: bool

    @property
    def name(self) -> str:
        """As it stands in tables."""
        return f"hermes-backup, {self.search_indexes}{', delta' if self.delta else ''}"

    @property
    def memory(self) -> int:
        """The bytes that it may take."""
        return _ALLOWANCE[self.search_indexes] << 20 if self.delta else _BOUND

    def stages(self, key: Key, store: Path) -> list[object]:
        """Return the pipeline's stages."""
        allowed = f"{_ALLOWANCE[self.search_indexes]}M"
        archive = {"delta": {"full_every": "14d", "memory": allowed}} if self.delta else {}
        return [
            {"sqlite": {"search_indexes": self.search_indexes}},
            {"archive": archive},
            {"encrypt": {"recipients": [key.fingerprint]}},
            {"store": {"path": str(store)}},
        ]


VARIANTS = tuple(Variant(mode, delta) for delta in _WITH_DELTA for mode in ("keep", "auto"))
RUN = "hermes-backup run (Ansible)"
KEEP = VARIANTS[0].name
LEAN = VARIANTS[1].name
DAILY = VARIANTS[-1].name
"""As it comes; the leanest first backup; the leanest daily one."""


def ours(home: Path, work: Path, key: Key, env: Mapping[str, str]) -> tuple[Contestant, ...]:
    """Return every variant, each with a folder and a signing key of its own, and the first through Ansible."""
    agents = [_agent(it, home, work / f"ours-{number}", key, env) for number, it in enumerate(VARIANTS)]
    return (*agents, _through_ansible(home, work / "ansible", key))


def _agent(variant: Variant, home: Path, folder: Path, key: Key, env: Mapping[str, str]) -> Contestant:
    stages = variant.stages(key, repository(folder))
    config = field.write_config(stages, home, folder, key)
    inventory = field.write_inventory(stages, home, folder, key)
    field.pin(inventory, config, env)
    run = (PROGRAM, "agent", "run", PIPELINE, "--config", str(config), "--json")
    restore = (PROGRAM, "restore", str(inventory), HOST, "--to", str(back(folder)), "--json")
    lean = variant.search_indexes == "auto"
    return Contestant(
        name=variant.name,
        kind="ours",
        folder=folder,
        prepare=shell(f"rm -rf {word(folder / 'state' / HOST / PIPELINE)}"),
        backup=run,
        unchanged=(*run, "--if-changed"),
        restore=restore,
        leave=(*restore, "--leave-indexes-to-hermes") if lean else None,
        one=(*restore, "--path", "SOUL.md"),
        alone=not variant.delta,
        version=(PROGRAM, "--version"),
        note="checks, counts, lists, signs, syncs",
        memory=variant.memory,
    )


def _through_ansible(home: Path, folder: Path, key: Key) -> Contestant:
    """The first variant from its controller: an inventory with this machine in it."""
    stages = VARIANTS[0].stages(key, repository(folder))
    inventory = field.write_inventory(stages, home, folder, key)
    return Contestant(
        name=RUN,
        kind="ours",
        folder=folder,
        backup=(PROGRAM, "run", str(inventory), "--json"),
        restore=(),
        first_only=True,
        note="as keep, with its controller on this machine",
    )
