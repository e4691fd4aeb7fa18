"""Which snapshot is taken where the newest is damaged, not given, unfinished, or may lie where nobody answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hermes_backup.errors import SNAPSHOT_UNREADABLE, Fault
from hermes_backup.pipeline.choosing import Chosen, choose_among
from hermes_backup.snapshots.catalog import Known, Listed, load_manifests, read_catalog
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.place import Place
from tests.pipeline.forge import FOLDER, Forge, Witness, entry, pinned, tar_of
from tests.snapshots.places import Cold

ARCHIVE = tar_of(entry("SOUL.md", b"I am.\n"))


def chosen(forge: Forge, *places: Place | Fault, wanted: str = "latest") -> tuple[Chosen, list[str]]:
    """Choose in these places; return what was taken, and what was told."""
    witness = Witness()
    with pinned(forge.site, forge.key.public()) as pin:

        def load(place: Place, listed: Sequence[Listed]) -> Sequence[Known | Fault]:
            return load_manifests(place, "vps1", "nightly", listed, pin)

        seen = [
            (FolderPlace(forge.site.root / "away"), it)
            if isinstance(it, Fault)
            else (it, read_catalog(it, "vps1", "nightly"))
            for it in places
        ]
        return choose_among(seen, "nightly", wanted, load, witness), witness.warnings


def refused(forge: Forge, *places: Place) -> Fault:
    with pytest.raises(Fault) as caught:
        chosen(forge, *places)
    return caught.value


def files(forge: Forge, number: int, suffix: str = "") -> list[Path]:
    return sorted((forge.site.store / FOLDER).glob(f"{number:06d}-*{suffix}"))


def cut(forge: Forge, number: int) -> None:
    (data,) = files(forge, number, ".tar.zst.gpg")
    data.write_bytes(data.read_bytes()[:-1])


def lose_data(forge: Forge, number: int) -> None:
    (data,) = files(forge, number, ".tar.zst.gpg")
    data.unlink()


def lose_index(forge: Forge, number: int) -> None:
    (index,) = files(forge, number, ".index.zst.gpg")
    index.unlink()


def edit(forge: Forge, number: int) -> None:
    (manifest,) = files(forge, number, ".manifest.asc")
    manifest.write_text(manifest.read_text().replace("forge", "forgd"))


def empty(forge: Forge, number: int) -> None:
    (manifest,) = files(forge, number, ".manifest.asc")
    manifest.write_bytes(b"")


@pytest.fixture
def two(forge: Forge) -> tuple[SnapshotName, SnapshotName]:
    return forge.publish(ARCHIVE), forge.publish(ARCHIVE, number=2)


@pytest.mark.parametrize("spoil", [cut, lose_data, lose_index, edit, empty])
def test_latest_is_the_newest_or_nothing(
    forge: Forge, two: tuple[SnapshotName, SnapshotName], spoil: Callable[[Forge, int], None]
) -> None:
    first, second = two
    spoil(forge, 2)
    fault = refused(forge, forge.place)
    assert int(fault.kind.exit_code) == 9
    assert fault.where == f"{forge.site.store}: {second}"
    assert fault.mend.endswith(str(first))
    for named in ("1", str(first)):
        (_, taken), told = chosen(forge, forge.place, wanted=named)
        assert (taken.name, told) == (first, [])
    (_, taken), told = chosen(forge, forge.place, wanted=f"{second.time:%Y-%m-%d}")
    assert (taken.name, len(told)) == (first, 1)
    assert str(second) in told[0]


def test_a_newest_that_another_place_gives_whole_is_taken_from_there(
    forge: Forge, two: tuple[SnapshotName, SnapshotName]
) -> None:
    whole = FolderPlace(forge.site.root / "whole")
    for file in (forge.site.store / FOLDER).iterdir():
        whole.put(f"{FOLDER}/{file.name}", file.read_bytes())
    cut(forge, 2)
    (place, taken), told = chosen(forge, forge.place, whole)
    assert (place.label, taken.name, told) == (whole.label, two[1], [])


def test_a_newer_one_that_nobody_signed_is_no_reason_to_take_an_older_one(forge: Forge) -> None:
    forge.publish(ARCHIVE)
    for number in range(2, 30):
        forge.place.put(f"{FOLDER}/{SnapshotName.parse(f'{number:06d}-20260901T000000Z')}.manifest.asc", b"forged")
    fault = refused(forge, forge.place)
    assert (fault.kind.name, "000029-" in fault.where, "000001-" in fault.mend) == ("HB-SIGNATURE-BAD", True, True)


def test_an_old_manifest_that_is_not_given_stops_nobody_and_is_told(
    forge: Forge, two: tuple[SnapshotName, SnapshotName]
) -> None:
    place = Cold(forge.site.store)
    place.cold = ("000001-",)
    (_, taken), told = chosen(forge, place)
    assert (taken.name, len(told)) == (two[1], 1)
    assert f"{two[0]}: its manifest is not given: Object in GLACIER" in told[0]
    place.cold = ("000002-",)
    fault = refused(forge, place)
    assert (fault.kind, int(fault.kind.exit_code)) == (SNAPSHOT_UNREADABLE, 5)
    assert (str(two[1]) in fault.where, str(two[0]) in fault.mend) == (True, True)
    assert chosen(forge, place, wanted="1")[0][1].name == two[0]


def test_a_delta_whose_base_is_not_given_is_not_given(forge: Forge) -> None:
    first = forge.publish(ARCHIVE)
    delta = forge.publish(ARCHIVE, number=2, kind="delta", base=str(first))
    place = Cold(forge.site.store)
    place.cold = ("000001-",)
    (_, taken), _ = chosen(forge, place)
    assert taken.name == delta, "where none is proven, the newest itself says why it is refused"
    full = forge.publish(ARCHIVE, number=3)
    forge.publish(ARCHIVE, number=4, kind="delta", base=str(first))
    fault = refused(forge, place)
    assert (fault.kind, str(first) in fault.what, str(full) in fault.mend) == (SNAPSHOT_UNREADABLE, True, True)


def test_where_a_newer_one_may_be_is_told(forge: Forge, two: tuple[SnapshotName, SnapshotName]) -> None:
    files(forge, 2, ".manifest.asc")[0].unlink()
    (_, taken), told = chosen(forge, Fault(SNAPSHOT_UNREADABLE, "no route"), forge.place)
    assert taken.name == two[0]
    assert [str(two[1]) in told[0], "no route" in told[1]] == [True, True]
    assert chosen(forge, forge.place, wanted="1")[1] == []
