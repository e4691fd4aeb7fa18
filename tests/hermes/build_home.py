"""Make a real Hermes home with hermes-agent's own classes; run by the Python of an environment that has it.

Usage: build_home.py HOME_DIR [--sessions N] [--messages N]. Prints JSON: what was made.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from pathlib import Path

WORD = "quetzalcoatlus"
"""A word that occurs in exactly one message."""

_TOPICS = ("the garden", "invoices", "a trip to Lisbon", "the build", "bread", "a talk", "backups", "the piano")
_VERBS = ("sort out", "summarise", "plan", "check", "rewrite", "look into", "explain", "compare")
_DETAILS = (
    "before Friday", "in three steps", "for the team", "without the old notes", "and keep it short",
    "as we did in spring", "with a table", "für später", "来週まで",
)  # fmt: skip


def sentence(chance: random.Random) -> str:
    return f"{chance.choice(_VERBS)} {chance.choice(_TOPICS)} {chance.choice(_DETAILS)}"


def make_sessions(path: Path, name: str, sessions: int, messages: int) -> None:
    from hermes_state import SessionDB

    chance = random.Random(name)
    database = SessionDB(path)
    for number in range(sessions):
        session = f"{name}-{number:04d}"
        database.create_session(session, "cli", model="test/model", system_prompt="You are kind.")
        for index in range(messages):
            role = "user" if index % 2 == 0 else "assistant"
            text = ". ".join(sentence(chance) for _ in range(chance.randint(1, 12)))
            if (name, number, index) == ("main", 0, 0):
                text = f"{text}. What did the {WORD} eat?"
            database.append_message(session, role, text)
        database.set_session_title(session, f"{sentence(chance)} ({number})")
        if number % 2:
            database.end_session(session, "user_exit")
    database.close()


def make_settings() -> None:
    from hermes_cli.auth import _save_auth_store
    from hermes_cli.config import ensure_hermes_home, load_config, save_config, save_env_value

    ensure_hermes_home()
    config = load_config()
    config["model"] = {"default": "test/model", "provider": "openrouter"}
    save_config(config)
    save_env_value("OPENROUTER_API_KEY", "sk-or-not-a-real-key")
    _save_auth_store({"version": 1, "providers": {"nous": {"access_token": "not-a-real-token"}}})


def make_memories() -> None:
    from tools.memory_tool import MemoryStore

    store = MemoryStore()
    store.load_from_disk()
    for target, text in (
        ("memory", "The staging host is reached through the jump host."),
        ("memory", "Tests run with make check."),
        ("user", "Prefers short answers and metric units."),
    ):
        said = store.add(target, text)
        if not said.get("success"):
            raise SystemExit(f"no memory was kept: {said}")


def make_skill(home: Path) -> None:
    from tools.skill_manager_tool import skill_manage

    text = "---\nname: weather\ndescription: Tell the weather of a town\n---\n\n# Weather\n\nRun scripts/weather.sh.\n"
    for arguments in (
        {"action": "create", "name": "weather", "content": text},
        {
            "action": "write_file",
            "name": "weather",
            "file_path": "scripts/weather.sh",
            "file_content": "#!/bin/sh\necho 'sunny, probably'\n",
        },
    ):
        said = json.loads(skill_manage(**arguments))
        if not said.get("success"):
            raise SystemExit(f"no skill was made: {said}")
    (script,) = home.glob("skills/**/weather.sh")
    script.chmod(0o755)


def make_boards_and_projects(home: Path) -> None:
    from hermes_cli import kanban_db, projects_db

    kanban_db.create_board("releases", name="Releases")
    for board, titles in ((None, ("Water the plants", "Write the talk")), ("releases", ("Cut 1.0",))):
        with kanban_db.connect_closing(board=board) as connection:
            for title in titles:
                kanban_db.create_task(connection, title=title, body=f"{title}, soon")
    folder = home / "workspace" / "site"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("<h1>Hello</h1>\n")
    with projects_db.connect_closing() as connection:
        projects_db.create_project(connection, name="Site", folders=[str(folder)])


def make_cron() -> None:
    from cron.executions import create_execution, finish_execution, mark_execution_running
    from cron.jobs import create_job

    job = create_job("Say good morning", "every 24h", name="morning")
    execution = create_execution(job["id"], source="test")
    mark_execution_running(execution["id"])
    finish_execution(execution["id"], success=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--messages", type=int, default=30)
    given = parser.parse_args()
    home = given.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    os.environ["HERMES_HOME"] = str(home)  # before the first import: hermes-agent reads it then
    os.environ["HERMES_DISABLE_LAZY_INSTALLS"] = "1"
    from hermes_cli.profiles import create_profile

    make_settings()
    make_sessions(home / "state.db", "main", given.sessions, given.messages)
    make_memories()
    make_skill(home)
    make_boards_and_projects(home)
    make_cron()
    profile = create_profile("research", no_alias=True, no_skills=True)
    make_sessions(profile / "state.db", "research", 2, 5)
    (home / "memories" / "link.md").symlink_to("MEMORY.md")
    (home / "hooks").mkdir(exist_ok=True)
    print(json.dumps({
        "sessions": given.sessions, "messages": given.sessions * given.messages, "word": WORD,
        "kanban": ["Cut 1.0", "Water the plants", "Write the talk"], "projects": ["Site"],
        "profiles": ["research"], "cron": ["morning"], "skills": ["weather"],
        "profile_sessions": 2, "profile_messages": 10,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
