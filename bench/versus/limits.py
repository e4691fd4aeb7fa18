"""What this machine does with the home's bytes one step at a time: no backup that takes the step is quicker."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contestants import Key
from bench.versus.contestant import Argv, shell, word
from bench.versus.peers import copied
from bench.versus.results import Limit

if TYPE_CHECKING:
    from bench.versus.race import Stadium

_RUNS = 3


def limits(home: Path, key: Key, stadium: Stadium, spared: int) -> tuple[Limit, ...]:
    """Measure each step alone: the median of three runs, by the programs that every Linux has."""
    work = stadium.work / "limits"
    work.mkdir()
    return tuple(_measured(home, key, stadium, spared, work))


def _measured(home: Path, key: Key, stadium: Stadium, spared: int, work: Path) -> Iterator[Limit]:
    database, copy, packed = home / "state.db", work / "staged" / "state.db", work / "packed.zst"
    gpg = f"gpg --homedir {word(key.home)} --batch --quiet --trust-model always -z 0 -r {key.fingerprint} -o /dev/null"
    steps: tuple[tuple[str, Path, Argv], ...] = (
        ("read from disk", database, ("dd", f"if={database}", "of=/dev/null", "bs=1M", "iflag=direct")),
        ("read from memory", database, ("dd", f"if={database}", "of=/dev/null", "bs=1M")),
        ("copy by sqlite3 .backup", database, shell(copied(home, copy.parent))),
        ("PRAGMA quick_check of the copy", copy, ("sqlite3", str(copy), "PRAGMA quick_check")),
        ("tar", copy, shell(f"tar -c {word(copy)} 2> /dev/null | cat > /dev/null")),
        ("SHA-256", copy, ("openssl", "dgst", "-sha256", str(copy))),
        ("zstd, all cores", copy, shell(f"zstd -q -f -3 -T0 --long {word(copy)} -o {word(packed)}")),
        ("gpg", packed, shell(f"{gpg} --yes -e {word(packed)}")),
    )
    for name, of, argv in steps:
        stadium.say(f"alone: {name}")
        runs = [stadium.run(argv, {}, spared).seconds for _ in range(_RUNS)]
        yield Limit(name, statistics.median(runs), of.stat().st_size)
