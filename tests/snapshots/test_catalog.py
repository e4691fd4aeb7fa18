from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from hermes_backup.errors import DATA_DAMAGED, MANIFEST_BAD, SIGNATURE_BAD, SNAPSHOT_MISSING, Fault
from hermes_backup.snapshots.catalog import Known, Listed, arrange, check_chain, find, load_manifests, read_catalog
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.manifest import to_json
from hermes_backup.snapshots.names import manifest_name
from hermes_backup.snapshots.place import Place, StoredFile
from hermes_backup.snapshots.signing import HostKey, Pinned
from tests.snapshots.made import HOST, PIPELINE, manifest_of, name_of, store
from tests.snapshots.places import FOLDER, Made


def chain(place: Place, key: HostKey, *sequences: int) -> None:
    """Store snapshots that name each other."""
    previous = None
    for sequence in sequences:
        previous = store(place, key, name_of(sequence), previous)


def load(place: Place, pinned: Pinned) -> tuple[Known | Fault, ...]:
    return load_manifests(place, HOST, PIPELINE, read_catalog(place, HOST, PIPELINE).listed, pinned)


def only_fault(loaded: tuple[Known | Fault, ...]) -> Fault:
    (fault,) = [one for one in loaded if isinstance(one, Fault)]
    return fault


def test_a_place_is_read_back(made: Made, host_key: HostKey, pinned: Pinned) -> None:
    chain(made.place, host_key, 1, 2, 3)
    made.place.put(f"{FOLDER}/RESTORE.txt", b"text")
    made.place.put(f"{FOLDER}/holiday.jpg", b"jpg")
    catalog = read_catalog(made.place, HOST, PIPELINE)
    assert [one.name.sequence for one in catalog.listed] == [1, 2, 3]
    assert {one.state for one in catalog.listed} == {"complete"}
    assert {one.suffix for one in catalog.listed} == {".tar.zst.gpg"}
    assert catalog.foreign == (StoredFile("holiday.jpg", 3),)
    knowns = load(made.place, pinned)
    assert [one.manifest.sequence for one in knowns if isinstance(one, Known)] == [1, 2, 3]
    assert check_chain([one for one in knowns if isinstance(one, Known)]) == ()


@pytest.fixture
def place(tmp_path: Path, host_key: HostKey) -> FolderPlace:
    place = FolderPlace(tmp_path / "store")
    chain(place, host_key, 1, 2, 3)
    return place


def at(place: FolderPlace, sequence: int, suffix: str) -> Path:
    return place.root / FOLDER / f"{name_of(sequence)}{suffix}"


def test_data_without_manifest_is_incomplete(place: FolderPlace, pinned: Pinned) -> None:
    at(place, 3, ".manifest.asc").unlink()
    catalog = read_catalog(place, HOST, PIPELINE)
    assert [one.state for one in catalog.listed] == ["complete", "complete", "incomplete"]
    assert find(catalog.listed, "latest").name == name_of(2)
    assert only_fault(load(place, pinned)).kind is MANIFEST_BAD


def test_a_manifest_without_data_is_broken(place: FolderPlace, pinned: Pinned) -> None:
    at(place, 3, ".tar.zst.gpg").unlink()
    assert read_catalog(place, HOST, PIPELINE).listed[2].state == "broken"
    assert only_fault(load(place, pinned)).kind is DATA_DAMAGED


def test_a_second_data_file_takes_nothing_away(place: FolderPlace) -> None:
    at(place, 3, ".tar").write_bytes(b"x")
    assert read_catalog(place, HOST, PIPELINE).listed[2].state == "complete"


@pytest.mark.parametrize("suffix", [".tar.zst.gpg", ".index.zst.gpg"])
def test_a_part_of_another_size_is_found(place: FolderPlace, pinned: Pinned, suffix: str) -> None:
    with at(place, 2, suffix).open("ab") as file:
        file.write(b"appended")
    fault = only_fault(load(place, pinned))
    assert fault.kind is DATA_DAMAGED
    assert fault.where == str(name_of(2))


def test_an_old_snapshot_renamed_as_newest_is_refused(place: FolderPlace, pinned: Pinned) -> None:
    for suffix in (".manifest.asc", ".tar.zst.gpg", ".index.zst.gpg"):
        at(place, 9, suffix).write_bytes(at(place, 1, suffix).read_bytes())
    fault = only_fault(load(place, pinned))
    assert fault.kind is MANIFEST_BAD
    assert fault.where == str(name_of(9))


