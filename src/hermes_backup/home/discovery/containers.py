"""Homes in containers of Docker and Podman, as the folders and volumes of the host that are mounted there."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.home.discovery.claim import Account, Claim, Telling
from hermes_backup.home.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DEFAULT_HOME = "/opt/data"
"""Where the image of hermes-agent keeps its home."""

_IMAGE = re.compile(r"(?:.*/)?hermes-agent(?:[:@].*)?", re.DOTALL)
_VARIABLE = "HERMES_HOME="


@dataclass(frozen=True)
class Mount:
    """Something of the host, a folder or a volume by its name, that a container sees at ``target``.

    ``source`` is empty for what is nowhere on the host, as a tmpfs is.
    """

    source: str
    target: str
    volume: str = ""


@dataclass(frozen=True)
class Container:
    """A container as its engine wrote it down; ``by`` is the user whose engine it is, None for root's."""

    name: str
    engine: str
    image: str
    environment: Sequence[str]
    mounts: Sequence[Mount]
    by: Account | None

    def claim(self) -> Claim | None:
        """Say where on the host the home of this container is, if it has one there."""
        home = self._home()
        over = [it for it in self.mounts if _holds(it.target, home)] if home else []
        mount = max(over, key=lambda it: len(it.target), default=None)
        if mount is None or not mount.source.startswith("/"):
            return None
        path = posixpath.join(mount.source, posixpath.relpath(home, mount.target))
        return Claim(posixpath.normpath(path), self._how(mount, home), Telling.CONTAINER, self.by, beneath=mount.source)

    def _home(self) -> str:
        said = [it.removeprefix(_VARIABLE) for it in self.environment if it.startswith(_VARIABLE)]
        default = DEFAULT_HOME if _IMAGE.fullmatch(self.image) else ""
        home = said[-1] if said and said[-1] else default
        return _normal(home)

    def _how(self, mount: Mount, home: str) -> str:
        whose = f"{self.engine} of {self.by.name}" if self.by else self.engine
        how = f"container {printable(self.name)} ({whose})"
        if mount.volume:
            how += f", volume {printable(mount.volume)}"
        inner = sorted({it.target for it in self.mounts if it.target != home and _holds(home, it.target)})
        return how + (f", without what is mounted at {', '.join(map(printable, inner))}" if inner else "")


def mounts(given: Iterable[Mount]) -> tuple[Mount, ...]:
    """Return those mounts that have an absolute target, in its plainest form."""
    normal = (Mount(it.source, _normal(it.target), it.volume) for it in given)
    return tuple(it for it in normal if it.target)


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _normal(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/") if path.startswith("/") else ""
