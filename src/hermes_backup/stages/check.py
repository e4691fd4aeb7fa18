"""Stage ``check``: is the extracted home what the manifest promises?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from hermes_backup.errors import RESTORE_CHECK, Fault
from hermes_backup.home.databases import DatabaseBroken, facts
from hermes_backup.home.printable import printable
from hermes_backup.snapshots.manifest import Database
from hermes_backup.stages.context import Context
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Finding, Report, Tree
from hermes_backup.stages.units import RelativePath


class Check(Stage):
    """Open every database of the tree, compare its counts with the manifest, and look for what must be there."""

    name: ClassVar[str] = "check"
    takes: ClassVar[tuple[type, ...]] = (Tree,)
    gives: ClassVar[type] = Report

    present: tuple[RelativePath, ...] = ()
    """Files that must be there, relative to the home."""
    counts: Literal["manifest", "none"] = "manifest"
    """What the databases' row counts must equal."""

    def run(self, value: Any, context: Context) -> Report:
        """Look at everything, then fail if anything is wrong."""
        tree: Tree = value
        findings = [self._presence(tree, name) for name in self.present]
        databases = tree.manifest.databases
        files = {printable(it.name): it.name for it in tree.members if it.kind in ("file", "hardlink")}
        for number, database in enumerate(databases):
            context.listener.progress(self.name, number, len(databases))
            findings.append(self._database(tree.root, files, database))
        wrong = [it for it in findings if not it.ok]
        if wrong:
            said = "; ".join(f"{it.what}: {it.evidence}" for it in wrong)
            raise Fault(RESTORE_CHECK, said, where=self.name)
        for finding in findings:
            context.listener.note(self.name, f"{finding.what}: {finding.evidence}")
        return Report(tree, tuple(findings))

    def _presence(self, tree: Tree, name: str) -> Finding:
        there = os.path.lexists(tree.root / name)
        return Finding(name, there, "present" if there else "missing")

    def _database(self, root: Path, files: Mapping[str, bytes], promised: Database) -> Finding:
        name = files.get(promised.path)  # a manifest cannot name what lies outside, nor what a link leads to
        if name is None:
            return Finding(promised.path, ok=False, evidence="missing")
        try:
            found = facts(root / os.fsdecode(name), name=promised.path)
        except DatabaseBroken as error:
            return Finding(promised.path, ok=False, evidence=error.reason)
        if self.counts == "manifest" and dict(found.tables) != promised.tables:
            names = sorted(found.tables.keys() | promised.tables.keys())
            differing = [it for it in names if found.tables.get(it) != promised.tables.get(it)]
            said = ", ".join(f"{it} {found.tables.get(it)} rows, not {promised.tables.get(it)}" for it in differing)
            return Finding(promised.path, ok=False, evidence=said)
        rows = sum(found.tables.values())
        return Finding(promised.path, ok=True, evidence=f"whole, {rows} rows in {len(found.tables)} tables")
