"""Which folders somebody else can change: each part of the way is looked at, as sshd does."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hermes_backup.pipeline.agent import Options
from hermes_backup.streams.ownership import exposed
from tests.pipeline.ground import needs_root
from tests.site import Site

NOBODY = 65534


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Path]:
    """A folder with two above it that are a test's own."""
    (tmp_path / "above" / "store").mkdir(parents=True)
    yield tmp_path / "above" / "store"
    tmp_path.joinpath("above").chmod(0o700)


def _linked(store: Path) -> None:
    moved = store.parent.parent / "moved"
    moved.mkdir()
    moved.chmod(0o777)
    store.rmdir()
    (moved / "real").mkdir(mode=0o700)
    store.symlink_to(moved / "real")


def _lent_link(store: Path) -> None:
    store.rename(store.parent / "real")
    store.symlink_to("real")
    os.lchown(store, NOBODY, NOBODY)


EXPOSED = {
    "the folder": lambda it: it.chmod(0o777),
    "the folder, though sticky": lambda it: it.chmod(0o1777),
    "one above": lambda it: it.parent.chmod(0o757),
    "where a link leads": _linked,
    "one above of what is not there yet": lambda it: (it.rmdir(), it.parent.chmod(0o777)),
}
GIVEN = {
    "another's folder": lambda it: os.chown(it, NOBODY, NOBODY),
    "another's folder above": lambda it: os.chown(it.parent, NOBODY, NOBODY),
    "another's link": _lent_link,
    "a group with somebody in it": lambda it: (os.chown(it, 0, NOBODY), it.chmod(0o770)),
}
OWN = {
    "as it is made": lambda _: None,
    "others may read": lambda it: it.chmod(0o755),
    "a sticky folder above": lambda it: it.parent.chmod(0o1777),
    "not there yet": lambda it: it.rmdir(),
    "not there yet, below a sticky folder": lambda it: (it.rmdir(), it.parent.chmod(0o1777)),
    "a group that nobody else is in": lambda it: it.chmod(0o770),
    "a link of ours": lambda it: (it.rename(it.parent / "real"), it.symlink_to("../above/real")),
}


@pytest.mark.parametrize(
    "change",
    [*(pytest.param(it, id=name) for name, it in EXPOSED.items())]
    + [pytest.param(it, id=name, marks=needs_root) for name, it in GIVEN.items()],
)
def test_what_others_can_change_is_found_and_the_command_mends_it(way: Path, change: Callable[[Path], object]) -> None:
    change(way)
    found = exposed(way)
    assert found is not None
    subprocess.run(shlex.split(found.mend), check=True)
    assert exposed(way) is None


@pytest.mark.parametrize("change", [pytest.param(it, id=name) for name, it in OWN.items()])
def test_what_is_ours_alone_will_do(way: Path, change: Callable[[Path], object]) -> None:
    change(way)
    assert exposed(way) is None


def test_an_access_list_counts(way: Path) -> None:
    if subprocess.run(["setfacl", "-m", "u:nobody:rwx", way], check=False, capture_output=True).returncode:
        pytest.skip("no access lists here")
    found = exposed(way)
    assert found is not None
    subprocess.run(shlex.split(found.mend), check=True)
    assert exposed(way) is None


@pytest.mark.parametrize("which", ["store", "remote", "state"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_run_refuses_a_folder_that_others_write_to_before_any_work(site: Site, which: str, dry_run: bool) -> None:
    stages = site.usual({"push": {"to": [str(site.remote)]}})
    folder = site.root / which
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    status = site.run(stages, options=Options("test", dry_run=dry_run))
    assert status.exit_code == 5
    assert status.error is not None
    assert status.error.name == "HB-FOLDER-EXPOSED"
    assert status.error.mend == f"chmod go-w {folder}"
    assert not site.snapshots()
    subprocess.run(shlex.split(status.error.mend), check=True)
    assert site.run(stages, options=Options("test", dry_run=dry_run)).exit_code == 0
