"""Which addresses are folders of this machine, which need no rclone, and which are left to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_backup.snapshots.addresses import folder_at, place_at
from hermes_backup.snapshots.folder import FolderPlace
from tests.servers import write_config

CONFIG = """
[disk]
type = alias
remote = /mnt/disk/
[far]
type = alias
remote = nas:backups
[strange]
type = alias
remote = /mnt/$(touch x)
[here]
type = local
[nas]
type = sftp
"""


@pytest.mark.parametrize(
    ("address", "folder"),
    [
        ("/mnt/disk", "/mnt/disk"),
        ("/mnt/disk/", "/mnt/disk"),
        ("disk:", "/mnt/disk"),
        ("disk:inner/most", "/mnt/disk/inner/most"),
        ("disk:/inner", None),
        ("far:", None),
        ("far:inner", None),
        ("strange:", None),
        ("here:/mnt/disk", None),
        ("nas:/mnt/disk", None),
        ("unknown:x", None),
    ],
)
def test_absolute_paths_and_aliases_of_them_are_folders(tmp_path: Path, address: str, folder: str | None) -> None:
    config = write_config(tmp_path / "rclone.conf", CONFIG)
    assert folder_at(address, config) == (Path(folder) if folder else None)


@pytest.mark.parametrize("content", ["", "no configuration", "RCLONE_ENCRYPT_V0:\nabc\n", "[disk]\ntype = alias\n"])
def test_a_configuration_that_says_nothing_of_it_leaves_it_to_rclone(tmp_path: Path, content: str) -> None:
    assert folder_at("disk:x", write_config(tmp_path / "rclone.conf", content)) is None
    assert folder_at("disk:x", tmp_path / "missing") is None


@pytest.mark.parametrize("variable", ["RCLONE_CONFIG", "XDG_CONFIG_HOME", "HOME"])
def test_without_a_configuration_of_its_own_rclones_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("RCLONE_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    where = {"RCLONE_CONFIG": "", "XDG_CONFIG_HOME": "rclone", "HOME": ".config/rclone"}[variable]
    (tmp_path / where).mkdir(parents=True, exist_ok=True)
    file = write_config(tmp_path / where / "rclone.conf", CONFIG)
    monkeypatch.setenv(variable, str(file if variable == "RCLONE_CONFIG" else tmp_path))
    assert folder_at("disk:x") == Path("/mnt/disk/x")


def test_it_goes_by_the_name_that_was_declared(tmp_path: Path) -> None:
    config = write_config(tmp_path / "rclone.conf", f"[disk]\ntype = alias\nremote = {tmp_path}\n")
    place = place_at("disk:inner", config)
    assert place.label == "disk:inner"
    place.put("web-1/nightly/file", b"content")
    assert (tmp_path / "inner" / "web-1" / "nightly" / "file").read_bytes() == b"content"


def test_what_a_folder_alone_cannot_do_is_left_to_rclone(tmp_path: Path) -> None:
    assert isinstance(place_at(str(tmp_path)), FolderPlace)
    assert not isinstance(place_at(str(tmp_path), bandwidth="1M"), FolderPlace)
    assert not isinstance(place_at(str(tmp_path), append_only=True), FolderPlace)
