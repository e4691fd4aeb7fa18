from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.errors import CONFIG_INVALID, Fault
from hermes_backup.snapshots.names import (
    SnapshotName,
    check_host,
    check_pipeline,
    data_name,
    data_suffix,
    folder_of,
    index_name,
    manifest_name,
    parse_file,
)
from hermes_backup.snapshots.place import check_path, is_temporary, temporary_name

times = st.integers(0, 253_402_300_799).map(lambda second: datetime.fromtimestamp(second, timezone.utc))
names = st.builds(SnapshotName, st.integers(1, 10**12 - 1), times)


@given(names)
def test_a_name_reads_as_it_prints(name: SnapshotName) -> None:
    assert SnapshotName.parse(str(name)) == name
    assert parse_file(manifest_name(name)) == (name, ".manifest.asc")
    check_path(folder_of("a", "b") + "/" + data_name(name, ".tar.zst.gpg"))


@given(names, names)
def test_names_order_by_sequence(one: SnapshotName, two: SnapshotName) -> None:
    if one.sequence != two.sequence:
        assert (one < two) == (one.sequence < two.sequence)


@given(st.text(alphabet="0123456789-TZ\u0660", max_size=26))
def test_whatever_parses_prints_as_it_was_read(text: str) -> None:
    try:
        name = SnapshotName.parse(text)
    except ValueError:
        return
    assert str(name) == text


@pytest.mark.parametrize(
    "stem",
    [
        "",
        "123-20261121T033000Z",
        "000000-20261121T033000Z",
        "0000123-20261121T033000Z",
        "000123-20261321T033000Z",
        "000123-20261121T033000Z\n",
        "000123-20261121T033000",
        "000123-20261121t033000z",
        "00012\u0663-20261121T033000Z",
        "000123-20261121T033060Z",
        "000123-19691231T235959Z",
        "../000123-20261121T033000Z",
    ],
)
def test_what_is_no_name(stem: str) -> None:
    with pytest.raises(ValueError):
        SnapshotName.parse(stem)
    assert parse_file(stem + ".manifest.asc") is None


@pytest.mark.parametrize(
    "time",
    [
        datetime(2026, 1, 1, tzinfo=timezone.utc).replace(tzinfo=None),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(2026, 1, 1, microsecond=1, tzinfo=timezone.utc),
    ],
)
def test_a_time_is_a_whole_second_of_utc(time: datetime) -> None:
    with pytest.raises(ValueError, match="whole second of UTC"):
        SnapshotName(1, time)


def test_suffixes() -> None:
    assert data_suffix("tar", "zstd", encrypted=True) == ".tar.zst.gpg"
    assert data_suffix("tar", "none", encrypted=False) == ".tar"
    assert data_suffix("squashfs", "zstd", encrypted=True) == ".sqsh.gpg"
    name = SnapshotName.parse("000001-20260101T000000Z")
    for wrong in (".index.zst", ".manifest.asc", ".tar.exe", "", "/../x.tar"):
        with pytest.raises(ValueError, match="no data of a snapshot"):
            data_name(name, wrong)
    with pytest.raises(ValueError, match="no index of a snapshot"):
        index_name(name, ".tar")


@pytest.mark.parametrize(
    "rest", ["", ".txt", ".tar.zst.gpg.bak", ".tar.gpg.zst", ".manifest", ".manifest.asc~", ".tar.zst.gpg\n"]
)
def test_foreign_files_are_not_ours(rest: str) -> None:
    assert parse_file("000001-20260101T000000Z" + rest) is None


@pytest.mark.parametrize("name", ["web-1", "a", "web_1.example.org", "10.0.0.1", "x" * 63])
def test_names_that_can_be_folders(name: str) -> None:
    assert folder_of(check_host(name), check_pipeline(name)) == f"{name}/{name}"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-x", ".x", "a/b", "a..b", "a.", "a b", "a\n", "ü", "$(id)", "x" * 64, "a:b", "a\0"]
)
def test_names_that_cannot_be_folders(name: str) -> None:
    for check in (check_host, check_pipeline):
        with pytest.raises(Fault) as caught:
            check(name)
        assert caught.value.kind is CONFIG_INVALID


def test_temporary_names_are_unique_and_known_again() -> None:
    made = {temporary_name("000001-20260101T000000Z.tar") for _ in range(50)}
    assert len(made) == 50
    assert all(is_temporary(name) for name in made)
    assert not is_temporary("000001-20260101T000000Z.tar")
    assert not is_temporary(".bashrc")
