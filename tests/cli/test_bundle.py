"""``bundle``: what an agent is given that nobody can deploy to, and that a run with it alone goes on with its chain."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest

from tests.fleet.ground import Ground
from tests.keys import KeyMaker, gpg

RCLONE = 'hermes_backup_rclone_config: "[r2]\\ntype = local\\n"'
MORE = (RCLONE, "hermes_backup_notify: [json://me:tell@here]", "hermes_backup_credentials: {pass: word}")
KEY = "credentials/vps1/signing-key"


def files(folder: Path) -> dict[str, str]:
    return {str(it.relative_to(folder)): it.read_text() for it in sorted(folder.rglob("*")) if it.is_file()}


def modes(folder: Path) -> set[tuple[bool, int]]:
    return {(it.is_dir(), stat.S_IMODE(it.stat().st_mode)) for it in (folder, *folder.rglob("*"))}


@pytest.fixture
def remote_host(ground: Ground) -> Ground:
    """The host is a container: nothing reaches it, and its state is where it is for root."""
    ground.write("hosts.yml", "all: {hosts: {vps1: {}}}\n")
    settings = ground.settings(*MORE).read_text()
    ground.write("group_vars/all.yml", settings.replace(f"hermes_backup_state: {ground.root}/state\n", ""))
    return ground


def test_all_that_an_agent_needs_is_there_and_private(remote_host: Ground) -> None:
    folder = remote_host.root / "bundle"
    done = remote_host.call("bundle", "./prod", "vps1", str(folder))
    assert done.code == 0, done.out + done.err
    made = files(folder)
    assert list(made) == ["credentials/vps1/notify", "credentials/vps1/pass", "credentials/vps1/rclone.conf", KEY,
                          "vps1.json"]  # fmt: skip
    assert modes(folder) == {(True, 0o700), (False, 0o600)}
    assert made["credentials/vps1/pass"] == "word"
    assert made["credentials/vps1/rclone.conf"] == "[r2]\ntype = local\n"
    assert made[KEY].startswith("-----BEGIN PGP PRIVATE KEY BLOCK-----")
    config = json.loads(made["vps1.json"])
    assert (config["state"], config["rclone_config"]) == ("", "")
    assert list(config["pipelines"]) == ["nightly", "snapshot", "drill"]
    assert "tell" not in made["vps1.json"]
    assert f"{folder} is secret" in done.out
    assert "word" not in done.out + done.err
    assert "pinned the signing key of vps1" in done.out


def test_the_agent_signs_with_the_key_that_it_is_given(ground: Ground) -> None:
    """Also where `deploy` asks for the key, and systemd gives no credentials: a home that moves stays the same host."""
    folder = ground.root / "bundle"
    assert ground.call("bundle", "./prod", "vps1", str(folder)).code == 0
    done = ground.call("agent", "key", "--config", str(folder))
    assert done.data["made"]
    assert done.data["public_key"].strip() == (ground.inventory / "keys/hosts/vps1.asc").read_text().strip()


def test_done_again_it_changes_nothing(remote_host: Ground) -> None:
    folder = remote_host.root / "bundle"
    first = remote_host.call("bundle", "./prod", "vps1", str(folder), "--json").data
    before = {it: (it.read_bytes(), it.stat().st_mtime_ns) for it in folder.rglob("*") if it.is_file()}
    again = remote_host.call("bundle", "./prod", "vps1", str(folder), "--json").data
    assert set(first["files"].values()) == {"written"}
    assert set(again["files"].values()) == {"unchanged"}
    assert (first["signing_key"]["pinned"], again["signing_key"]["pinned"]) == (True, False)
    assert first["signing_key"]["fingerprint"] == again["signing_key"]["fingerprint"]
    assert {it: (it.read_bytes(), it.stat().st_mtime_ns) for it in folder.rglob("*") if it.is_file()} == before


def test_what_is_declared_no_more_goes_and_what_lies_open_is_closed(remote_host: Ground) -> None:
    folder = remote_host.root / "bundle"
    remote_host.call("bundle", "./prod", "vps1", str(folder))
    remote_host.settings(RCLONE)
    (folder / "credentials/vps1/rclone.conf").chmod(0o644)
    (folder / "credentials").chmod(0o755)
    done = remote_host.call("bundle", "./prod", "vps1", str(folder), "--json").data
    assert {name: it for name, it in done["files"].items() if it != "unchanged"} == {
        "credentials/vps1/notify": "removed",
        "credentials/vps1/pass": "removed",
        "credentials/vps1/rclone.conf": "written",
        "vps1.json": "written",
    }
    assert set(files(folder)) == {"credentials/vps1/rclone.conf", KEY, "vps1.json"}
    assert modes(folder) == {(True, 0o700), (False, 0o600)}


def test_an_agent_that_lost_its_key_goes_on_with_that_of_the_bundle(ground: Ground) -> None:
    ground.settings(f"hermes_backup_gnupghome: {ground.recipient.gnupghome}")
    folder = ground.root / "bundle"
    assert ground.call("bundle", "./prod", "vps1", str(folder)).code == 0
    for _ in range(2):
        done = ground.call("agent", "run", "nightly", "--config", str(folder), "--json")
        assert done.code == 0, done.out + done.err
        shutil.rmtree(ground.root / "state" / "vps1" / "gnupg")
    checked = ground.call("verify", "./prod", "--json")
    assert checked.code == 0, checked.out
    assert len(list((ground.root / "remote").rglob("*.manifest.asc"))) == 2
    assert sorted(it.name for it in (ground.inventory / "keys" / "hosts").iterdir()) == ["vps1.asc"]


def test_a_state_of_this_machine_s_user_is_not_that_of_a_container(ground: Ground) -> None:
    settings = ground.settings().read_text()
    ground.write("group_vars/all.yml", settings.replace(f"hermes_backup_state: {ground.root}/state\n", ""))
    ground.call("bundle", "./prod", "vps1", "bundle")
    assert json.loads((ground.root / "bundle" / "vps1.json").read_text())["state"] == ""


def test_a_lost_key_is_told_before_anything_is_written(ground: Ground) -> None:
    first = ground.root / "first"
    ground.call("bundle", "./prod", "vps1", str(first))
    pin = ground.inventory / "keys" / "hosts" / "vps1.asc"
    pinned = pin.read_text()
    done = ground.call("bundle", "./prod", "vps1", "second", "--json")
    assert (done.code, done.data["error"]["name"]) == (8, "HB-HOST-KEY-CHANGED")
    assert "Put the old signing-key into second/credentials/vps1" in done.data["error"]["mend"]
    assert not (ground.root / "second").exists()
    mended = ground.root / "second" / KEY
    mended.parent.mkdir(parents=True)
    shutil.copy(first / KEY, mended)
    assert ground.call("bundle", "./prod", "vps1", "second").code == 0
    assert mended.read_bytes() == (first / KEY).read_bytes()
    assert pin.read_text() == pinned


def test_another_key_than_the_pinned_one_is_refused(ground: Ground, tmp_path: Path) -> None:
    ground.call("bundle", "./prod", "vps1", "first")
    (ground.inventory / "keys" / "hosts" / "vps1.asc").rename(ground.root / "old.asc")
    ground.call("bundle", "./prod", "vps1", "second")
    done = ground.call("bundle", "./prod", "vps1", "first", "--json")
    assert (done.code, done.data["error"]["name"]) == (8, "HB-HOST-KEY-CHANGED")
    assert "Put the old signing-key" in done.data["error"]["mend"]


def test_a_declared_signing_key_is_the_one(ground: Ground) -> None:
    ground.call("bundle", "./prod", "vps1", "first")
    key = (ground.root / "first" / KEY).read_text()
    ground.write("host_vars/vps1.yml", json.dumps({"hermes_backup_credentials": {"signing-key": key}}))
    assert ground.call("bundle", "./prod", "vps1", "second").code == 0
    assert (ground.root / "second" / KEY).read_text() == key


@pytest.mark.parametrize("sort", ["words", "public", "locked", "two"])
def test_what_cannot_sign_is_refused(ground: Ground, key_maker: KeyMaker, tmp_path: Path, sort: str) -> None:
    lies = ground.root / "bundle" / KEY
    lies.parent.mkdir(parents=True)
    home = key_maker.home()
    words = "pass" if sort == "locked" else ""
    gpg(home, "--passphrase", words, "--quick-generate-key", "a <a@example.org>", "ed25519", "sign", "never")
    if sort == "two":
        gpg(home, "--passphrase", words, "--quick-generate-key", "b <b@example.org>", "ed25519", "sign", "never")
    exported = gpg(home, "--armor", "--passphrase", words, "--export" if sort == "public" else "--export-secret-keys")
    lies.write_text("no key" if sort == "words" else exported)
    before = files(ground.root / "bundle")
    done = ground.call("bundle", "./prod", "vps1", "bundle", "--json")
    assert (done.code, done.data["error"]["name"]) == (8, "HB-KEY-INVALID"), done.out
    assert done.data["error"]["where"] == f"bundle/{KEY}"
    assert files(ground.root / "bundle") == before
    assert not (ground.inventory / "keys" / "hosts").exists()


@pytest.mark.parametrize(
    "there", ["notes.txt", "vps2.json", "credentials/vps2/pass", "credentials/vps1/more/pass", "credentials/README"]
)
def test_a_folder_with_something_else_is_left_as_it_is(ground: Ground, there: str) -> None:
    file = ground.root / "bundle" / there
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    (ground.root / "bundle").chmod(0o755)
    done = ground.call("bundle", "./prod", "vps1", "bundle", "--json")
    assert (done.code, done.data["error"]["name"]) == (2, "HB-TARGET-NOT-EMPTY")
    assert files(ground.root / "bundle") == {there: "mine"}
    assert stat.S_IMODE((ground.root / "bundle").stat().st_mode) == 0o755
    assert not (ground.inventory / "keys" / "hosts").exists()


@pytest.mark.parametrize("place", ["credentials", "credentials/vps1", KEY, "vps1.json"])
def test_nothing_is_written_through_a_link(ground: Ground, tmp_path: Path, place: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("mine")
    link = ground.root / "bundle" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere / "file" if place in (KEY, "vps1.json") else elsewhere)
    done = ground.call("bundle", "./prod", "vps1", "bundle", "--json")
    assert (done.code, done.data["error"]["name"]) == (2, "HB-TARGET-NOT-EMPTY")
    assert files(elsewhere) == {"file": "mine"}


def test_a_file_in_place_of_the_folder(ground: Ground) -> None:
    (ground.root / "bundle").write_text("mine")
    done = ground.call("bundle", "./prod", "vps1", "bundle", "--json")
    assert (done.code, done.data["error"]["name"]) == (2, "HB-TARGET-NOT-EMPTY")
    done = ground.call("bundle", "./prod", "vps1", "bundle/below", "--json")
    assert (done.code, done.data["error"]["name"]) == (5, "HB-STAGE-FAILED")
    assert (ground.root / "bundle").read_text() == "mine"


@pytest.mark.parametrize(("host", "name"), [("vps2", "HB-HOST-MISSING"), ("vps", "HB-HOST-MISSING")])
def test_a_host_that_is_none(ground: Ground, host: str, name: str) -> None:
    done = ground.call("bundle", "./prod", host, "bundle", "--json")
    assert (done.code, done.data["error"]["name"]) == (3, name)
    assert not (ground.root / "bundle").exists()


def test_an_inventory_that_is_not_sound_writes_nothing(ground: Ground) -> None:
    ground.settings("hermes_backup_recipients: []")
    done = ground.call("bundle", "./prod", "vps1", "bundle", "--json")
    assert done.code == 3
    assert not (ground.root / "bundle").exists()
