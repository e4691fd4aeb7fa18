"""Is there what must be there?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from hermes_backup.stages.things import Finding, Tree


def presence(tree: Tree, names: Sequence[str]) -> Iterator[Finding]:
    """Look for files and folders by the names that the configuration gives."""
    for name in names:
        there = os.path.lexists(tree.root / name)
        yield Finding(name, "ok" if there else "failed", "present" if there else "missing")
