"""A home made by hermes-agent itself: selected, its databases copied in use, and read by hermes-agent again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.home.databases.copying import copy
from hermes_backup.home.databases.holders import holders
from hermes_backup.home.layout import DEFAULT_EXCLUDES, is_known_database
from hermes_backup.home.selection import Rules
from tests.held import find, select
from tests.hermes.environment import hermes


def said(script: str, *arguments: str | Path) -> dict[str, Any]:
    done = subprocess.run(hermes(script, *arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    root = tmp_path_factory.mktemp("hermes") / "home"
    return root, said("build_home.py", root, "--sessions", "8", "--messages", "20")


def rebuild(root: Path, target: Path) -> None:
    """Bring a home to another place as a backup would: what is selected, databases by consistent copies."""
    chosen = select(root, Rules())
    databases = {found.name for found in find(root, chosen) if found.kind == "live"}
    target.mkdir(mode=0o700)
    for entry in chosen.entries:
        name = os.fsdecode(entry.name)
        if entry.kind == "dir":
            (target / name).mkdir()
        elif entry.name in databases:
            copy(root / name, target / name, deadline=30)
        else:
            shutil.copy2(root / name, target / name, follow_symlinks=False)


def check(answer: dict[str, Any], made: dict[str, object]) -> None:
    for what in ("kanban", "projects", "cron"):
        assert answer[what] == made[what]
    assert answer["skills"] == {"weather": True}
    word = str(made["word"])
    assert answer["profiles"] == {"research": {"sessions": 2, "messages": 10, "found": {word: []}}}
    assert found_in(answer, word) == ["main-0000"]
    assert answer["executions"] == 1
    assert answer["memories"] == {
        "memory": ["The staging host is reached through the jump host.", "Tests run with make check."],
        "user": ["Prefers short answers and metric units."],
    }
    assert (answer["model"], answer["providers"]) == ("test/model", ["nous"])


def found_in(answer: dict[str, Any], word: str) -> list[str]:
    """The sessions in which a word was found."""
    return [it["session"] for it in answer["found"][word]]


def test_the_databases_are_those_that_we_know(home: tuple[Path, dict[str, object]]) -> None:
    root, _ = home
    found = find(root, select(root, Rules()))
    assert {one.kind for one in found} == {"live"}
    assert {one.name for one in found} >= {
        b"state.db",
        b"kanban.db",
        b"projects.db",
        b"cron/executions.db",
        b"kanban/boards/releases/kanban.db",
        b"profiles/research/state.db",
    }
    assert all(is_known_database(one.name) and one.journal == "wal" for one in found)


def test_no_lock_or_log_of_a_running_home_is_selected(home: tuple[Path, dict[str, object]]) -> None:
    root, _ = home
    chosen = {entry.name for entry in select(root, Rules(patterns=DEFAULT_EXCLUDES)).entries}
    assert {b"config.yaml", b".env", b"auth.json", b"memories/MEMORY.md", b"memories/link.md"} <= chosen
    left_out = {b"auth.lock", b"logs", b"kanban.db.init.lock", b"memories/MEMORY.md.lock", b"cron/.jobs.lock"}
    assert left_out.isdisjoint(chosen)


def test_a_quiet_home_comes_back(home: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    root, made = home
    rebuild(root, tmp_path / "home")
    answer = said("read_home.py", tmp_path / "home", "--word", str(made["word"]))
    check(answer, made)
    assert (answer["sessions"], answer["messages"]) == (8, 160)


def test_a_home_that_is_written_to_comes_back_with_all_that_was_acknowledged(
    home: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    root, made = home
    busy = tmp_path / "busy"
    shutil.copytree(root, busy, symlinks=True)
    with subprocess.Popen(
        hermes("append_messages.py", busy), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        try:
            acknowledged = [int(writer.stdout.readline()) for _ in range(50)][-1]
            assert [holder.pid for holder in holders(busy / "state.db")] == [writer.pid]
            rebuild(busy, tmp_path / "home")
        finally:
            written = writer.communicate("")[0].split()
    answer = said("read_home.py", tmp_path / "home", "--word", str(made["word"]))
    check(answer, made)
    assert answer["sessions"] == 9
    assert 160 + acknowledged <= int(str(answer["messages"])) <= 160 + int(written[-1])
