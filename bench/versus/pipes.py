"""The recipe of the guides, and bare pipes: what gpg, tar and zstd do on this machine, with nothing beside it."""

from __future__ import annotations

from pathlib import Path

from bench.contestants import Key
from bench.versus.contestant import Contestant, Kind, back, repository, shell, word
from bench.versus.peers import copied

RECIPE = "sqlite3 .backup; tar -cz | gpg -e"
PIPE = "sqlite3 .backup; tar | zstd -T0 --long | gpg -z 0"
COPY = "sqlite3 .backup; tar | zstd -T0 --long"


def pipes(home: Path, work: Path, key: Key) -> tuple[Contestant, ...]:
    """Return all; each has a folder of its own in ``work``."""
    gpg = f"gpg --homedir {word(key.home)} --batch --quiet --trust-model always"
    to = f"{gpg} -r {key.fingerprint}"
    each = "whole each day"
    zstd = "zstd -q -T0 --long"
    return (
        _pipe(RECIPE, "peer", home, work / "recipe", f"gzip | {to} -e", f"{gpg} -d | gzip -d", each),
        _pipe(PIPE, "peer", home, work / "pipe", f"{zstd} | {to} -z 0 -e", f"{gpg} -d | zstd -dq", each),
        _pipe(COPY, "limit", home, work / "copy", zstd, "zstd -dq", f"not encrypted; {each}"),
    )


def _pipe(name: str, kind: Kind, home: Path, folder: Path, pack: str, unpack: str, note: str) -> Contestant:
    """Pipe the home into one file; a copy of the database takes the place of the live one."""
    staged, archive = folder / "staged", word(repository(folder))
    live = "--exclude=./state.db --exclude=./state.db-wal --exclude=./state.db-shm --exclude=./logs"
    opened = f'"$(ls {archive}/* | tail -1)"'
    unpacked = f"< {opened} {unpack} | tar -x -C {word(back(folder))}"
    return Contestant(
        name=name,
        kind=kind,
        folder=folder,
        backup=shell(
            copied(home, staged),
            f"tar -c {live} -C {word(home)} . -C {word(staged)} state.db | {pack} > {archive}/$(date +%s.%N)",
            f"rm -rf {word(staged)}",
        ),
        restore=shell(unpacked),
        one=shell(f"{unpacked} ./SOUL.md"),
        alone=True,
        note=note,
    )
