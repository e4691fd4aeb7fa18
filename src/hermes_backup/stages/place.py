"""Stage ``place``: move the checked tree to where it is wanted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from hermes_backup.errors import STAGE_FAILED, TARGET_NOT_EMPTY, Fault
from hermes_backup.home.selection import Rules
from hermes_backup.stages.context import Context
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Home, Report, Tree
from hermes_backup.streams.directory import hold


class PlaceTree(Stage):
    """Give the tree its final name in one step; the folder must not hold anything yet."""

    name: ClassVar[str] = "place"
    takes: ClassVar[tuple[type, ...]] = (Tree, Report)
    gives: ClassVar[type] = Home

    to: Path
    """The folder that the home becomes; on the file system of the run's private folder."""

    def preflight(self, context: Context) -> None:
        """Make sure that nothing is in the way."""
        del context
        require_vacant(self.to)

    def run(self, value: Any, context: Context) -> Home:
        """Rename the tree."""
        tree: Tree = value.tree if isinstance(value, Report) else value
        require_vacant(self.to)
        try:
            tree.root.chmod(0o700)
            os.rename(tree.root, self.to)  # noqa: PTH104 - rename(2) replaces an empty folder, and nothing else
        except OSError as error:
            raise Fault(STAGE_FAILED, f"cannot move the tree: {error.strerror}", where=str(self.to)) from None
        home = context.teardown.always.enter_context(hold(self.to.absolute()))
        return Home(lambda: home, Rules())


def require_vacant(folder: Path) -> None:
    """Make sure that a folder does not exist, or is empty.

    Raises:
        Fault: TARGET_NOT_EMPTY.
    """
    if os.path.lexists(folder) and (not folder.is_dir() or folder.is_symlink() or any(folder.iterdir())):
        raise Fault(TARGET_NOT_EMPTY, "there is something already", where=str(folder))
