"""Containers of Podman: the ``config.json`` that it writes for the runtime at each start, and its list of names."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from hermes_backup.home.discovery.containers import Container, Mount, mounts
from hermes_backup.home.discovery.files import MISREAD, at, entries, json_of, text_at, text_of, texts_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hermes_backup.home.discovery.claim import Account, Host

_ROOT = "/var/lib/containers/storage"
_VOLUME = re.compile(r".*/volumes/([^/]+)/_data", re.DOTALL)
_MOVED = re.compile(r'^\s*(?:graphroot|rootless_storage_path)\s*=\s*"(/[^"$]*)"', re.MULTILINE)


def podman_containers(host: Host) -> Iterator[Container]:
    """Yield the containers of root's Podman and of every user's own."""
    for root in dict.fromkeys((_ROOT, *_MOVED.findall(text_of(host.at("/etc/containers/storage.conf"))))):
        yield from containers_in(host.at(root), None)
    for account in host.accounts:
        moved = _MOVED.findall(text_of(host.at(f"{account.home}/.config/containers/storage.conf")))
        for root in (f"{account.home}/.local/share/containers/storage", *moved):
            yield from containers_in(host.at(root), account)


def containers_in(storage: Path, by: Account | None) -> Iterator[Container]:
    """Yield the containers of one storage that were started at least once."""
    for folder in entries(storage, "*-containers"):
        known = _known(json_of(folder / "containers.json"))
        for path in entries(folder, "*/userdata/config.json"):
            said = json_of(path)
            listed = known.get(path.parent.parent.name)
            found = at(said, "mounts")
            yield Container(
                name=next(iter(texts_at(listed, "names")), path.parent.parent.name[:12]),
                engine="podman",
                image=text_at(_metadata(listed), "image-name"),
                environment=texts_at(said, "process", "env"),
                mounts=mounts(_mount(it) for it in found) if isinstance(found, list) else (),
                by=by,
            )


def _known(listed: Any) -> Mapping[str, Any]:
    return {text_at(it, "id"): it for it in listed} if isinstance(listed, list) else {}


def _metadata(listed: Any) -> Any:
    try:
        return json.loads(text_at(listed, "metadata"))
    except MISREAD:
        return None


def _mount(given: Any) -> Mount:
    source = text_at(given, "source") if text_at(given, "type") == "bind" else ""
    volume = _VOLUME.fullmatch(source)
    return Mount(source, text_at(given, "destination"), volume[1] if volume else "")
