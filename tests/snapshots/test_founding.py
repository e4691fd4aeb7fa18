"""A delta is known as far as what it was made against is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from hermes_backup.errors import Fault
from hermes_backup.snapshots.catalog import Known, Listed, load_manifests, read_catalog
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.founding import load_founded
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.signing import HostKey, Pinned
from tests.snapshots.made import HOST, PIPELINE, name_of, store
from tests.snapshots.places import FOLDER


@pytest.fixture
def place(tmp_path: Path, host_key: HostKey) -> FolderPlace:
    """A full one, a delta of it, and a delta of that."""
    made = FolderPlace(tmp_path)
    store(made, host_key, name_of(1))
    for number in (2, 3):
        store(made, host_key, name_of(number), kind="delta", base=str(name_of(number - 1)))
    return made


def files(place: FolderPlace, name: SnapshotName, ending: str = "") -> list[Path]:
    return sorted(place.root.joinpath(FOLDER).glob(f"{name}*{ending}"))


def seen(place: FolderPlace, pinned: Pinned, *numbers: int) -> list[str]:
    """What is known of these snapshots, by the name of the error; nothing where there is none."""
    listed = read_catalog(place, HOST, PIPELINE).listed
    some = [it for it in listed if it.name.sequence in numbers]
    load = partial(load_manifests, place, HOST, PIPELINE, pinned=pinned)
    return [it.kind.name if isinstance(it, Fault) else "" for it in load_founded(some, listed, load)]


def test_a_base_is_known_and_full_whether_it_is_asked_for_or_not(place: FolderPlace, pinned: Pinned) -> None:
    assert seen(place, pinned, 1, 2, 3) == ["", "", "HB-DATA-DAMAGED"]
    assert [seen(place, pinned, number) for number in (1, 2, 3)] == [[""], [""], ["HB-DATA-DAMAGED"]]


def test_a_base_that_is_not_there(place: FolderPlace, pinned: Pinned) -> None:
    for file in files(place, name_of(1)):
        file.unlink()
    assert seen(place, pinned, 2) == ["HB-BASE-MISSING"]


def test_a_base_that_is_cut_unfinished_or_of_another_key(
    place: FolderPlace, pinned: Pinned, other_key: HostKey
) -> None:
    (data,) = files(place, name_of(1), ".tar.zst.gpg")
    data.write_bytes(b"dat")
    assert seen(place, pinned, 2) == ["HB-DATA-DAMAGED"]
    (manifest,) = files(place, name_of(1), ".manifest.asc")
    manifest.unlink()
    assert seen(place, pinned, 2) == ["HB-MANIFEST-BAD"]
    for file in files(place, name_of(1)):
        file.unlink()
    store(place, other_key, name_of(1))
    assert seen(place, pinned, 2) == ["HB-SIGNATURE-BAD"]


def test_a_place_is_asked_for_bases_only_where_there_are_some(place: FolderPlace, pinned: Pinned) -> None:
    listed = read_catalog(place, HOST, PIPELINE).listed
    asked: list[list[int]] = []

    def load(some: Sequence[Listed]) -> Sequence[Known | Fault]:
        asked.append([it.name.sequence for it in some])
        return load_manifests(place, HOST, PIPELINE, some, pinned)

    load_founded(listed[:1], listed, load)
    load_founded(listed[:2], listed, load)
    load_founded(listed[1:2], listed, load)
    assert asked == [[1], [1, 2], [2], [1]]
