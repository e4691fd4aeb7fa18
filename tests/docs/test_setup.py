"""The set-up where it may not install: it says what is missing, in a command to copy, and does nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ENVIRONMENT = Path(__file__).parent.parent.parent / "tools" / "environment"
USED = ("sh", "dirname", "id", "sort", "tr", "sed", "gpg", "gpg-agent", "tar", "ssh", "setpriv")
NOBODY = 65534

PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin")

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or PYTHON is None, reason="becomes a user who needs a Python")


@pytest.fixture
def project() -> Iterator[Path]:
    """A folder that another user may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def answer(folder: Path, *programs: str) -> subprocess.CompletedProcess[str]:
    """Run it as nobody, on a machine that has these programs and what it is written in."""
    (folder / "tools").mkdir()
    shutil.copy(ENVIRONMENT, folder / "tools")
    (folder / "bin").mkdir()
    for name in (*USED, *programs):
        found = shutil.which(name)
        assert found is not None, name
        (folder / "bin" / name).symlink_to(found)
    (folder / "bin" / "python3").symlink_to(str(PYTHON))
    return subprocess.run(
        [folder / "bin" / "sh", folder / "tools" / "environment", "run"],
        env={"PATH": str(folder / "bin")}, user=NOBODY, group=NOBODY, capture_output=True, text=True,
    )  # fmt: skip


def named(words: str, before: str) -> set[str]:
    """The packages that are named; Debian has Python's own venv in one, which this machine may have or not."""
    assert words.startswith(before), words
    return set(words.removeprefix(before).split()) - {"python3-venv"}


def test_one_command_to_give_where_apt_is_there(project: Path) -> None:
    done = answer(project, "apt-get")
    said = done.stderr.splitlines()
    assert (done.returncode, len(said)) == (1, 2), done.stderr
    assert said[0] == "This needs system packages, and you are not root. Please run, then again what you ran:"
    before = "    sudo apt-get update && sudo apt-get install --no-install-recommends "
    assert named(said[1], before) == {"zstd"}
    assert not (project / ".venv").exists()


def test_names_of_packages_where_it_is_not(project: Path) -> None:
    done = answer(project)
    assert done.returncode == 1
    assert named(done.stderr, "Please install these Debian packages, or what they are called here: ") == {"zstd"}
