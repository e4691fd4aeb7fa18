"""Private folders in a folder of somebody else, who may rename and replace what lies there at any moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.ground import needs_root

OTHER = "somebody put another folder in its place"


def made(parent: Path, moment: str, what: str) -> str:
    argv = [sys.executable, "-m", "tests.streams.swapped", str(parent), moment, what]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("moment", ["open", "fcntl.flock"])
def test_what_nobody_touches_is_made_and_goes(tmp_path: Path, moment: str) -> None:
    said = made(tmp_path, moment, "same")
    assert said.startswith("made mine-")
    assert said.endswith("True")  # the moment came
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("moment", "what", "why"),
    [
        pytest.param("open", "strange", OTHER, marks=needs_root),
        ("open", "lent", OTHER),
        ("open", "full", OTHER),
        ("open", "link", "Not a directory"),
        ("fcntl.flock", "plain", OTHER),
        ("fcntl.flock", "full", OTHER),
        ("fcntl.flock", "link", OTHER),
    ],
)
def test_another_folder_in_its_place_is_refused_and_left_alone(
    tmp_path: Path, moment: str, what: str, why: str
) -> None:
    assert made(tmp_path, moment, what) == f"refused: {why}"
    (there,) = tmp_path.glob("mine-*")
    assert [it.name for it in there.iterdir()] == (["theirs"] if what == "full" else [])
    assert list((tmp_path / "taken").iterdir()) == []
