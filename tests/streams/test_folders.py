"""Private folders in a folder of somebody else, who may rename and replace what lies there at any moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from hermes_backup.streams import folders
from tests.pipeline.ground import needs_root

if TYPE_CHECKING:
    from _typeshed import TraceFunction

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


@pytest.mark.parametrize("moment", ["open", "fcntl.flock"])
def test_one_that_is_swept_before_it_is_locked_is_made_once_more(tmp_path: Path, moment: str) -> None:
    said = made(tmp_path, moment, "swept")
    assert said.startswith("made mine-")
    assert said.endswith("True")
    assert list(tmp_path.iterdir()) == []


def test_one_that_somebody_locks_first_is_given_up_for_another(tmp_path: Path) -> None:
    said = made(tmp_path, "fcntl.flock", "locked")
    assert said.startswith("made mine-")
    assert said.endswith("True")
    assert list(tmp_path.iterdir()) == []


def test_where_somebody_locks_each_of_them_it_is_refused(tmp_path: Path) -> None:
    assert made(tmp_path, "fcntl.flock", "all locked").startswith("refused: somebody else takes each folder")
    assert list(tmp_path.iterdir()) == []


def test_a_signal_at_any_step_leaves_no_folder(tmp_path: Path) -> None:
    """At each line in turn, of making and of removing it, as Python takes signals between two of its steps."""
    steps = 0
    while interrupted(tmp_path, steps):
        assert list(tmp_path.iterdir()) == [], f"after step {steps}"
        steps += 1
    assert steps > 40
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_emptied_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may sweep it then."""

    def refuse(_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(folders, "_empty", refuse)
    with pytest.raises(PermissionError), folders.private_folder(tmp_path, "mine-"):
        pass
    monkeypatch.undo()
    folders.sweep(tmp_path, "mine-")
    assert list(tmp_path.iterdir()) == []


def interrupted(parent: Path, after: int) -> bool:
    """Make a private folder with something in it, and stop after so many steps; return whether it came so far."""
    left = after

    def step(frame: FrameType, event: str, argument: object) -> TraceFunction | None:
        nonlocal left
        if frame.f_code.co_filename != folders.__file__:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        with folders.private_folder(parent, "mine-") as folder:
            (folder / "below").mkdir()
            (folder / "below" / "plain").touch()
            (folder / "plain").touch()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False
