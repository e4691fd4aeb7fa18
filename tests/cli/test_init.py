"""``init``, then ``validate``, then what its own words say to do."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.fleet.ground import PROGRAM, Ground
from tests.keys import KeyMaker, fingerprint_of, gpg
from tests.pipeline.test_restore import small_disk


def test_init_then_validate_then_edit_then_validate(ground: Ground, key_maker: KeyMaker) -> None:
    done = ground.call("init", "mine")
    assert done.code == 0
    folder = ground.root / "inventory" / "mine"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(str(it.relative_to(folder)) for it in folder.rglob("*") if it.is_file()) == [
        "group_vars/all.yml",
        "hosts.yml",
        "keys/README",
    ]
    found = ground.call("validate", "mine", "--json")
    assert found.code == 3
    assert [(it["where"], it["what"]) for it in found.data["errors"]] == [
        ("inventory/mine/group_vars/all.yml:7:28", "hermes_backup_recipients: still the placeholder"),
        ("inventory/mine/group_vars/all.yml:9:25", "hermes_backup_remotes: still the placeholder"),
    ]
    home = key_maker.home()
    (made,) = re.findall(r"gpg (--quick-generate-key .*)", done.out)
    words = [it.strip('"') for it in re.findall(r'"[^"]*"|\S+', made)]
    gpg(home, "--passphrase", "", *words)
    fingerprint = fingerprint_of(home)
    (folder / "keys" / "operator.asc").write_text(gpg(home, "--armor", "--export", fingerprint))
    settings = folder / "group_vars" / "all.yml"
    text = settings.read_text().replace('"CHANGE-ME"', fingerprint)
    settings.write_text(text.replace('"CHANGE-ME:hermes-backups"', str(ground.root / "remote")))
    assert ground.call("validate", "mine", "--json").data["errors"] == []


def test_what_is_commented_out_is_sound_when_it_is_not(ground: Ground) -> None:
    ground.call("init", "mine", "--json")
    settings = ground.root / "inventory" / "mine" / "group_vars" / "all.yml"
    text = settings.read_text()
    opened = re.sub(r"^# (?=hermes_|  )", "", text, flags=re.MULTILINE)
    assert opened.count("\nhermes_backup_") == 6
    settings.write_text(opened)
    found = ground.call("validate", "mine", "--json").data["errors"]
    assert [it["what"].rpartition(": ")[2] for it in found] == ["still the placeholder"] * 2


def test_init_with_hosts(ground: Ground) -> None:
    done = ground.call("init", "--host", "root@vps1.example.org:2222", "--host", "10.0.0.7")
    assert done.code == 0
    text = (ground.root / "inventory" / "prod" / "hosts.yml").read_text()
    assert text.endswith(
        "all:\n  hosts:\n"
        '    "vps1.example.org":\n      ansible_host: "vps1.example.org"\n      ansible_user: "root"\n'
        '      ansible_port: 2222\n    "10.0.0.7":\n      ansible_host: "10.0.0.7"\n'
    )
    assert len(ground.call("validate", "prod", "--json").data["errors"]) == 2


def test_init_overwrites_nothing(ground: Ground) -> None:
    folder = ground.root / "inventory" / "prod"
    folder.mkdir(parents=True)
    (folder / "hosts.yml").write_text("mine")
    done = ground.call("init", "--json")
    assert (done.code, done.data["error"]["name"]) == (2, "HB-TARGET-NOT-EMPTY")
    assert [it.name for it in folder.iterdir()] == ["hosts.yml"]
    assert (folder / "hosts.yml").read_text() == "mine"


def test_init_on_a_full_disk_is_told_and_leaves_nothing(ground: Ground) -> None:
    with small_disk(ground.root / "inventory", "4k") as disk:
        done = ground.call("init", "--json")
        error = done.data["error"]
        assert (done.code, error["name"], error["where"]) == (5, "HB-DISK-FULL", "inventory/prod")
        assert list(disk.iterdir()) == []


def test_a_fault_that_standard_output_does_not_take_is_told_to_people(ground: Ground) -> None:
    ground.call("init", "--json")
    reader, gone = os.pipe()
    os.close(reader)
    for refuses in (gone, os.open("/dev/full", os.O_WRONLY)):
        argv = [*PROGRAM, "validate", "prod", "--json"]
        done = subprocess.run(argv, cwd=ground.root, stdout=refuses, stderr=subprocess.PIPE, text=True, check=False)
        os.close(refuses)
        assert done.returncode == 3
        first, *rest = done.stderr.splitlines()
        assert first.endswith("recipients: still the placeholder [HB-CONFIG-INVALID]")
        assert len(rest) == 3, "nothing follows what is told"


@pytest.mark.parametrize("words", [("--version",), ("agent", "homes", "--json")])
def test_output_on_a_full_disk_is_no_bug(words: Sequence[str]) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # as users have it
    with Path("/dev/full").open("wb") as full:
        argv = [*PROGRAM, *words]
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=env)
    assert done.returncode == 5
    assert done.stderr.splitlines() == [
        "No space left on device [HB-DISK-FULL]",
        "    df -h and df -i say which file system is full.",
    ]


def test_closed_streams_are_no_bug(ground: Ground) -> None:
    ground.call("init", "--json")
    argv = ["sh", "-c", 'exec "$@" <&- >&- 2>"$0"', str(ground.root / "said"), *PROGRAM, "validate", "prod"]
    assert subprocess.run(argv, cwd=ground.root, check=False).returncode == 3
    assert "[HB-CONFIG-INVALID]" in (ground.root / "said").read_text()
    assert subprocess.run([*argv, "--json"], cwd=ground.root, check=False).returncode == 3
    assert (ground.root / "said").read_text() == ""


@pytest.mark.parametrize(
    "words",
    [("../x",), ("a/b",), (".",), ("a b",), ("ok", "--host", "a;rm -rf"), ("ok", "--host", "$(touch x)"),
     ("ok", "--host=--x"), ("ok", "--host", "a\nb"), ("ok", "--host", "")],
)  # fmt: skip
def test_init_refuses_names_that_are_none(ground: Ground, words: tuple[str, ...]) -> None:
    done = ground.call("init", *words, "--json")
    assert (done.code, done.data["error"]["name"]) == (3, "HB-CONFIG-INVALID")
    assert not (ground.root / "inventory").exists()
    assert not (ground.root / "x").exists()


def test_the_version_is_told_without_a_command() -> None:
    done = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"hermes-backup {version('hermes-backup')}\n")
