"""Lists of files by a host that was broken into: the trusted machine's memory stays as it is."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.pipeline.looking import Shelf
from hermes_backup.snapshots.index import LARGEST, to_lines
from hermes_backup.snapshots.manifest import from_json
from hermes_backup.snapshots.names import SnapshotName, manifest_name
from tests.pipeline.forge import FOLDER, Forge, Witness, entry, members_of, pinned, refused, tar_of
from tests.site import Site

SOUL = tar_of(entry("SOUL.md", b"me"))
TOO_LARGE = "HB-INDEX-TOO-LARGE"


def bomb(size: int = LARGEST) -> bytes:
    """A list with just too many lines, each of them true: some KiB of zstd."""
    (line,) = to_lines(members_of(SOUL))
    return line * (size // len(line) + 1)


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_list_that_would_fill_the_memory_is_not_brought_back(forge: Forge) -> None:
    forge.publish(SOUL, listing=bomb())
    with little_memory():
        refused(forge.site, TOO_LARGE, key=forge.key.public())


def test_other_lists_are_read_beside_one_that_would_fill_the_memory(forge: Forge) -> None:
    forge.publish(SOUL)
    forge.publish(SOUL, number=2, listing=bomb())
    config = forge.site.config(forge.site.usual())
    with pinned(forge.site, forge.key.public()) as pin, little_memory():
        seen = Shelf(config, pipeline_of(config, "nightly"), pin).everything(Witness())
    assert [it.name.sequence for it in seen.looks] == [1]
    assert [(it.kind.name, "000002-" in it.where) for it in seen.faults] == [(TOO_LARGE, True)]


def promise(forge: Forge, name: SnapshotName, **index: int) -> None:
    """Sign the manifest again, with something else said of its list of files."""
    path = forge.site.store / FOLDER / manifest_name(name)
    with pinned(forge.site, forge.key.public()) as pin:
        manifest = from_json(pin.read(path.read_bytes()))
    parts = tuple(it.model_copy(update=index if it.role == "index" else {}) for it in manifest.parts)
    forge.sign(manifest.model_copy(update={"parts": parts}))


def test_a_list_that_is_longer_than_its_manifest_says_ends_there(forge: Forge) -> None:
    promise(forge, forge.publish(SOUL, listing=bomb()), plain_size=200)
    with little_memory():
        refused(forge.site, "HB-DATA-DAMAGED", key=forge.key.public(), match="unpacks to more")


def test_a_list_that_is_large_as_it_lies_is_not_even_fetched(forge: Forge) -> None:
    name = forge.publish(SOUL)
    promise(forge, name, size=LARGEST + 1)
    (lies,) = (forge.site.store / FOLDER).glob("*.index.*")
    os.truncate(lies, LARGEST + 1)
    refused(forge.site, TOO_LARGE, key=forge.key.public())


def test_no_list_is_written_that_would_not_be_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is lowered here: a home with so many files takes minutes to make."""
    monkeypatch.setattr("hermes_backup.stages.describing.LARGEST", 100)
    done = site.run()
    assert done.error is not None
    assert (done.state, done.error.name) == ("failed", "HB-STAGE-FAILED")
    assert "the list of files has" in done.error.what
    assert [it for it in site.store.rglob("*") if it.is_file()] == []
