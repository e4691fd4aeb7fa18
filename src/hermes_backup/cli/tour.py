"""The end of ``hermes-backup run demo``: the snapshot listed, brought back into a scratch folder, and compared."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hermes_backup.cli.progress import Narrator

if TYPE_CHECKING:
    from rich.console import Console

    from hermes_backup.pipeline.config import HostConfig


def tour(config: HostConfig, pipeline: str, pins: Path, screen: Console) -> None:
    """List, restore, compare, and say how one goes on.

    Raises:
        Fault: what keeps the snapshot from coming back; RESTORE_CHECK when it differs from the home.
    """
    from hermes_backup.errors import RESTORE_CHECK, Fault
    from hermes_backup.home.comparing import compare
    from hermes_backup.pipeline.agent import rules_of
    from hermes_backup.pipeline.amounts import show_seconds, show_size
    from hermes_backup.pipeline.choosing import choose
    from hermes_backup.pipeline.config import pipeline_of
    from hermes_backup.pipeline.homes import declared_home
    from hermes_backup.pipeline.places import pinned_key
    from hermes_backup.pipeline.restoring import restore
    from hermes_backup.pipeline.unpacking import Source

    declared = pipeline_of(config, pipeline)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hb-demo-") as scratch, pinned_key(pins, config.host) as pinned:
        narrator = Narrator(lambda *_: None)
        chosen = choose(config, declared, "latest", config.remotes[0], pinned, narrator)
        screen.print(f"\n{chosen[0].label}/{config.host}/{pipeline}/", style="bold", markup=False)
        for file in chosen[1].files:
            screen.print(f"  {file.name:<48} {show_size(file.size):>8}", markup=False)
        done = restore(Source(config, declared, chosen, pinned), Path(scratch) / "home", narrator)
        seconds = time.monotonic() - started
        seen = compare(declared_home(config), done.target, rules_of(config))
    if seen.differing:
        raise Fault(RESTORE_CHECK, f"restored otherwise: {', '.join(seen.differing)}", where="demo")
    screen.print(
        f"\nbrought back into a scratch folder in {show_seconds(seconds)}, and compared with the home", style="bold"
    )
    for name, rows in seen.databases:
        screen.print(f"  {name:<48} {rows:>8,} rows, each table as in the home", markup=False)
    screen.print(f"  {seen.same} entries the same in content and mode, none different", style="green")
    screen.print("\nnext: hermes-backup init, edit two lines, hermes-backup run prod", style="cyan")
