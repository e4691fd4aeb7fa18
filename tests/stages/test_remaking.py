"""What a lean copy left out comes through a list of files, and is made again from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_backup.home.databases.facts import reading
from hermes_backup.home.databases.rebuilding import rebuild
from hermes_backup.home.databases.searching import answered_otherwise
from hermes_backup.snapshots.remaking import from_bytes, to_lines
from hermes_backup.stages.remaking import left_out, remakings, searches
from tests.home.full_text import SCRIPTS, hits, make, tables_of
from tests.home.lean_copies import copy_lean


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_it_comes_back_from_a_list_of_files(tmp_path: Path, script: str) -> None:
    source, target = make(tmp_path / "state.db", script), tmp_path / "copy.db"
    done = copy_lean(source, target, deadline=20, name="profiles/x/state.db")
    told = from_bytes(b"".join(to_lines(remakings(done))))
    assert [(it.database, it.table) for it in told] == [("profiles/x/state.db", table) for table in tables_of(script)]
    asked = [search for it in told for search in searches(it)]
    with reading(target, alone=True) as connection:
        assert answered_otherwise(connection, asked) == done.searches != ()
    rebuild(target, [left_out(it) for it in told], deadline=20)
    with reading(target, alone=True) as connection:
        assert answered_otherwise(connection, asked) == ()
    for table in tables_of(script):
        assert hits(target, "lighthouse", table=table) == hits(source, "lighthouse", table=table)
