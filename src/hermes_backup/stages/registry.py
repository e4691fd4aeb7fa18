"""Which stages there are: those of this package, and those that others add by the entry point group below."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

import hermes_backup.stages as package
from hermes_backup.stages.stage import Stage

ENTRY_POINTS = "hermes_backup.stages"


@cache
def stages() -> Mapping[str, type[Stage]]:
    """Return every stage class by its name; a third party's cannot replace one of ours."""
    found: dict[str, type[Stage]] = {}
    for point in entry_points(group=ENTRY_POINTS):
        found[point.name] = point.load()
    for module in pkgutil.iter_modules(package.__path__):
        for value in vars(import_module(f"{package.__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Stage) and "name" in vars(value):
                found[value.name] = value
    return found
