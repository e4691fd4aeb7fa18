"""Fixtures of the snapshots' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hermes_backup.snapshots.signing import HostKey, Pinned
from tests.snapshots.places import made, make_place

__all__ = ["host_key", "made", "make_place", "other_key", "pinned"]


@pytest.fixture(scope="session")
def host_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostKey]:
    """The key of the host that the tests back up."""
    with HostKey.ensure(tmp_path_factory.mktemp("host") / "key", "web-1") as key:
        yield key


@pytest.fixture(scope="session")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostKey]:
    """The key of somebody else who can write into the remote."""
    with HostKey.ensure(tmp_path_factory.mktemp("other") / "key", "web-1") as key:
        yield key


@pytest.fixture(scope="session")
def pinned(host_key: HostKey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pinned]:
    """The host's key as the trusted machine pinned it."""
    with Pinned.load(host_key.public(), tmp_path_factory.mktemp("pinned")) as pinned:
        yield pinned
