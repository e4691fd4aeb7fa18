"""What a stage is: a frozen settings model, the types it takes and gives, and how it runs.

A stage declares its fields once; the YAML schema, its documentation and its defaults all come from them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from hermes_backup.stages.context import Context


class Stage(BaseModel):
    """A stage of a pipeline. A subclass in a module of this package is found by its ``name``.

    ``takes`` lists the types of value that the stage accepts (empty: it starts a pipeline), ``gives`` is the type
    of what it returns.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    takes: ClassVar[tuple[type, ...]]
    gives: ClassVar[type]

    def preflight(self, context: Context) -> None:
        """Examine everything that can be known before any work: keys, tools, folders.

        Raises:
            Fault: when the stage cannot do its job.
        """

    def plan(self, context: Context) -> tuple[str, ...]:
        """Say in sentences what a run would do; changes nothing."""
        del context
        return ()

    @abstractmethod
    def run(self, value: Any, context: Context) -> Any:
        """Do the stage's work and return what the next stage takes.

        Raises:
            Fault: when the work could not be done; the run then fails and publishes nothing.
        """
