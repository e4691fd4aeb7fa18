"""What lies where in a Hermes home, as read off hermes-agent 0.19.0.

A profile, ``profiles/<id>/``, is a whole home of its own, so every rooted rule holds there too.
"""

from __future__ import annotations

import re

SIDECARS = (b"-wal", b"-shm", b"-journal")
"""What SQLite puts beside a database: never archived as it lies, never restored."""

_ANY_DEPTH = (
    "__pycache__/",
    ".git",
    "node_modules/",
    ".venv/",
    "venv/",
    "site-packages/",
    ".cache/",
    ".npm/",
    ".bun/",
    ".tox/",
    ".nox/",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    "*.pyc",
    ".hermes-restore-*/",  # what a killed restore left, until the next one sweeps it
)

_LOGS = tuple(f"*.{suffix}{side.decode()}" for suffix in ("db", "sqlite", "sqlite3") for side in SIDECARS)

_REGENERABLE = (
    "/hermes-agent/",
    "/node/",
    "/bin/",
    "/.worktrees/",
    "/worktrees/",
    "/backups/",
    "/update-backups/",
    "/state-snapshots/",
    "/migration/",
    "/checkpoints/",
    "/sandboxes/",
    "/logs/",
    "/cache/*",
    "/*_cache.json",
    "/models/",
    "/runtimes/",
    "/installs/",
    "/tools/",
    "/build-tools/",
    "/browser-profile/",
    "/browser-profiles/",
)

_VOLATILE = (
    "/gateway.pid",
    "/gateway.lock",
    "/gateway_state.json",
    "/processes.json",
    "/cron.pid",
    "/.clean_shutdown",
    "/.gateway-planned-stop.json",
    "/state/gateway.heartbeat",
    "/cron/ticker_*",
    "/cron/.tick.lock",
    "/cron/.jobs.lock",
    "/auth.lock",
    "/kanban.db.init.lock",
    "/kanban.db.dispatch.lock",
    "/kanban/boards/*/kanban.db.init.lock",
    "/kanban/boards/*/kanban.db.dispatch.lock",
    "/kanban/.dispatcher.lock",
    "/memories/*.lock",
    "/.backup.lock",
)

# What users sent and made. A child of an excluded folder cannot come back, so it is /cache/*, not /cache/.
_KEPT = tuple(f"!/cache/{name}/" for name in ("images", "audio", "videos", "documents", "screenshots", "citations"))


def _here_and_in_profiles(pattern: str) -> tuple[str, str]:
    sign, body = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
    return (pattern, f"{sign}/profiles/*{body}")


VOLATILE: tuple[str, ...] = (*_LOGS, *(rule for pattern in _VOLATILE for rule in _here_and_in_profiles(pattern)))
"""Patterns of what is over with a restart, or belongs to one state of a database: not to be brought along."""

DEFAULT_EXCLUDES: tuple[str, ...] = (
    *_ANY_DEPTH,
    *_LOGS,
    *(rule for pattern in (*_REGENERABLE, *_VOLATILE) for rule in _here_and_in_profiles(pattern)),
    *(rule for pattern in _KEPT for rule in _here_and_in_profiles(pattern)),
)
"""Gitignore patterns, rooted at the home: what can be made anew, is large, or is over with a restart."""

KNOWN_DATABASES: tuple[str, ...] = (
    "state.db",
    "response_store.db",
    "kanban.db",
    "projects.db",
    "verification_evidence.db",
    "memory_store.db",
    "cron/executions.db",
    "kanban/boards/*/kanban.db",
    "gateway/discord_message_recovery.db",
    "platforms/matrix/store/crypto.db",
    "retaindb_queue.db",
)
"""Shell patterns of the databases that hermes-agent makes, relative to a home or profile.

They are only good for telling that a database should have been there: what is one is told by its header.
"""

_KNOWN = re.compile(
    "(?:profiles/[^/]+/)?(?:" + "|".join(re.escape(name).replace(r"\*", "[^/]+") for name in KNOWN_DATABASES) + ")"
)


def is_known_database(name: bytes) -> bool:
    """Say whether hermes-agent keeps a database under this name, relative to the home's root."""
    return _KNOWN.fullmatch(name.decode("utf-8", "surrogateescape")) is not None
