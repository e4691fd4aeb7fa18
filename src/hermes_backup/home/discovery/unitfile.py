"""What a service's unit file and its drop-ins say of a process: its environment, its user, its program."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermes_backup.home.discovery.files import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hermes_backup.home.discovery.claim import Host

_SPECIFIER = re.compile("%(.)", re.DOTALL)
_COMMENTS = ("#", ";")


@dataclass
class Service:
    """The parts of ``[Service]`` that tell where a home is, specifiers not yet filled in."""

    user: str = ""
    program: str = ""
    _environment: list[str] = field(default_factory=list)
    _files: list[str] = field(default_factory=list)

    def take(self, text: str) -> None:
        """Take in a unit file or a drop-in; later ones override earlier ones."""
        for key, value in _settings(text):
            if key == "User":
                self.user = value
            elif key == "ExecStart":
                self.program = value
            elif key == "Environment":
                self._environment = [*self._environment, value] if value else []
            elif key == "EnvironmentFile":
                self._files = [*self._files, value] if value else []

    def environment(self, host: Host, specifiers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the environment as far as it is declared: files override the unit, as with systemd."""
        words = (word for value in self._environment for word in _words(filled(value, specifiers)))
        made = dict(_assignments(words))
        for name in self._files:
            path = filled(name.removeprefix("-"), specifiers)
            if path.startswith("/"):
                made.update(_assignments(_lines(text_of(host.at(path)))))
        return made


def filled(value: str, specifiers: Mapping[str, str]) -> str:
    """Fill in specifiers such as ``%h``; one that is not known stays, and so names nothing that is there."""
    known = {"%": "%", **specifiers}
    return _SPECIFIER.sub(lambda match: known.get(match[1], match[0]), value)


def _settings(text: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in _joined(text):
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line:
            key, _, value = line.partition("=")
            yield key.strip(), value.strip()


def _joined(text: str) -> Iterator[str]:
    """Yield lines without comments; one that ends in a backslash goes on in the next."""
    begun = ""
    for raw in text.split("\n"):
        line = raw.strip()
        if line.startswith(_COMMENTS):
            continue
        if line.endswith("\\"):
            begun += line[:-1] + " "
        else:
            yield begun + line
            begun = ""
    yield begun


def _words(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError:
        return []


def _lines(text: str) -> Iterator[str]:
    for line in _joined(text):
        name, sign, value = line.partition("=")
        yield name + sign + "".join(_words(value)[:1] if value[:1] in {"'", '"'} else value)


def _assignments(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, sign, value = word.partition("=")
        if sign:
            yield name.strip(), value.strip()
