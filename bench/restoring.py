"""The way back: a whole home, one file of it, and looks into snapshots, against gpg and tar by hand."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from bench.contestants import COPY_PIPE, HOST, PROGRAM, RECIPE, Contestant, Key, contestants, fleet

RESTORE = "hermes-backup restore --to"
ONE = "hermes-backup restore --path SOUL.md"
UNPACK = "gpg -d | tar -xz"
UNPACK_ZSTD = "gpg -d | zstd -d | tar -x"


def backups(home: Path, work: Path, key: Key) -> tuple[Contestant, ...]:
    """Return what must run first: this program twice, so that there is something to compare, and the recipes."""
    recipes = [it for it in contestants(home, work / "recipes", key) if it.name in (RECIPE, COPY_PIPE)]
    return (fleet(home, work / "fleet", key), *recipes)


def ways_back(made: Sequence[Contestant], work: Path, key: Key) -> tuple[Contestant, ...]:
    """Return all ways to bring back what ``backups`` made."""
    ours, recipe, pipe = made
    inventory = str(ours.out.parent / "inventory")
    whole, one = work / "whole", work / "one"
    return (
        Contestant(RESTORE, (PROGRAM, "restore", inventory, HOST, "--to", str(whole), "--json"), whole,
                   "also proves, checks, counts"),
        Contestant(ONE, (PROGRAM, "restore", inventory, HOST, "--path", "SOUL.md", "--to", str(one), "--json"), one,
                   "proves every byte"),
        _by_hand(UNPACK, recipe.out / "archive", "tar -xzf -", work / "by-hand", key),
        _by_hand(UNPACK_ZSTD, pipe.out / "archive", "zstd -dq | tar -xf -", work / "by-hand-zstd", key),
    )  # fmt: skip


def looks(made: Sequence[Contestant]) -> dict[str, tuple[str, ...]]:
    """Return the commands that look into snapshots without fetching data."""
    inventory = str(made[0].out.parent / "inventory")
    return {
        "ls": (PROGRAM, "ls", inventory, HOST),
        "diff": (PROGRAM, "diff", inventory, HOST, "--no-content"),
        "find": (PROGRAM, "find", inventory, HOST, "SOUL.md"),
    }


def _by_hand(name: str, archive: Path, unpack: str, out: Path, key: Key) -> Contestant:
    gpg = f"gpg --homedir {shlex.quote(str(key.home))} --batch --quiet --decrypt {shlex.quote(str(archive))}"
    command = f"{gpg} | {unpack} -C {shlex.quote(str(out))}"
    return Contestant(name, ("bash", "-o", "pipefail", "-c", command), out)
