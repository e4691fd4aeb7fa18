"""Open a home with hermes-agent's own classes and say what is in it; run by the Python that has hermes-agent.

Usage: read_home.py HOME_DIR [--word WORD]... Prints JSON. Opening migrates and checkpoints: give it a copy.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EVERYTHING = 1_000_000


def read_sessions(path: Path, words: Sequence[str]) -> dict[str, Any]:
    from hermes_state import SessionDB

    if not path.exists():  # SessionDB would make it
        raise SystemExit(f"{path} is not there")
    database = SessionDB(path)
    try:
        return {
            "sessions": database.session_count(),
            "messages": database.message_count(),
            "found": {word: search(database, word) for word in words},
        }
    finally:
        database.close()


def search(database: Any, word: str) -> list[dict[str, Any]]:
    found = database.search_messages(word, limit=EVERYTHING)
    return [{"id": it["id"], "session": it["session_id"], "snippet": it["snippet"]} for it in found]


def read_boards() -> list[str]:
    from hermes_cli import kanban_db

    titles = []
    for board in kanban_db.list_boards():
        with kanban_db.connect_closing(board=board["slug"]) as connection:
            titles += [task.title for task in kanban_db.list_tasks(connection)]
    return sorted(titles)


def read_projects() -> list[str]:
    from hermes_cli import projects_db

    with projects_db.connect_closing() as connection:
        return sorted(project.name for project in projects_db.list_projects(connection))


def read_memories() -> dict[str, list[str]]:
    from tools.memory_tool import MemoryStore

    store = MemoryStore()
    store.load_from_disk()
    return {"memory": store.memory_entries, "user": store.user_entries}


def read_skills(home: Path) -> dict[str, bool]:
    """Return the skills by name, and whether each has a script that can be run."""
    from agent.skill_utils import parse_frontmatter

    found = {}
    for file in home.glob("skills/**/SKILL.md"):
        front, _ = parse_frontmatter(file.read_text())
        scripts = [path for path in file.parent.rglob("*.sh") if os.access(path, os.X_OK)]
        found[str(front["name"])] = bool(scripts)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--word", action="append", default=[])
    given = parser.parse_args()
    home = given.home.absolute()
    os.environ["HERMES_HOME"] = str(home)  # before the first import: hermes-agent reads it then
    os.environ["HERMES_DISABLE_LAZY_INSTALLS"] = "1"
    from cron.executions import latest_executions
    from cron.jobs import list_jobs
    from hermes_cli.auth import _load_auth_store
    from hermes_cli.config import load_config
    from hermes_cli.profiles import list_profiles

    jobs = list_jobs(include_disabled=True)
    profiles = {one.name: one.path for one in list_profiles() if not one.is_default}
    print(json.dumps({
        **read_sessions(home / "state.db", given.word),
        "kanban": read_boards(),
        "projects": read_projects(),
        "memories": read_memories(),
        "skills": read_skills(home),
        "profiles": {name: read_sessions(path / "state.db", given.word) for name, path in sorted(profiles.items())},
        "cron": sorted(str(job["name"]) for job in jobs),
        "executions": len(latest_executions([job["id"] for job in jobs])),
        "model": load_config()["model"]["default"],
        "providers": sorted(_load_auth_store()["providers"]),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
