"""Short private folders: there while they are used, gone afterwards, and swept where their maker was killed."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hermes_backup.streams.scratch import findable_folder, scratch, sweep

_MAKER = """
import sys
from hermes_backup.streams.scratch import scratch
with scratch() as folder:
    (folder / "inner").mkdir()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(made))
    return made


def remembered(state: Path) -> list[str]:
    return sorted(str(it.readlink()) for it in state.glob("hermes-backup/scratch/*"))


def killed(temporaries: Path) -> Path:
    """Make a folder in another folder for temporaries, and be killed before it goes."""
    temporaries.mkdir(exist_ok=True)
    argv = [sys.executable, "-c", _MAKER]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(temporaries)}
    ) as maker:
        assert maker.stdout is not None
        made = Path(maker.stdout.readline().strip())
        maker.kill()
        maker.communicate()
    assert made.parent == temporaries
    assert (made / "inner").is_dir()
    return made


def test_it_is_private_and_gone_afterwards(folder: Path) -> None:
    with scratch() as made:
        assert made.parent == folder
        assert made.stat().st_mode & 0o777 == 0o700
        (made / "inner").mkdir()
        (made / "inner" / "file").write_text("x")
    assert list(folder.iterdir()) == []


def test_nothing_of_it_stays_in_the_users_state_but_what_others_put_there(folder: Path, state: Path) -> None:
    with scratch(), scratch():
        assert len(remembered(state)) == 2
    assert list(state.iterdir()) == []
    (state / "hermes-backup").mkdir()
    (state / "hermes-backup" / "seen.json").write_text("{}")
    with scratch():
        pass
    assert [it.name for it in (state / "hermes-backup").iterdir()] == ["seen.json"]


def test_what_lives_is_not_swept_and_what_was_killed_is(folder: Path) -> None:
    argv = [sys.executable, "-c", _MAKER]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        made = Path(maker.stdout.readline().strip())
        with scratch() as ours:
            sweep()
            assert (made / "inner").is_dir()
            assert ours.is_dir()
            maker.kill()
            maker.communicate()
            assert made.is_dir()
            sweep()
            assert not made.exists()
            assert ours.is_dir()


def test_only_what_is_ours_is_swept(folder: Path) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (folder / "hb-scratch-aaaaaaaa").symlink_to(elsewhere)
    for name in ("hb-scratch-notes", "hb-scratch-toolongname", "hb-scratch-ABCDEFGH", "mine"):
        (folder / name).mkdir()
    (folder / "hb-scratch-bbbbbbbb").write_text("a file")
    if os.geteuid() == 0:
        (folder / "hb-scratch-cccccccc").mkdir()
        os.chown(folder / "hb-scratch-cccccccc", 65534, 65534)
    before = set(folder.iterdir())
    sweep()
    assert set(folder.iterdir()) == before


def test_what_was_killed_is_swept_whatever_the_folder_for_temporaries_was(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, state: Path
) -> None:
    made = killed(tmp_path_factory.mktemp("large"))
    with scratch() as ours:
        assert remembered(state) == sorted(map(str, (made, ours)))
        sweep()
        assert not made.exists()
        assert ours.is_dir()
        assert remembered(state) == [str(ours)]
    assert remembered(state) == []


def test_what_cannot_be_removed_is_not_forgotten(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, state: Path
) -> None:
    """Another still holds it; when it lets go, it is swept."""
    made = killed(tmp_path_factory.mktemp("large"))
    holder = os.open(made, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    sweep()
    assert (made.is_dir(), remembered(state)) == (True, [str(made)])
    os.close(holder)
    sweep()
    assert (made.exists(), remembered(state)) == (False, [])


_FINDABLE = """
import sys
from pathlib import Path
from hermes_backup.streams.scratch import findable_folder
with findable_folder(Path(sys.argv[1]), ".hermes-restore-") as folder:
    (folder / "tree").mkdir()
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_a_folder_anywhere_is_found_when_its_maker_was_killed_and_not_before(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, state: Path
) -> None:
    argv = [sys.executable, "-c", _FINDABLE, str(tmp_path_factory.mktemp("beside"))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        made = Path(maker.stdout.readline().strip())
        sweep()
        assert (made / "tree").is_dir()
        maker.kill()
        maker.communicate()
    assert (made / "tree").is_dir()
    sweep()
    assert (made.exists(), remembered(state)) == (False, [])
    with findable_folder(made.parent, ".hermes-restore-") as ours:
        assert remembered(state) == [str(ours)]
    assert (list(made.parent.iterdir()), remembered(state)) == ([], [])


def test_a_link_of_another_user_or_name_leads_nowhere(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, state: Path
) -> None:
    """Under sudo the state may be that of a user who may not choose what root removes."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    links = state / "hermes-backup" / "scratch"
    links.mkdir(parents=True)
    for name, target in (("notes", "notes"), ("one-aaaaaaaa", "two-bbbbbbbb"), ("foreign-cccccccc",) * 2):
        (elsewhere / target).mkdir()
        (elsewhere / target / "file").write_text("x")
        (links / name).symlink_to(elsewhere / target)
    if os.geteuid() == 0:
        os.chown(links / "foreign-cccccccc", 65534, 65534, follow_symlinks=False)
    else:
        (links / "foreign-cccccccc").unlink()
    sweep()
    assert len(list(elsewhere.rglob("file"))) == 3


@pytest.mark.parametrize("spoil", ["no folder", "not absolute", "read-only"])
def test_where_nothing_can_be_remembered_it_is_made_all_the_same(
    spoil: str, folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a service, whose state may lie where nothing is written."""
    place = {"no folder": "/dev/null", "not absolute": "state", "read-only": "/proc/self"}[spoil]
    monkeypatch.setenv("XDG_STATE_HOME", place)
    monkeypatch.chdir(state)
    with scratch() as made:
        (made / "file").write_text("x")
    sweep()
    assert (list(folder.iterdir()), list(state.iterdir())) == ([], [])
