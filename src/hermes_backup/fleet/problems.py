"""What is wrong with an inventory: several faults at once, each with its place, sorted by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermes_backup.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable


class Faults(Fault):
    """Several faults; by itself it is the first of them."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        first = self.faults[0]
        super().__init__(first.kind, first.what, where=first.where, mend=first.mend)

    def __str__(self) -> str:
        return "\n".join(str(it) for it in self.faults)


def demand(faults: Iterable[Fault]) -> None:
    """Raise what is wrong, if anything is: one fault as itself, several as :class:`Faults`."""
    every = tuple(dict.fromkeys(faults))
    if len(every) == 1:
        raise every[0]
    if every:
        raise Faults(every)
