"""What the render play gives back of a host: values, and where each of them stands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hermes_backup.pipeline.locate import Spot

if TYPE_CHECKING:
    from collections.abc import Mapping

Steps = tuple[str | int, ...]


@dataclass(frozen=True)
class BadTemplate:
    """A template that could not be filled: the value's path, from the variable's name on, and Ansible's words."""

    path: Steps
    what: str
    spot: Spot | None


@dataclass(frozen=True)
class Answer:
    """A host's variables after Jinja2.

    Attributes:
        values: by variable; None in the place of what could not be filled.
        spots: where each mapping, list, text and number starts, by its path from the variable's name on.
        variables: where the value of each variable starts as it was written, before Jinja2.
        become: whether Ansible becomes another user there.
        address: the machine that is reached: two homes on one machine share it.
        secrets: everything of the host that lies in Ansible's vault.
    """

    host: str
    groups: tuple[str, ...]
    connection: str
    become: bool
    address: str
    values: Mapping[str, Any]
    errors: tuple[BadTemplate, ...]
    spots: Mapping[Steps, Spot]
    variables: Mapping[str, Spot | None]
    secrets: tuple[str, ...]


def read_answers(folder: Path) -> tuple[Answer, ...]:
    """Read what the play wrote, one file a host, sorted by the hosts' names."""
    made = [_answer(json.loads(file.read_text(encoding="utf-8"))) for file in folder.glob("*.json")]
    return tuple(sorted(made, key=lambda it: it.host))


def _answer(data: Mapping[str, Any]) -> Answer:
    return Answer(
        host=data["host"],
        groups=tuple(data["groups"]),
        connection=data["connection"],
        become=data["become"],
        address="this machine" if data["connection"] == "local" else f"{data['address']} {data['port']}".strip(),
        values=data["values"],
        errors=tuple(BadTemplate(tuple(it["path"]), it["what"], _spot(it["spot"])) for it in data["errors"]),
        spots={tuple(path): Spot(Path(file), line, column) for path, (file, line, column) in data["spots"]},
        variables={name: _spot(spot) for name, spot in data["variables"].items()},
        secrets=tuple(data["secrets"]),
    )


def _spot(data: Any) -> Spot | None:
    return None if data is None else Spot(Path(data[0]), data[1], data[2])
