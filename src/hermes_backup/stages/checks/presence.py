"""Is there what must be there?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hermes_backup.stages.things import Finding, Tree


def presence(tree: Tree, names: Sequence[str]) -> Iterator[Finding]:
    """Look for files and folders by the names that the configuration gives."""
    for name in names:
        said = _seen(tree.root / name)
        yield Finding(name, "ok" if said == "present" else "failed", said)


def _seen(path: Path) -> str:
    if not os.path.lexists(path):
        return "missing"
    if path.is_symlink():
        return "present" if path.exists() else "a link to nowhere"
    return "present" if path.is_dir() or path.stat().st_size else "an empty file"
