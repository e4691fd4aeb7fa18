"""Stage ``store``: a folder on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from pydantic import field_validator

from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.stages.context import Context
from hermes_backup.stages.copying import Target
from hermes_backup.stages.destination import Destination


class Store(Destination):
    """Keep the snapshot in a folder of this machine: 0700, its files 0600."""

    name: ClassVar[str] = "store"

    path: Path
    """The folder; made if it is not there."""

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        expanded = value.expanduser()
        if not expanded.is_absolute():
            raise ValueError(f"{value} is not an absolute path")
        return expanded

    @property
    def addresses(self) -> tuple[str, ...]:
        """The folder."""
        return (os.path.normpath(self.path),)

    def targets(self, context: Context) -> tuple[Target, ...]:
        """The folder."""
        del context
        return (Target(self.name, FolderPlace(self.path)),)

    def plan(self, context: Context) -> tuple[str, ...]:
        """Say where."""
        del context
        return (f"store in {self.path}",)
