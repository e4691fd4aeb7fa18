"""Can hermes-agent itself read the home? Where it is installed, its own code opens the scratch copy."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which

from hermes_backup.errors import Fault
from hermes_backup.home.printable import printable
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.stages.checks.commands import NO_SANDBOX
from hermes_backup.stages.checks.sandbox import Sandbox
from hermes_backup.stages.things import Finding
from hermes_backup.streams.process import Completed

_WHAT = "hermes-agent"
_STATE = "state.db"
_CODE = "~/.hermes/hermes-agent"
# opening migrates the copy; the gateway is not imported
_PROBE = """
import json, os
from pathlib import Path
from hermes_state import SessionDB
database = SessionDB(Path(os.environ["HERMES_HOME"]) / "state.db")
print(json.dumps({"sessions": database.session_count(), "messages": database.message_count()}))
database.close()
"""
_LINES = 1


def hermes(manifest: Manifest, root: Path, python: Path | None, box: Sandbox | None, seconds: float) -> Finding:
    """Let hermes-agent, which ``python`` has, count its sessions and messages, and compare; no gateway is started.

    That it cannot open the home proves nothing: the one that is installed here may be older than the home.
    """
    if python is None:
        return Finding(_WHAT, "unproven", "it is not installed here")
    if not any(it.path == _STATE for it in manifest.databases):
        return Finding(_WHAT, "unproven", f"the manifest counts no {_STATE} that it could open")
    if box is None:
        return Finding(_WHAT, "unproven", NO_SANDBOX)
    try:
        done = box.run([str(python), "-I", "-c", _PROBE], root, seconds)
    except (Fault, OSError, subprocess.TimeoutExpired) as error:
        return Finding(_WHAT, "unproven", "it cannot open the home", (printable(str(error)),))
    return _judged(done, manifest, box.how)


def _judged(done: Completed, manifest: Manifest, how: str) -> Finding:
    counted = _counts(done.stdout) if done.returncode == 0 else None
    if counted is None:
        lines = tuple(printable(it.strip()) for it in done.stderr.splitlines()[-_LINES:])
        return Finding(_WHAT, "unproven", "it cannot open the home; it may be of another version", lines)
    promised = next(it.tables for it in manifest.databases if it.path == _STATE)
    differing = [it for it in counted if promised.get(it) != counted[it]]
    if differing:
        said = ", ".join(f"{counted[it]} {it}, not {promised.get(it)}" for it in differing)
        return Finding(_WHAT, "failed", f"it counts {said}")
    return Finding(_WHAT, "ok", f"opens it: {counted['sessions']} sessions, {counted['messages']} messages ({how})")


def interpreter() -> Path | None:
    """Return the Python that has hermes-agent: of its program on PATH, or of its usual folder."""
    return next((it for it in _candidates() if it.is_absolute() and os.access(it, os.X_OK)), None)


def _candidates() -> Iterator[Path]:
    for program in (which("hermes"), "~/.local/bin/hermes", "/usr/local/bin/hermes"):
        first = _first_line(Path(program).expanduser()) if program else ""
        words = first.removeprefix("#!").split()
        if first.startswith("#!") and words and Path(words[0]).name.startswith("python"):
            yield Path(words[0])
    for name in ("venv", ".venv"):
        yield Path(_CODE).expanduser() / name / "bin" / "python"


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.readline(500).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _counts(answer: bytes) -> dict[str, int] | None:
    """Read the last line; whatever the agent logs may stand before it."""
    try:
        read = json.loads(answer.splitlines()[-1])
        return {"sessions": int(read["sessions"]), "messages": int(read["messages"])}
    except (ValueError, LookupError, TypeError):
        return None
