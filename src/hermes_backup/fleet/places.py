"""From a path in a host's values to ``file:line:column``.

Ansible says where each value came from (its tag ``Origin``, ansible-core 2.19), the YAML file where its key stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.pipeline.locate import Definition, Document, Spot

if TYPE_CHECKING:
    from pathlib import Path

    from hermes_backup.fleet.answers import Answer, Steps
    from hermes_backup.fleet.inventory import Inventory


@dataclass(frozen=True)
class Places:
    """Finds places in the values of one host."""

    inventory: Inventory
    answer: Answer
    documents: Mapping[Path, Document]

    def find(self, path: Steps) -> Spot:
        """Return where the key or item of a path stands, or the nearest thing around it that stands in a file."""
        path = self._existing(path)
        while len(path) > 1:
            around = self.answer.spots.get(path[:-1])
            document = None if around is None else self.documents.get(around.file)
            found = None if around is None or document is None else document.below(around, path[-1])
            found = found or self.answer.spots.get(path)
            if found is not None:
                return found
            path = path[:-1]
        return self.variable(str(path[0]))

    def variable(self, name: str) -> Spot:
        """Return where a variable is set for this host; the inventory's file when it is set nowhere."""
        value = self.answer.variables.get(name)
        if value is None:  # null, true and false carry no origin: look for the key where Ansible would
            return self._by_precedence(name)
        document = self.documents.get(value.file)
        keys = [] if document is None else [it for it in document.definitions() if it.name == name]
        return next((it.spot for it in keys if it.value == value), value)

    def host(self) -> Spot:
        """Return where the host is named."""
        return self._named(self.inventory.hosts_file, self.answer.host) or Spot(self.inventory.hosts_file)

    def _existing(self, path: Steps) -> Steps:
        """Leave out the steps that are not in the data: pydantic also names the alternative that it tried."""
        value, kept = self.answer.values.get(str(path[0])), [path[0]]
        for step in path[1:-1]:
            if isinstance(value, Mapping) and step in value:
                value = value[str(step)]
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                value = value[step]
            else:
                continue
            kept.append(step)
        return (*kept, path[-1]) if len(path) > 1 else tuple(kept)

    def _by_precedence(self, name: str) -> Spot:
        folder, host = self.inventory.folder, self.answer.host
        owners = [folder / "host_vars" / host]
        owners += [folder / "group_vars" / group for group in (*reversed(self.answer.groups), "all")]
        for owner in owners:
            for file in reversed(list(self.inventory.yaml_files())):
                if file.with_suffix("") == owner or owner in file.parents:
                    found = self._named(file, name)
                    if found is not None:
                        return found
        return self._named(self.inventory.hosts_file, name) or Spot(self.inventory.hosts_file)

    def _named(self, file: Path, name: str) -> Spot | None:
        document = self.documents.get(file)
        found: list[Definition] = []
        if document is not None:
            found = [it for it in document.definitions() if it.name == name]
        return found[-1].spot if found else None
