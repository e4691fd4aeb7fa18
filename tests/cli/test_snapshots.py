"""The commands of the trusted machine on one inventory: list, verify, restore, prune, with their exit codes."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.backing import back_up
from tests.home.full_text import CARRYING, hits, make
from tests.keys import KeyMaker, Recipient
from tests.site import PROGRAM, make_home, messages_in

GROUP = """\
hermes_backup_home: {root}/home
hermes_backup_state: {root}/state
hermes_backup_config_dir: {root}/config
hermes_backup_gnupghome: {gnupghome}
hermes_backup_recipients: [{fingerprint}]
hermes_backup_remotes: [{root}/remote]
hermes_backup_pipelines:
  nightly:
    stages:
      - sqlite:
      - archive:
      - encrypt: {{recipients: "{{{{ hermes_backup_recipients }}}}"}}
      - push: {{to: "{{{{ hermes_backup_remotes }}}}"}}
"""
HOSTS = (
    "all: {hosts: {vps1: {ansible_connection: local, ansible_python_interpreter: '{{ ansible_playbook_python }}'}}}\n"
)


@dataclass(frozen=True)
class Desk:
    """The trusted machine with one inventory."""

    root: Path

    @property
    def remote(self) -> Path:
        return self.root / "remote" / "vps1" / "nightly"

    def call(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {**os.environ, "XDG_CACHE_HOME": str(self.root / "cache"), "COLUMNS": "80", **environment}
        return subprocess.run([*PROGRAM, *words], capture_output=True, text=True, cwd=self.root, env=kept, check=False)

    def json(self, *words: str, code: int = 0) -> Mapping[str, Any]:
        done = self.call(*words, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        parsed: Mapping[str, Any] = json.loads(done.stdout)
        return parsed

    def backup(self, times: int = 1) -> None:
        for _ in range(times):
            back_up(self.root, self.root / "inventory" / "prod")

    def declare(self, stage: str) -> None:
        with (self.root / "inventory" / "prod" / "group_vars" / "all.yml").open("a") as file:
            file.write(f"      - {stage}\n")

    def make_deltas(self) -> None:
        """Make deltas of all but the first: the home gets something that does not compress away."""
        (self.root / "home" / "notes.bin").write_bytes(random.Random(1).randbytes(300_000))
        variables = self.root / "inventory" / "prod" / "group_vars" / "all.yml"
        variables.write_text(variables.read_text().replace("- archive:\n", "- archive: {delta: {}}\n"))

    def deltas(self) -> list[bool]:
        """Which snapshots lie there as deltas, oldest first."""
        return [".tar.delta." in it.name for it in sorted(self.remote.glob("*.tar.*"))]


@pytest.fixture
def desk(tmp_path: Path, recipient: Recipient) -> Desk:
    make_home(tmp_path / "home")
    inventory = tmp_path / "inventory" / "prod"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "keys").mkdir()
    (inventory / "hosts.yml").write_text(HOSTS)
    (inventory / "keys" / "operator.asc").write_text(recipient.public)
    said = GROUP.format(root=tmp_path, gnupghome=recipient.gnupghome, fingerprint=recipient.fingerprint)
    (inventory / "group_vars" / "all.yml").write_text(said)
    return Desk(tmp_path)


def test_list_shows_every_snapshot_and_who_holds_it(desk: Desk) -> None:
    assert "no snapshots yet" in desk.call("list", "prod").stdout
    desk.backup(2)
    rows = desk.json("list", "prod")["snapshots"]
    assert [(it["host"], it["pipeline"], it["state"], it["place"]) for it in rows] == [
        ("vps1", "nightly", "complete", str(desk.root / "remote"))
    ] * 2
    said = desk.call("list", "prod", "--last", "1").stdout
    assert "000002-" in said
    assert "000001-" not in said
    assert max(map(len, said.splitlines())) <= 120
    next(desk.remote.glob("000002*.manifest.asc")).unlink()
    assert [it["state"] for it in desk.json("list", "prod")["snapshots"]] == ["complete", "incomplete"]


def test_list_tells_deltas_from_full_snapshots(desk: Desk) -> None:
    desk.make_deltas()
    desk.backup()
    desk.backup()
    assert desk.deltas() == [False, True]
    full, delta = desk.json("list", "prod")["snapshots"]
    assert [(it["kind"], it["state"]) for it in (full, delta)] == [("full", "complete"), ("delta", "complete")]
    assert delta["size"] < full["size"] / 10
    assert [it.split()[-1] for it in rows(desk.call("list", "prod").stdout)] == ["yes", "delta"]


def test_an_edited_inventory_is_read_anew(desk: Desk) -> None:
    desk.backup()
    assert len(desk.json("list", "prod")["snapshots"]) == 1
    variables = desk.root / "inventory" / "prod" / "group_vars" / "all.yml"
    variables.write_text(variables.read_text().replace(f"[{desk.root}/remote]", f"[{desk.root}/elsewhere]"))
    assert desk.json("list", "prod")["snapshots"] == []


def test_what_is_remembered_of_an_inventory_holds_no_credentials(desk: Desk) -> None:
    variables = desk.root / "inventory" / "prod" / "group_vars" / "all.yml"
    variables.write_text(
        variables.read_text() + 'hermes_backup_rclone_config: "[r2]\\nsecret_access_key = hush-9431"\n'
    )
    desk.json("list", "prod")
    kept = [it.read_text() for it in (desk.root / "cache").rglob("*.json")]
    assert kept
    assert not any("hush-9431" in it for it in kept)


def test_a_remote_that_cannot_be_reached_is_named(desk: Desk) -> None:
    variables = desk.root / "inventory" / "prod" / "group_vars" / "all.yml"
    variables.write_text(variables.read_text().replace(f"[{desk.root}/remote]", "['nowhere:hermes']"))
    errors = desk.json("list", "prod", code=5)["errors"]
    assert [(it["name"], it["where"]) for it in errors] == [("HB-REMOTE-UNREACHABLE", "nowhere:hermes")]


def test_verify_proves_and_finds_what_is_wrong(desk: Desk) -> None:
    desk.backup(2)
    (place,) = desk.json("verify", "prod")["places"]
    assert [it["error"] for it in place["snapshots"]] == [None, None]
    data = next(desk.remote.glob("000001*.tar.zst.gpg"))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    (place,) = desk.json("verify", "prod", code=9)["places"]
    assert [it["error"] and it["error"]["name"] for it in place["snapshots"]] == ["HB-DATA-DAMAGED", None]
    assert desk.call("verify", "prod", "vps1", "latest").returncode == 0
    assert desk.call("verify", "prod", "vps1", "1").returncode == 9
    assert desk.call("verify", "prod", "vps1", "77").returncode == 3


def test_what_is_not_encrypted_is_called_so(desk: Desk) -> None:
    desk.backup()
    assert "not encrypted" not in desk.call("list", "prod").stdout + desk.call("verify", "prod").stdout
    variables = desk.root / "inventory" / "prod" / "group_vars" / "all.yml"
    text = variables.read_text().replace("push: {to:", "push: {unencrypted: true, to:")
    variables.write_text("\n".join(it for it in text.splitlines() if "encrypt: {rec" not in it) + "\n")
    desk.backup()
    assert [it["encrypted"] for it in desk.json("list", "prod")["snapshots"]] == [True, False]
    (place,) = desk.json("verify", "prod")["places"]
    assert [it["encrypted"] for it in place["snapshots"]] == [True, False]
    assert [("not encrypted" in it) for it in rows(desk.call("list", "prod").stdout)] == [False, True]
    first, second = rows(desk.call("verify", "prod").stdout)
    assert first.endswith("signature, size, hash, packets")
    assert second.endswith("signature, size, hash; not encrypted")


def rows(said: str) -> list[str]:
    return [it.rstrip() for it in said.splitlines() if it.strip().startswith("0000")]


def test_an_empty_place_is_called_empty(desk: Desk) -> None:
    desk.backup()
    subprocess.run(["rm", "-r", str(desk.remote)], check=True)
    done = desk.call("verify", "prod")
    assert (done.returncode, "no snapshots yet" in done.stdout) == (9, True), done.stdout
    assert "HB-ROLLBACK" in done.stderr, "this machine's ledger knows that it held one"
    (desk.root / "state" / "vps1" / "nightly" / "ledger.json").unlink()
    done = desk.call("verify", "prod")
    assert (done.returncode, "no snapshots yet" in done.stdout) == (0, True), done.stdout


def test_prune_without_rules_says_so(desk: Desk) -> None:
    desk.backup()
    done = desk.call("prune", "prod", "--dry-run")
    assert (done.returncode, done.stdout) == (0, "vps1/nightly: nothing goes, for its pipeline has no stage prune\n")
    assert desk.json("prune", "prod", "--dry-run")["without_rules"] == ["vps1/nightly"]


def test_a_stage_left_out_that_is_needed_has_a_mend_that_fits(desk: Desk) -> None:
    error = desk.json("run", "prod", "--skip", "encrypt", code=3)["error"]
    assert error["what"] == "without the stages left out, push would send the archive unencrypted"
    assert "Move" not in error["mend"]


def test_a_key_that_expires_soon_is_told_once(desk: Desk, key_maker: KeyMaker) -> None:
    soon = key_maker.make("future-default", "default", "5d")
    inventory = desk.root / "inventory" / "prod"
    (inventory / "keys" / "soon.asc").write_text(soon.public)
    variables = inventory / "group_vars" / "all.yml"
    text = variables.read_text().replace(
        "hermes_backup_recipients: [", f"hermes_backup_recipients: [{soon.fingerprint}, "
    )
    variables.write_text(text)
    done = desk.call("run", "prod")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("expires on") == 1, done.stdout


def test_restore_brings_back_what_is_asked_for(desk: Desk) -> None:
    desk.backup()
    (desk.root / "home" / "SOUL.md").write_text("I have changed.\n")
    desk.backup()
    done = desk.json("restore", "prod", "vps1", "1", "--to", "old")
    assert done["snapshot"].startswith("000001-")
    assert (desk.root / "old" / "SOUL.md").read_text() == "I am the test.\n"
    said = desk.call("restore", "prod", "vps1", "--to", "new")
    assert said.returncode == 0, said.stderr
    assert (desk.root / "new" / "SOUL.md").read_text() == "I have changed.\n"
    again = desk.call("restore", "prod", "vps1", "--to", "new")
    assert (again.returncode, "HB-TARGET-NOT-EMPTY" in again.stderr) == (2, True)


def test_restore_makes_search_indexes_again_or_leaves_them_to_hermes(desk: Desk) -> None:
    home = desk.root / "home" / "state.db"
    home.unlink()
    make(home, CARRYING)
    desk.backup()
    desk.json("restore", "prod", "vps1", "--to", "again")
    assert hits(desk.root / "again" / "state.db", "lighthouse") == hits(home, "lighthouse") == [[1, 2]]
    desk.json("restore", "prod", "vps1", "--to", "left", "--leave-indexes-to-hermes")
    with pytest.raises(sqlite3.OperationalError, match="no such table: fts"):
        hits(desk.root / "left" / "state.db", "lighthouse")
    assert messages_in(desk.root / "left" / "state.db") == messages_in(home) == 4


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("restore", "prod", "vps1", "9", "--to", "x"), 3, "HB-SNAPSHOT-MISSING"),
        (("restore", "prod", "vps2", "--to", "x"), 3, "HB-HOST-MISSING"),
        (("restore", "prdo", "vps1", "--to", "x"), 3, "HB-INVENTORY-MISSING"),
        (("restore", "prod", "vps1", "--to", "x", "-p", "nigthly"), 3, "HB-PIPELINE-MISSING"),
        (("restore", "prod", "vps1", "--to", "x", "--from", "other:place"), 3, "HB-SNAPSHOT-MISSING"),
        (("restore", "prod", "vps1", "--to", "x", "--from", "$(touch y)"), 3, "HB-SNAPSHOT-MISSING"),
    ],
)
def test_what_is_not_there_is_named(desk: Desk, words: tuple[str, ...], code: int, name: str) -> None:
    desk.backup()
    done = desk.call(*words)
    assert (done.returncode, name in done.stderr) == (code, True), done.stderr
    assert not (desk.root / "x").exists()
    assert not (desk.root / "y").exists()


def test_without_the_private_key_or_the_pinned_key_nothing_comes_back(desk: Desk, tmp_path: Path) -> None:
    desk.backup()
    variables = desk.root / "inventory" / "prod" / "group_vars" / "all.yml"
    (tmp_path / "empty").mkdir(mode=0o700)
    lines = [it for it in variables.read_text().splitlines() if "gnupghome" not in it]
    variables.write_text("\n".join([f"hermes_backup_gnupghome: {tmp_path}/empty", *lines]) + "\n")
    done = desk.call("restore", "prod", "vps1", "--to", "x")
    assert (done.returncode, "HB-KEY-SECRET-MISSING" in done.stderr) == (8, True), done.stderr
    (desk.root / "inventory" / "prod" / "keys" / "hosts" / "vps1.asc").unlink()
    done = desk.call("restore", "prod", "vps1", "--to", "x")
    assert (done.returncode, "HB-HOST-KEY-MISSING" in done.stderr) == (8, True), done.stderr
    assert not (desk.root / "x").exists()


def test_prune_says_why_and_deletes_only_what_it_said(desk: Desk) -> None:
    desk.backup(3)
    desk.declare("prune: {keep_last: 2}")
    (desk.remote / "holiday.jpg").write_text("not ours")
    (place,) = desk.json("prune", "prod", "--dry-run")["places"]
    assert [it["keep"] for it in place["decisions"]] == [False, True, True]
    assert place["decisions"][1]["reasons"] == ["last 2"]
    assert len(list(desk.remote.glob("*.manifest.asc"))) == 3
    (place,) = desk.json("prune", "prod")["places"]
    assert [it[:7] for it in place["deleted"]] == ["000001-"]
    left = sorted(it.name[:7] for it in desk.remote.glob("0*"))
    assert left == ["000002-"] * 3 + ["000003-"] * 3
    assert (desk.remote / "holiday.jpg").exists()


def test_a_host_that_signs_with_another_key_is_refused(desk: Desk) -> None:
    desk.backup()
    subprocess.run(["rm", "-rf", str(desk.root / "state")], check=True)
    done = desk.json("run", "prod", code=8)
    assert done["hosts"]["vps1"]["error"]["name"] == "HB-HOST-KEY-CHANGED"
