"""A home made by hermes-agent itself, backed up while it writes, restored, and read by hermes-agent's own classes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.pipeline.restoring import Restored
from tests.hermes.environment import hermes
from tests.hermes.searches import SEARCHES, asking, check_found
from tests.keys import Recipient
from tests.pipeline.forge import Witness, bring_back, faults, verified
from tests.site import Site

SESSIONS, MESSAGES = 8, 20
APPENDED = {'"appended message"': "appended message"}


def said(script: str, *arguments: str | Path) -> dict[str, Any]:
    """Run one of the scripts under hermes-agent's Python."""
    done = subprocess.run(hermes(script, *arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@contextmanager
def writing(home: Path) -> Iterator[subprocess.Popen[str]]:
    """hermes-agent appends messages to the home as long as the block runs."""
    argv = hermes("append_messages.py", home)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        try:
            yield writer
        finally:
            if writer.poll() is None and writer.stdin is not None and not writer.stdin.closed:
                writer.communicate("")


@dataclass(frozen=True)
class Story:
    """What was made, what had been acknowledged before and after the backup, and what came back.

    ``left`` and ``read`` are what hermes-agent reads in the home that was backed up, and in the one that came back.
    """

    site: Site
    made: dict[str, Any]
    before: int
    after: int
    restored: Restored
    told: Witness
    left: dict[str, Any]
    read: dict[str, Any]
    lean: bool


@pytest.fixture(scope="module", params=["keep", "auto", "rebuild"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, recipient: Recipient) -> Story:
    root = tmp_path_factory.mktemp("real")
    site = Site(root, recipient)
    made = said("build_home.py", site.home, "--sessions", str(SESSIONS), "--messages", str(MESSAGES))
    (site.home / "workspace" / "holes").write_bytes(b"")
    os.truncate(site.home / "workspace" / "holes", 5_000_000)
    with writing(site.home) as writer:
        assert writer.stdout is not None
        before = [int(writer.stdout.readline()) for _ in range(50)][-1]
        status = site.run([{"sqlite": {"search_indexes": request.param}}, *site.usual()[1:]])
        after = int(writer.communicate("")[0].split()[-1])
    assert (status.state, status.error, status.partial) == ("done", None, ())
    told = Witness()
    restored = bring_back(site, follower=told)
    left, read = (opened(it, root / f"{it.name} opened") for it in (site.home, restored.target))
    return Story(site, made, before, after, restored, told, left, read, request.param == "auto")


def opened(home: Path, copy: Path) -> dict[str, Any]:
    """Read a copy of a home: opening migrates and checkpoints."""
    subprocess.run(["cp", "-a", str(home), str(copy)], check=True)
    return said("read_home.py", copy, *asking({**SEARCHES, **APPENDED}))


def test_the_writer_wrote_during_the_backup(story: Story) -> None:
    assert story.after > story.before


def test_sessions_and_messages_are_those_of_the_manifest_and_none_that_was_acknowledged_is_missing(
    story: Story,
) -> None:
    (state,) = [it for it in story.restored.manifest.databases if it.path == "state.db"]
    assert story.read["messages"] == state.tables["messages"]
    assert story.read["sessions"] == state.tables["sessions"] == SESSIONS + 1
    made = SESSIONS * MESSAGES
    assert made + story.before <= story.read["messages"] <= made + story.after


def test_a_search_finds_what_it_found_in_the_home(story: Story) -> None:
    """But in another order: more was written there, and how rare a word is counts."""
    check_found(story.read, story.restored.target / "state.db", {**SEARCHES, **APPENDED})
    for query in SEARCHES:
        read, left = (sorted(it["found"][query], key=itemgetter("id")) for it in (story.read, story.left))
        assert read == left != []
    assert [it["session"] for it in story.read["found"][story.made["word"]]] == ["main-0000"]


def test_a_search_finds_every_message_that_was_written_during_the_backup(story: Story) -> None:
    found = story.read["found"]['"appended message"']
    assert len(found) == story.read["messages"] - SESSIONS * MESSAGES >= story.before


def test_a_search_in_a_profile_finds_what_it_found_there(story: Story) -> None:
    (read, left) = (it["profiles"]["research"] for it in (story.read, story.left))
    check_found(read, story.restored.target / "profiles" / "research" / "state.db", {**SEARCHES, **APPENDED})
    assert read == left
    assert [it for it, found in read["found"].items() if found] == ['"rewrite backups"', "来週まで"]


def test_search_indexes_are_left_out_where_that_is_meant(story: Story) -> None:
    left_out = {it.path: it.left_out for it in story.restored.manifest.databases if it.left_out}
    names = ("messages_fts", "messages_fts_trigram")
    assert left_out == ({"state.db": names, "profiles/research/state.db": names} if story.lean else {})


@pytest.mark.parametrize("what", ["kanban", "projects", "cron"])
def test_boards_projects_and_cron_jobs(story: Story, what: str) -> None:
    assert story.read[what] == story.made[what]
    assert story.read[what]


def test_memories_skills_profiles_and_settings(story: Story) -> None:
    assert story.read["memories"] == {
        "memory": ["The staging host is reached through the jump host.", "Tests run with make check."],
        "user": ["Prefers short answers and metric units."],
    }
    assert story.read["skills"] == {"weather": True}
    counted = {name: (it["sessions"], it["messages"]) for name, it in story.read["profiles"].items()}
    assert counted == {"research": (story.made["profile_sessions"], story.made["profile_messages"])}
    assert (story.read["model"], story.read["providers"], story.read["executions"]) == ("test/model", ["nous"], 1)


def test_every_database_was_checked_and_has_no_log_beside_it(story: Story) -> None:
    names = {it.path for it in story.restored.manifest.databases}
    assert names >= {"state.db", "kanban.db", "projects.db", "cron/executions.db", "profiles/research/state.db"}
    lean = [it.path for it in story.restored.manifest.databases if it.left_out]
    remade = {f"{it}: {what}" for it in lean for what in ("search indexes", "contents")}
    assert {it.what for it in story.restored.report.findings} == names | remade
    assert not [it for it in story.restored.target.rglob("*") if it.name.endswith(("-wal", "-shm", "-journal"))]


def test_modes_of_secrets_run_bits_and_links(story: Story) -> None:
    target = story.restored.target
    assert target.stat().st_mode & 0o777 == 0o700
    for name in (".env", "auth.json"):
        assert stat.S_IMODE((target / name).stat().st_mode) == 0o600
    (script,) = target.glob("skills/**/weather.sh")
    assert stat.S_IMODE(script.stat().st_mode) == 0o755
    assert (target / "memories" / "link.md").readlink() == Path("MEMORY.md")
    assert (target / "hooks").is_dir()
    assert (target / "workspace" / "holes").stat().st_blocks == 0
    for path in target.rglob("*"):
        live = story.site.home / path.relative_to(target)
        if path.suffix != ".db":
            assert path.lstat().st_mode == live.lstat().st_mode, path
            assert path.lstat().st_mtime_ns == live.lstat().st_mtime_ns or path.is_dir(), path


def test_what_is_volatile_or_made_again_stays_out(story: Story) -> None:
    left_out = ("logs", "auth.lock", "kanban.db.init.lock", "memories/MEMORY.md.lock", "cron/.jobs.lock", "cache/x")
    assert not [name for name in left_out if (story.restored.target / name).exists()]


def test_the_snapshot_is_proven_without_a_key(story: Story) -> None:
    assert faults(verified(story.site)) == []
