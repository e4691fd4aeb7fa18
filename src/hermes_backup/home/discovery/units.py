"""Homes that services of systemd name, or would use by default: users' own services and those of the system."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.home.discovery.claim import Account, Claim, Host, Telling
from hermes_backup.home.discovery.files import entries, text_of
from hermes_backup.home.discovery.unitfile import Service, filled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SYSTEM_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)
"""Where units of the system lie; the first that has one of a name overrides the others."""
USER_FOLDERS = (".config/systemd/user", ".local/share/systemd/user")
"""Where a user's own units lie, in the user's home folder."""

_UNITS = "hermes*.service"
_ENABLED = "*.wants/hermes*@*.service"
_NAME = re.compile(r"(?P<prefix>[^@]+)(?:@(?P<instance>[^@]*))?\.service", re.DOTALL)
_OURSELVES = re.compile(r"(?:\S*/)?hermes-backup\s.*")
_ROOT = Account("root", 0, "/root")


def services(host: Host) -> Iterator[Claim]:
    """Yield what services called ``hermes…`` say of homes."""
    for account in host.accounts:
        yield from _Manager(host, [host.at(f"{account.home}/{it}") for it in USER_FOLDERS], account).claims()
    yield from _Manager(host, [host.at(it) for it in SYSTEM_FOLDERS], None).claims()


@dataclass(frozen=True)
class _Manager:
    """A user's systemd, or for no owner that of the system, and where its units lie."""

    host: Host
    folders: Sequence[Path]
    owner: Account | None

    def claims(self) -> Iterator[Claim]:
        """Yield the claims of its units; a template that nobody enabled an instance of runs nothing."""
        names = {it.name for folder in self.folders for glob in (_UNITS, _ENABLED) for it in entries(folder, glob)}
        for name in sorted(names):
            unit = _NAME.fullmatch(name)
            service = self._read(unit) if unit is not None and unit["instance"] != "" else None
            if unit is not None and service is not None and not _OURSELVES.fullmatch(service.program):
                yield from self._claim(unit, service)

    def _claim(self, unit: re.Match[str], service: Service) -> Iterator[Claim]:
        manager = self.owner or self._account("root") or _ROOT
        name = unit[0].removesuffix(".service")
        specifiers = {
            "h": manager.home, "u": manager.name, "U": str(manager.uid),
            "n": unit[0], "N": name, "p": unit["prefix"], "i": unit["instance"] or "",
            **({} if self.owner else {"S": "/var/lib", "E": "/etc"}),
        }  # fmt: skip
        environment = service.environment(self.host, specifiers)
        how = f"user service {name} of {self.owner.name}" if self.owner else f"system service {name}"
        named = environment.get("HERMES_HOME", "")
        runs_as = self.owner or self._account(filled(service.user, specifiers) or "root")
        home = environment.get("HOME", "") or (runs_as.home if runs_as else "")
        path = named or f"{home}/.hermes"
        if path.startswith("/"):
            yield Claim(path, how, Telling.SERVICE, self.owner, named=bool(named), unit=unit[0])

    def _read(self, unit: re.Match[str]) -> Service | None:
        """Read a unit, or the template that it is an instance of, and the drop-ins of both."""
        names = [unit[0], *([f"{unit['prefix']}@.service"] if unit["instance"] else [])]
        text = next(filter(None, (text_of(folder / name) for name in names for folder in self.folders)), "")
        if not text:
            return None
        service = Service()
        service.take(text)
        places = [folder / f"{name}.d" for folder in reversed(self.folders) for name in reversed(names)]
        drop_ins = {path.name: path for place in places for path in entries(place, "*.conf")}
        for _, path in sorted(drop_ins.items()):
            service.take(text_of(path))
        return service

    def _account(self, name: str) -> Account | None:
        return next((it for it in self.host.accounts if name in {it.name, str(it.uid)}), None)
