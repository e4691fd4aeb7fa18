from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.errors import CONFIG_INVALID, REMOTE_NAME, Fault
from hermes_backup.snapshots import gate
from hermes_backup.snapshots.remote import RclonePlace
from tests.servers import write_config

SAFE = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@+=-:")
HOSTILE = [
    "",
    "-x",
    "--config=/etc/x",
    "$(touch x)",
    "r2:$(touch x)",
    "r2:a`id`",
    "r2:a b",
    "r2:a\nb",
    "r2:a\n",
    "r2:a'b",
    'r2:a"b',
    "r2:a;b",
    "r2:a|b",
    "r2:a&b",
    "r2:a>b",
    "r2:a\\b",
    "r2:a*",
    "r2:~",
    "r2:a$b",
    "r2:a#b",
    "r2:a!b",
    "r2:a(b",
    "r2:a{b}",
    ":local:/etc",
    ":sftp,ssh=id:x",
    "r2,env_auth=true:x",
    "r2:..",
    "r2:../x",
    "r2:a/../b",
    "r2:a/..",
    "/..",
    "/a/../b",
    "r2:./a",
    "/a/./b",
    "r2:a//b",
    "//a",
    "relative",
    "relative/path",
    "r2:a:b",
    "/a:b",
    "r2",
    "r2:ü",
    "r2:\0",
    "r2:" + "a" * 5000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_addresses_are_refused(text: str) -> None:
    with pytest.raises(Fault) as caught:
        RclonePlace(text)
    assert caught.value.kind is REMOTE_NAME


@pytest.mark.parametrize(
    "text", ["r2:", "r2:bucket", "r2:bucket/a/b", "nas:/srv/hermes", "/mnt/usb", "/", "a_b-c.d:x@y+z=1", "/mnt/usb/"]
)
def test_plain_addresses_pass(text: str) -> None:
    assert gate.address(text) == text
    assert gate.join(text, "web-1/nightly/f").endswith(("/web-1/nightly/f", ":web-1/nightly/f"))


@given(st.text(max_size=30) | st.text(alphabet=":/.-a$` ", max_size=12))
def test_nothing_that_passes_means_anything_to_a_shell(text: str) -> None:
    for check in (gate.address, gate.flag):
        try:
            check(text)
        except Fault:
            continue
        assert set(text) <= SAFE
        assert ".." not in text.replace("...", "").split("/")
        assert not text.startswith(("-", ":")) or check is gate.flag


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (":s3,access_key_id=AK,secret_access_key=SEKRIT:bucket", "':s3,…'"),
        ('r2,pass="SEK,RIT":x', "'r2,…'"),
        ("https://me:SEKRIT@host/x", "'https://…@host/x'"),
        (":sftp,host=h:" + "x" * 5000, "':sftp,…'"),
    ],
)
def test_a_refused_address_is_told_without_its_options(text: str, told: str) -> None:
    with pytest.raises(Fault) as caught:
        gate.address(text)
    assert caught.value.what == f"{told} cannot be the address of a remote"


@pytest.mark.parametrize("text", ["x", "-x", "--", "--x y", "--x=$(id)", "--x='a'", "--x=a;b", "--X", "--x=", "--x\n"])
def test_hostile_flags_are_refused(text: str) -> None:
    with pytest.raises(Fault):
        gate.flag(text)


@pytest.mark.parametrize("bandwidth", ["", "10 M", "$(id)", "-1", "10M;id", "M", "10M\n"])
def test_what_is_no_bandwidth(bandwidth: str, tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        RclonePlace(str(tmp_path), bandwidth=bandwidth)
    assert caught.value.kind is CONFIG_INVALID


def test_a_hostile_config_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        RclonePlace(str(tmp_path), tmp_path / "$(touch x).conf")
    assert caught.value.kind is REMOTE_NAME


def test_no_command_in_a_name_is_ever_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("$(touch ran)", "`touch ran`", "x;touch ran", "x\ntouch ran"):
        for make in (lambda t: RclonePlace(f"{tmp_path}/{t}"), lambda t: RclonePlace(str(tmp_path), tmp_path / t)):
            with pytest.raises(Fault):
                make(text).list("a")
        with pytest.raises(ValueError, match="not a path"):
            RclonePlace(str(tmp_path)).list(text)
    assert list(tmp_path.iterdir()) == []


def test_rclone_python_writes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = RclonePlace(str(tmp_path), write_config(tmp_path / "rclone.conf"))
    place.put("a/b/c", b"1")
    place.list("a/b")
    with pytest.raises(Fault):
        RclonePlace("nosuch:x", place.rclone.config).list("a")
    assert all(isinstance(h, logging.NullHandler) for h in logging.getLogger("rclone_python").handlers)
    assert capfd.readouterr() == ("", "")
