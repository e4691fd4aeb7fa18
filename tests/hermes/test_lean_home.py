"""Homes of hermes-agent whose databases were copied without their search indexes: made again by us, or by itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from hermes_backup.home.databases.derived import LeftOut
from hermes_backup.home.databases.rebuilding import rebuild
from hermes_backup.home.selection import Rules
from tests.held import find, select
from tests.hermes.searches import SEARCHES, asking, check_found
from tests.hermes.test_real_home import check, said
from tests.home.lean_copies import copy_lean


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    root = tmp_path_factory.mktemp("hermes") / "home"
    return root, said("build_home.py", root, "--sessions", "8", "--messages", "20")


def bring(root: Path, target: Path) -> dict[str, Sequence[LeftOut]]:
    """Bring a home to another place, each database as a lean copy; return what was left out of which."""
    chosen = select(root, Rules())
    databases = {found.name for found in find(root, chosen) if found.kind == "live"}
    target.mkdir(mode=0o700)
    left_out = {}
    for entry in chosen.entries:
        name = os.fsdecode(entry.name)
        if entry.kind == "dir":
            (target / name).mkdir()
        elif entry.name in databases:
            done = copy_lean(root / name, target / name, deadline=30)
            assert not done.whole
            left_out[name] = done.left_out
        else:
            shutil.copy2(root / name, target / name, follow_symlinks=False)
    return left_out


def test_both_indexes_of_every_profile_are_left_out(home: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    root, _ = home
    left_out = bring(root, tmp_path / "home")
    for name in ("state.db", "profiles/research/state.db"):
        assert {it.table for it in left_out[name]} == {"messages_fts", "messages_fts_trigram"}
        assert sum(len(it.triggers) for it in left_out[name]) == 6
    assert (tmp_path / "home" / "state.db").stat().st_size < (root / "state.db").stat().st_size


@pytest.mark.parametrize("by_itself", [False, True])
def test_hermes_agent_finds_what_it_found_before(
    home: tuple[Path, dict[str, object]], tmp_path: Path, by_itself: bool
) -> None:
    root, made = home
    target = tmp_path / "home"
    for name, tables in bring(root, target).items():
        if not by_itself:
            rebuild(target / name, tables, deadline=60)
    shutil.copytree(root, tmp_path / "original", symlinks=True)
    after, before = (said("read_home.py", it, *asking()) for it in (target, tmp_path / "original"))
    assert after == before
    check_found(after, root / "state.db")
    check_found(after["profiles"]["research"], root / "profiles" / "research" / "state.db")
    assert {it: bool(found) for it, found in after["found"].items()} == dict.fromkeys(SEARCHES, True)
    assert after["profiles"]["research"]["found"]["来週まで"]
    answer = said("read_home.py", target, "--word", str(made["word"]))
    check(answer, made)
    assert (answer["sessions"], answer["messages"]) == (8, 160)
