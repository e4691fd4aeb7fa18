"""An environment with hermes-agent itself, made once and kept in the project's .cache."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

VERSION = "0.19.0"
_INTERPRETERS = ("python3.11", "python3.12", "python3.13")  # its requires-python is >=3.11,<3.14
_PROJECT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).resolve().parent


def hermes_python() -> Path:
    """Return the Python of an environment that holds hermes-agent, making it on first use (20 s).

    Where no interpreter suits, the test is skipped with the reason; a failed installation is an error.
    """
    folder = _PROJECT / ".cache" / f"hermes-agent-{VERSION}"
    python = folder / "bin" / "python"
    done = folder / ".complete"
    if done.exists():
        return python
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers of pytest-xdist come here at once
        if not done.exists():
            interpreter = _interpreter()
            shutil.rmtree(folder, ignore_errors=True)
            _run(interpreter, "-m", "venv", str(folder))
            _run(str(python), "-m", "pip", "install", "--quiet", f"hermes-agent=={VERSION}")
            done.touch()
    return python


def hermes(script: str, *arguments: str | Path) -> list[str]:
    """Return the argv that runs one of this folder's scripts under hermes-agent's Python."""
    return [str(hermes_python()), str(SCRIPTS / script), *map(str, arguments)]


def _interpreter() -> str:
    if (3, 11) <= sys.version_info < (3, 14):
        return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")
    found = next(filter(None, map(shutil.which, _INTERPRETERS)), None)
    if found is None:
        pytest.skip(f"hermes-agent {VERSION} needs one of {', '.join(_INTERPRETERS)}, and none is on PATH")
    return found


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} failed, so there is no hermes-agent to test with:\n{done.stderr}")
