"""Containers of Docker: one ``config.v2.json`` each, written when a container is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermes_backup.home.discovery.containers import Container, Mount, mounts
from hermes_backup.home.discovery.files import at, entries, json_of, text_at, texts_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hermes_backup.home.discovery.claim import Account, Host

_ROOTS = ("/var/lib/docker", "/var/snap/docker/common/var-lib-docker")
_REMAPPED = "[0-9]*.[0-9]*"


def docker_containers(host: Host) -> Iterator[Container]:
    """Yield the containers of root's Docker and of every user's own."""
    moved = _moved(host.at("/etc/docker/daemon.json"))
    for root in dict.fromkeys((*_ROOTS, *moved)):
        for folder in (host.at(root), *entries(host.at(root), _REMAPPED)):
            yield from containers_in(folder, host, None)
    for account in host.accounts:
        moved = _moved(host.at(f"{account.home}/.config/docker/daemon.json"))
        for root in (f"{account.home}/.local/share/docker", *moved):
            yield from containers_in(host.at(root), host, account)


def containers_in(folder: Path, host: Host, by: Account | None) -> Iterator[Container]:
    """Yield the containers of one data root."""
    for path in entries(folder, "containers/*/config.v2.json"):
        said = json_of(path)
        found = at(said, "MountPoints")
        points = found.values() if isinstance(found, dict) else ()
        yield Container(
            name=text_at(said, "Name").removeprefix("/"),
            engine="docker",
            image=text_at(said, "Config", "Image"),
            environment=texts_at(said, "Config", "Env"),
            mounts=mounts(_mount(it, folder, host) for it in points),
            by=by,
        )


def _mount(point: Any, folder: Path, host: Host) -> Mount:
    kind, name = text_at(point, "Type"), text_at(point, "Name")
    source = text_at(point, "Source") if kind in {"", "bind", "volume"} else ""
    if name and "/" not in name:
        volume = folder / "volumes" / name
        options = json_of(volume / "opts.json")
        if "bind" in text_at(options, "MountOpts").split(","):
            source = text_at(options, "MountDevice")  # what the volume is, also while no container has it mounted
        elif not source:  # Docker writes none for a volume without a name of its own
            source = f"/{(volume / '_data').relative_to(host.root)}"
    return Mount(source, text_at(point, "Destination"), name)


def _moved(path: Path) -> tuple[str, ...]:
    said = json_of(path)
    root = text_at(said, "data-root") or text_at(said, "graph")
    return (root,) if root.startswith("/") else ()
