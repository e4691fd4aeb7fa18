"""Which inventory is meant by a path or a name, and what lies in it.

A name is looked up in ``./inventory``, in the user's and the system's configuration folders, and among the
built-in ones.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from hermes_backup import APP
from hermes_backup.errors import INVENTORY_MISSING, Fault
from hermes_backup.pipeline.locate import shown
from hermes_backup.pipeline.model import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

_SYSTEM = Path("/etc/hermes-backup/inventory")
_HOSTS_FILES = ("hosts.yml", "hosts.yaml", "hosts", "hosts.ini", "inventory.yml", "inventory.yaml", "inventory.ini")


@dataclass(frozen=True)
class Inventory:
    """An inventory on disk.

    Attributes:
        folder: holds ``group_vars/``, ``host_vars/`` and ``keys/``.
        hosts_file: what Ansible is given.
        keys: the folder of the recipients' public keys, ``*.asc``.
        pins: the folder of the hosts' pinned signing keys, ``<host>.asc``.
        settings: variables that the program adds, each a name and a value.
    """

    name: str
    folder: Path
    hosts_file: Path
    keys: Path
    pins: Path
    built_in: bool = False
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def drills(self) -> Path:
        """The folder of what this machine keeps of its hosts' drills."""
        return self._state("drills")

    @property
    def history(self) -> Path:
        """The folder of what this machine has seen of its hosts' snapshots."""
        return self._state("history")

    def _state(self, what: str) -> Path:
        """Return a folder of this machine's for this inventory; another one may have the same name."""
        which = hashlib.sha256(os.fsencode(self.hosts_file.resolve())).hexdigest()[:8]
        return platformdirs.user_state_path(APP) / what / f"{self.name}-{which}"

    def yaml_files(self) -> Iterator[Path]:
        """The files that may hold variables: of the hosts, the groups and each host, in a fixed order."""
        if self.hosts_file.suffix in (".yml", ".yaml"):
            yield self.hosts_file
        for part in ("group_vars", "host_vars"):
            for file in sorted((self.folder / part).rglob("*")):
                if file.is_file() and file.suffix in ("", ".yml", ".yaml") and not file.name.startswith("."):
                    yield file


def find_inventory(wanted: str) -> Inventory:
    """Return the inventory of a path or a name.

    Raises:
        Fault: INVENTORY_MISSING, with the names that there are and the nearest.
    """
    if wanted in ("", ".", "..") or "/" in wanted:
        return _at(Path(os.path.expanduser(wanted or ".")).resolve())  # noqa: PTH111 - pathlib raises for an unknown user
    for folder in search_path():
        if _is_there(folder / wanted):
            return _at(folder / wanted, built_in=folder == data_folder("inventory"))
    if _is_there(Path(wanted)):
        return _at(Path(wanted).resolve())
    known = names()
    near = nearest(wanted, known)
    raise Fault(
        INVENTORY_MISSING,
        f"no inventory {wanted!r}; there are: {', '.join(known) or 'none'}",
        mend=f"{near if near.endswith('?') else f'{near}.'} Or make one: hermes-backup init NAME.",
    )


def names() -> tuple[str, ...]:
    """Every name that :func:`find_inventory` finds."""
    found: dict[str, None] = {}
    for folder in search_path():
        if folder.is_dir():
            found.update(dict.fromkeys(it.name for it in sorted(folder.iterdir()) if _hosts_file(it) is not None))
    return tuple(found)


def search_path() -> tuple[Path, ...]:
    """The folders in which a name is looked up, the first wins."""
    return (
        Path.cwd() / "inventory",
        platformdirs.user_config_path(APP) / "inventory",
        _SYSTEM,
        data_folder("inventory"),
    )


def data_folder(name: str) -> Path:
    """Return the folder ``inventory``, ``playbooks`` or ``roles``: in the package, else in the checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / name
    return inside if inside.is_dir() else package.parent.parent / name


def _at(place: Path, *, built_in: bool = False) -> Inventory:
    hosts_file = place if _is_there(place) and place.is_file() else _hosts_file(place)
    if hosts_file is None:
        looked = ", ".join(_HOSTS_FILES[:4])
        what = f"holds none of {looked}" if _is_there(place) else "does not exist"
        raise Fault(INVENTORY_MISSING, what, where=shown(place))
    folder = hosts_file.parent
    name = folder.name if hosts_file.name in _HOSTS_FILES else hosts_file.stem
    mine = platformdirs.user_state_path(APP) / "inventory" / name
    writable = not built_in and os.access(folder, os.W_OK)
    pins = (folder if writable else mine) / "keys" / "hosts"
    return Inventory(name, folder, hosts_file, folder / "keys", pins, built_in)


def _is_there(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:  # a name that no file can have
        return False


def _hosts_file(folder: Path) -> Path | None:
    return next((folder / it for it in _HOSTS_FILES if _is_there(folder / it) and (folder / it).is_file()), None)
