"""Stage ``command``: what else must happen around a backup, as argument lists; never through a shell."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import model_validator

from hermes_backup.errors import COMMAND_FAILED, Fault
from hermes_backup.stages.arguments import shown, without_arguments
from hermes_backup.stages.context import Context
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Home
from hermes_backup.stages.units import Duration
from hermes_backup.streams.process import find, run_guarded

Argv = tuple[str, ...]
_SHOWN = 500
_MEND = "Install it on the host; a command is a list of words, the program first and each argument by itself."


class Command(Stage):
    """Run commands before the copy, after success, on failure, and always at the end."""

    name: ClassVar[str] = "command"
    takes: ClassVar[tuple[type, ...]] = (Home,)
    gives: ClassVar[type] = Home

    before: Argv = ()
    """Runs when the pipeline reaches this stage; if it fails, the run fails."""
    after: Argv = ()
    """Runs when all stages are done; if it fails, the run fails, but the snapshot stays."""
    on_failure: Argv = ()
    """Runs when the run fails."""
    always: Argv = ()
    """Runs at the end, however the run ends."""
    timeout: Duration = timedelta(minutes=10)
    """How long each command may take."""

    @model_validator(mode="after")
    def _something_to_do(self) -> Command:
        if not (self.before or self.after or self.on_failure or self.always):
            raise ValueError("give at least one of before, after, on_failure, always, each a list of words")
        return self

    def plan(self, context: Context) -> tuple[str, ...]:
        """Say which programs, and how many arguments each gets: arguments may be secrets."""
        del context
        moments = {
            "before": self.before,
            "after": self.after,
            "on failure": self.on_failure,
            "always": self.always,
        }
        return tuple(f"run {shown(argv)} ({moment})" for moment, argv in moments.items() if argv)

    def run(self, value: Any, context: Context) -> Home:
        """Run ``before`` and arrange the others."""
        home: Home = value
        teardown = context.teardown
        if self.always:
            teardown.always.callback(self._call(self.always))
        if self.on_failure:
            teardown.failed.append(self._call(self.on_failure))
        if self.before:
            self._call(self.before)()
        if self.after:
            teardown.succeeded.append(self._call(self.after))
        return home

    def _call(self, argv: Argv) -> Callable[[], None]:
        def call() -> None:
            try:
                find(argv[0], self.name)
            except Fault as fault:  # whose words would repeat arguments that were written into the program's name
                raise Fault(fault.kind, f"{shown(argv)} is not installed", where=self.name, mend=_MEND) from None
            try:
                done = run_guarded(argv, stage=self.name, timeout=self.timeout.total_seconds())
            except subprocess.TimeoutExpired:
                raise Fault(COMMAND_FAILED, f"{shown(argv)}: not done in time", where=self.name) from None
            if done.returncode != 0:
                words = done.stderr.strip() or done.stdout.decode("utf-8", "replace").strip()
                said = without_arguments(words, argv)[-_SHOWN:]
                raise Fault(COMMAND_FAILED, f"{shown(argv)}: ended with {done.returncode}: {said}", where=self.name)

        return call
