"""Fixtures of the pipelines' tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_backup.snapshots.signing import HostKey
from tests.pipeline.forge import Forge
from tests.site import Site


@pytest.fixture(scope="session")
def forging_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostKey]:
    """The key of a host that somebody else has taken over."""
    with HostKey.ensure(tmp_path_factory.mktemp("taken") / "key", "vps1") as key:
        yield key


@pytest.fixture(scope="session")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostKey]:
    """The key of somebody who can write into the remote."""
    with HostKey.ensure(tmp_path_factory.mktemp("other") / "key", "vps1") as key:
        yield key


@pytest.fixture
def forge(site: Site, forging_key: HostKey) -> Forge:
    """A forge that writes into the site's store."""
    return Forge(site, forging_key)


@pytest.fixture
def canary(forge: Forge) -> Iterator[Path]:
    """A folder beside the target that no restore may touch."""
    folder = forge.site.root / "canary"
    folder.mkdir()
    (folder / "song").write_text("alive")
    before = [(it, it.lstat()) for it in (folder, folder / "song")]
    yield folder
    assert [it.name for it in folder.iterdir()] == ["song"]
    assert (folder / "song").read_text() == "alive"
    for path, status in before:
        now = path.lstat()
        assert (now.st_mode, now.st_mtime_ns, now.st_nlink, now.st_uid) == (
            status.st_mode, status.st_mtime_ns, status.st_nlink, status.st_uid,
        )  # fmt: skip