def test_a_snapshot_of_another_pipeline_is_refused(place: FolderPlace, host_key: HostKey, pinned: Pinned) -> None:
    store(place, host_key, name_of(4), host="web-2")
    assert only_fault(load(place, pinned)).kind is MANIFEST_BAD


def test_a_forged_manifest_is_refused(place: FolderPlace, other_key: HostKey, pinned: Pinned) -> None:
    store(place, other_key, name_of(4))
    assert only_fault(load(place, pinned)).kind is SIGNATURE_BAD


def test_an_edited_manifest_is_refused(place: FolderPlace, pinned: Pinned) -> None:
    path = at(place, 2, ".manifest.asc")
    path.write_bytes(path.read_bytes().replace(b'"files": 3', b'"files": 5'))
    assert only_fault(load(place, pinned)).kind is SIGNATURE_BAD


def test_an_unsigned_manifest_is_refused(place: FolderPlace, pinned: Pinned) -> None:
    at(place, 2, ".manifest.asc").write_text(to_json(manifest_of(name_of(2))))
    assert only_fault(load(place, pinned)).kind is SIGNATURE_BAD


def knowns(place: FolderPlace, pinned: Pinned) -> list[Known]:
    return [one for one in load(place, pinned) if isinstance(one, Known)]


def test_a_gap_is_normal(place: FolderPlace, host_key: HostKey, pinned: Pinned) -> None:
    at(place, 2, ".manifest.asc").unlink()
    assert check_chain(knowns(place, pinned)) == ()


def test_a_broken_link_is_found(place: FolderPlace, host_key: HostKey, pinned: Pinned) -> None:
    store(place, host_key, name_of(4), "0" * 64)
    (problem,) = check_chain(knowns(place, pinned))
    assert problem.grave
    assert str(name_of(4)) in str(problem)


def test_the_same_sequence_twice_is_found(place: FolderPlace, host_key: HostKey, pinned: Pinned) -> None:
    store(place, host_key, name_of(3, name_of(3).time + timedelta(hours=1)))
    (problem,) = check_chain(knowns(place, pinned))
    assert problem.grave
    assert "same sequence" in str(problem)
    with pytest.raises(Fault, match="several"):
        find(read_catalog(place, HOST, PIPELINE).listed, "3")


def test_a_time_that_goes_back_is_a_warning(place: FolderPlace, host_key: HostKey, pinned: Pinned) -> None:
    last = knowns(place, pinned)[-1]
    store(place, host_key, name_of(4, last.name.time - timedelta(hours=1)), last.manifest_sha256)
    (problem,) = check_chain(knowns(place, pinned))
    assert not problem.grave


LISTED = arrange(
    StoredFile(f"{name_of(number)}{suffix}", 1) for number in (3, 5, 8) for suffix in (".tar", ".manifest.asc")
).listed


@pytest.mark.parametrize(("wanted", "number"), [("latest", 8), ("5", 5), ("000003", 3), (str(name_of(5)), 5)])
def test_find(wanted: str, number: int) -> None:
    assert find(LISTED, wanted).name == name_of(number)


@pytest.mark.parametrize("wanted", ["4", "000004-20260105T033000Z", "none", "", "٣"])
def test_what_is_not_there_names_what_is(wanted: str) -> None:
    with pytest.raises(Fault) as caught:
        find(LISTED, wanted)
    assert caught.value.kind is SNAPSHOT_MISSING
    assert str(name_of(5)) in caught.value.what


def test_find_in_nothing() -> None:
    incomplete = Listed(name_of(1), (StoredFile(f"{name_of(1)}.tar", 1),))
    for listed, words in (((), "none at all"), ((incomplete,), "none at all")):
        with pytest.raises(Fault, match=words):
            find(listed, "latest")
    with pytest.raises(Fault, match="is incomplete"):
        find((incomplete,), "1")


def test_manifests_that_vanish_meanwhile(place: FolderPlace, pinned: Pinned) -> None:
    listed = read_catalog(place, HOST, PIPELINE).listed
    (place.root / FOLDER / manifest_name(name_of(2))).unlink()
    loaded = load_manifests(place, HOST, PIPELINE, listed, pinned)
    assert only_fault(loaded).kind is MANIFEST_BAD
