"""Every source's word, put to the proof and together: one home for each real folder."""

from __future__ import annotations

import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hermes_backup.home.discovery.accounts import host_at
from hermes_backup.home.discovery.claim import Claim, Host, Telling
from hermes_backup.home.discovery.docker import docker_containers
from hermes_backup.home.discovery.files import MISREAD
from hermes_backup.home.discovery.podman import podman_containers
from hermes_backup.home.discovery.units import services
from hermes_backup.home.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LOOKED_AT = "the .hermes of every user, services called hermes*, and containers of Docker and Podman"

_PROVES = frozenset({"SOUL.md", "state.db"})
_SPEAKS_FOR = frozenset(
    {".env", "auth.json", "config.yaml", "cron", "kanban.db", "memories", "profiles", "sessions", "skills"}
)
_PROFILES = "profiles"


@dataclass(frozen=True)
class FoundHome:
    """A Hermes home on this host.

    ``path`` has no links in it. ``uid`` and ``user`` are the folder's owner; ``user`` is empty where the number has
    no name, as in containers. ``how`` says how it was found. ``within`` is the home that it is a profile of, and
    whose backup therefore holds it, if that was found too.
    """

    path: Path
    uid: int
    user: str
    how: str
    within: Path | None = None


def discover(root: Path = Path("/")) -> tuple[FoundHome, ...]:
    """Find the Hermes homes of the host whose file system is at ``root``, sorted by path.

    What cannot be read, or makes no sense, is passed over; nothing that lies there is run.
    """
    host = host_at(root.resolve())
    claims = sorted(_claims(host), key=lambda it: it.telling)
    proven = [(claim, home) for claim in claims if (home := _home_at(host, claim, host.at(claim.path)))]
    found: dict[Path, FoundHome] = {}
    for home in (*(home for _, home in proven), *_homes_of_profiles(host, proven)):
        found.setdefault(home.path, home)
    return tuple(replace(found[path], within=_whole(path, found)) for path in sorted(found))


def _claims(host: Host) -> Iterator[Claim]:
    yield from services(host)
    for container in (*docker_containers(host), *podman_containers(host)):
        claim = container.claim()
        if claim is not None:
            yield claim
    for account in host.accounts:
        how = f"home folder of {account.name}"
        yield Claim(f"{account.home}/.hermes", how, Telling.FOLDER, account, named=False)


def _homes_of_profiles(host: Host, proven: Iterable[tuple[Claim, FoundHome]]) -> Iterator[FoundHome]:
    """Yield the homes that the found ones are profiles of: it may be that only a profile has a service."""
    for claim, home in proven:
        if home.path.parent.name == _PROFILES:
            whole = replace(claim, how=f"{claim.how}, which runs a profile of it", named=False)
            outer = _home_at(host, whole, home.path.parent.parent)
            if outer is not None:
                yield outer


def _home_at(host: Host, claim: Claim, place: Path) -> FoundHome | None:
    """Return the home at a place that a claim speaks of; None when it is none, or the claim counts for nothing."""
    try:
        real = place.resolve(strict=True)
        status = real.stat()
        if not stat.S_ISDIR(status.st_mode) or not _may_name(host, claim, real, status.st_uid):
            return None
        names = frozenset(it.name for it in real.iterdir())
    except MISREAD:
        return None
    if not claim.named and not _is_home(names):
        return None
    user = next((it.name for it in host.accounts if it.uid == status.st_uid), "")
    return FoundHome(real, status.st_uid, printable(user), printable(claim.how))


def _is_home(names: frozenset[str]) -> bool:
    """Say whether these names are those of a Hermes home, and not of another program called Hermes."""
    return bool(names & _PROVES) or len(names & _SPEAKS_FOR) > 1


def _may_name(host: Host, claim: Claim, real: Path, uid: int) -> bool:
    """Say whether a source's word goes for a folder: what a user writes counts for no folder of another's."""
    if claim.beneath and not real.is_relative_to(host.at(claim.beneath).resolve()):
        return False
    by = claim.by
    if by is None or by.uid in {0, uid} or any(uid in numbers for numbers in by.lent):
        return True
    return real.is_relative_to(host.at(by.home).resolve())


def _whole(path: Path, found: dict[Path, FoundHome]) -> Path | None:
    outer = path.parent.parent
    return outer if path.parent.name == _PROFILES and outer in found else None
