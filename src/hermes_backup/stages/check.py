"""Stage ``check``: is the extracted home what the manifest promises, and what could not be proven of it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from hermes_backup.errors import RESTORE_CHECK, RESTORE_REFUSED, Fault
from hermes_backup.stages.checks.commands import commands
from hermes_backup.stages.checks.databases import contents, databases
from hermes_backup.stages.checks.files import files
from hermes_backup.stages.checks.hermes import hermes, interpreter
from hermes_backup.stages.checks.presence import presence
from hermes_backup.stages.checks.recipients import recipients
from hermes_backup.stages.checks.remaking import remade
from hermes_backup.stages.checks.sandbox import sandbox
from hermes_backup.stages.context import Context
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Finding, Report, Tree
from hermes_backup.stages.units import Duration, RelativePath

Argv = Annotated[tuple[str, ...], Field(min_length=1)]
# YAML reads a bare off as false
Switch = Annotated[Literal["auto", "required", "off"], BeforeValidator(lambda it: "off" if it is False else it)]


class CheckFailed(Fault):
    """What was checked and is not as it should be, with everything else that was seen."""

    def __init__(self, report: Report) -> None:
        wrong = [it for it in report.findings if it.verdict == "failed"]
        said = "; ".join(f"{it.what}: {it.evidence}{_first(it)}" for it in wrong)
        unsafe = RESTORE_REFUSED.name in {it.name for it in wrong}
        super().__init__(RESTORE_REFUSED if unsafe else RESTORE_CHECK, said, where=Check.name)
        self.report = report


class Check(Stage):
    """Open every database of the tree, compare its counts with the manifest, and look for what must be there."""

    name: ClassVar[str] = "check"
    takes: ClassVar[tuple[type, ...]] = (Tree,)
    gives: ClassVar[type] = Report

    present: tuple[RelativePath, ...] = ()
    """Files that must be there, relative to the home."""
    counts: Literal["manifest", "none"] = "manifest"
    """What the databases' row counts must equal."""
    depth: Literal["quick", "full"] = "full"
    """``full``: also every file, index, reference and search, and each recipient's key; ``quick``: as a restore."""
    commands: tuple[Argv, ...] = ()
    """Commands of your own, each a list of words, run in the home without a network; HERMES_HOME is set."""
    search_indexes: Literal["rebuild", "leave"] = "rebuild"
    """Search indexes that were left out: made again, and asked what they answered at home; or left to Hermes."""
    hermes: Switch = "off"
    """``auto``: hermes-agent, where this machine has it, opens the home without a network; ``required``: it must."""
    timeout: Duration = timedelta(minutes=10)
    """How long each command, and hermes-agent, may take."""

    def run(self, value: Any, context: Context) -> Report:
        """Look at everything, then fail if anything is wrong."""
        tree: Tree = value
        report = Report(tree, tuple(self._findings(tree, context)))
        if any(it.verdict == "failed" for it in report.findings):
            raise CheckFailed(report)
        for finding in report.findings:
            context.listener.note(self.name, f"{finding.what}: {finding.evidence}")
        return report

    def _findings(self, tree: Tree, context: Context) -> Iterator[Finding]:
        """Foreign code comes last: it may change what it looks at."""

        def told(done: int, total: int) -> None:
            context.listener.progress(self.name, done, total)

        full = self.depth == "full"
        yield from presence(tree, self.present)
        if full:
            yield from files(tree, told)
        made = {it.database for it in tree.remakings} if self.search_indexes == "rebuild" else set()
        yield from databases(tree, counts=self.counts, full=full, told=told, later=made)
        if made:
            yield from remade(tree, full=full, told=told)
        if self.counts == "manifest":  # after the last statement that is the snapshot's word
            yield from contents(tree, made)
        if full:
            yield from recipients(tree.manifest, context.folder, context.gnupghome)
            yield from _partial(tree)
        if self.commands or self.hermes != "off":
            python = interpreter() if self.hermes != "off" else None
            box = sandbox(context.folder, context.gnupghome, python)
            yield from commands(self.commands, tree.root, box, self.timeout.total_seconds())
            if self.hermes != "off":
                found = hermes(tree.manifest, tree.root, python, box, self.timeout.total_seconds())
                yield found if found.ok or self.hermes == "auto" else replace(found, verdict="failed")


def _partial(tree: Tree) -> Iterator[Finding]:
    """Name what the backup itself could not take whole."""
    for it in tree.manifest.partial:
        yield Finding(it.path, "unproven", f"partial since the backup: {it.reason}")


def _first(finding: Finding) -> str:
    return f" ({', '.join(finding.named[:3])})" if finding.named else ""
