"""What the built-in inventory ``demo`` needs before it can be used: a folder of its own with everything in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import platformdirs

from hermes_backup.fleet.inventory import APP, Inventory

if TYPE_CHECKING:
    from pathlib import Path

NAME = "demo"


def demo_root() -> Path:
    """Return the folder that holds the demo's home, keys, store and remote."""
    return platformdirs.user_cache_path(APP) / NAME


def prepare_demo(root: Path) -> dict[str, str]:
    """Make the demo's sample home and its key, unless they are there; return its variables."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return {"hermes_backup_demo_root": str(root), "hermes_backup_demo_recipient": _recipient(root)}


def prepared(inventory: Inventory) -> Inventory:
    """Return the inventory, ready for use; only the built-in ``demo`` needs anything."""
    if not inventory.built_in or inventory.name != NAME:
        return inventory
    root = demo_root()
    settings = tuple(prepare_demo(root).items())
    return replace(inventory, settings=settings, keys=root / "keys", pins=root / "keys" / "hosts")


def _recipient(root: Path) -> str:
    file = root / "recipient"
    return file.read_text(encoding="ascii").strip() if file.is_file() else ""
