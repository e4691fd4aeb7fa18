"""What the built-in inventory ``demo`` needs before it can be used: a folder of its own with everything in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import platformdirs

from hermes_backup import APP
from hermes_backup.errors import KEY_INVALID, Fault, from_system
from hermes_backup.fleet.inventory import Inventory
from hermes_backup.home.sample import make_sample
from hermes_backup.streams.keys import end_agent
from hermes_backup.streams.private import write_private
from hermes_backup.streams.process import Argument, run

NAME = "demo"
_GNUPG = "gnupg"
_USER = "hermes-backup demo"


def demo_root() -> Path:
    """Return the folder that holds the demo's home, keys, store and remote."""
    return platformdirs.user_cache_path(APP) / NAME


def prepare_demo(root: Path) -> dict[str, str]:
    """Make the demo's sample home and its key, unless they are there; return its variables.

    Raises:
        Fault: KEY_INVALID when gpg makes no key, TOOL_MISSING, DISK_FULL, STAGE_FAILED when the system refuses it.
    """
    try:
        _make_home(root)
    except OSError as error:
        raise from_system(error, str(root)) from None
    return {"hermes_backup_demo_root": str(root), "hermes_backup_demo_recipient": _recipient(root)}


def _make_home(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    home = root / "home"
    if not home.is_dir():
        with tempfile.TemporaryDirectory(prefix="making-", dir=root) as folder:
            make_sample(Path(folder) / "home")
            (Path(folder) / "home").rename(home)


def is_demo(inventory: Inventory) -> bool:
    """Tell whether this is the built-in demo."""
    return inventory.built_in and inventory.name == NAME


def prepared(inventory: Inventory) -> Inventory:
    """Return the inventory, ready for use; only the built-in ``demo`` needs anything."""
    if not is_demo(inventory):
        return inventory
    root = demo_root()
    settings = tuple(prepare_demo(root).items())
    return replace(inventory, settings=settings, keys=root / "keys", pins=root / "keys" / "hosts")


@contextmanager
def without_agent() -> Iterator[None]:
    """End the gpg-agent that the demo's own private key has started meanwhile."""
    try:
        yield
    finally:
        end_agent(demo_root() / _GNUPG, stage=NAME)


def _recipient(root: Path) -> str:
    """Return the fingerprint of the demo's key; its public half lies in ``keys/`` once all is made."""
    fingerprint = root / "recipient"
    if fingerprint.is_file():
        return fingerprint.read_text(encoding="ascii").strip()
    home = root / _GNUPG
    home.mkdir(exist_ok=True, mode=0o700)
    _gpg(home, "--passphrase", "", "--quick-generate-key", _USER, "future-default", "default", "never")
    listing = _gpg(home, "--with-colons", "--list-keys", _USER).decode()
    made = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
    (root / "keys").mkdir(exist_ok=True)
    write_private(root / "keys" / "demo.asc", _gpg(home, "--armor", "--export", made))
    write_private(fingerprint, made.encode())
    end_agent(home, stage=NAME)
    return made


def _gpg(home: Path, *words: str) -> bytes:
    argv: list[Argument] = ["gpg", "--homedir", home, "--batch", "--no-tty", "--no-options", *words]
    done = run(argv, stage="demo")
    if done.returncode != 0:
        raise Fault(KEY_INVALID, f"gpg makes no key: {done.stderr.strip()}", where=str(home))
    return done.stdout
