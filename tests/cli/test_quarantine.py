"""Retention against whoever stole a host's signing key: ``prune``, ``status`` and ``quarantine`` by their doors."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.snapshots.manifest import to_json
from hermes_backup.snapshots.names import SnapshotName, data_name, index_name, manifest_name
from hermes_backup.snapshots.signing import HostKey
from tests.site import PROGRAM
from tests.snapshots.made import manifest_of, suffix_of

RULES = "keep_last: 14, keep_weekly: 8, keep_monthly: 12"
INVENTORY = """\
all:
  hosts: {{vps1: {{ansible_connection: local, ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"}}}}
  vars:
    hermes_backup_home: {root}/home
    hermes_backup_state: {root}/state
    hermes_backup_config_dir: {root}/config
    hermes_backup_recipients: ["3AA5C34371567BD2F2F3B2B0A1C0A7D1B0E0F001"]
    hermes_backup_pipelines:
      nightly:
        {schedule}
        stages:
          - archive:
          - encrypt: {{recipients: "{{{{ hermes_backup_recipients }}}}"}}
          - store: {{path: {root}/store}}
{push}
          - prune: {{{rules}}}
"""
DAYS = 100
NIGHTLY = 'schedule: {on_calendar: "*-*-* 03:30:00"}'


@dataclass
class Desk:
    """The trusted machine, and whoever writes to the store with the host's own key."""

    root: Path
    key: HostKey
    schedule: str = NIGHTLY
    rules: str = RULES
    remote: bool = False

    def declare(self, **changes: Any) -> None:
        """Write the inventory, with these changes."""
        for name, value in changes.items():
            setattr(self, name, value)
        pins = self.root / "prod" / "keys" / "hosts"
        pins.mkdir(parents=True, exist_ok=True)
        (pins / "vps1.asc").write_text(self.key.public())
        push = f"          - push: {{to: [{self.root}/remote]}}" if self.remote else ""
        text = INVENTORY.format(root=self.root, schedule=self.schedule, push=push, rules=self.rules)
        (self.root / "prod" / "hosts.yml").write_text(text)

    def folder(self, place: str = "store") -> Path:
        return self.root / place / "vps1" / "nightly"

    def shown(self, place: str = "store") -> set[SnapshotName]:
        """The finished snapshots of a place."""
        return {SnapshotName.parse(it.name.split(".")[0]) for it in self.folder(place).glob("*.manifest.asc")}

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        state = {
            "XDG_STATE_HOME": str(self.root / "user"),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "COLUMNS": "200",
        }
        kept = {**os.environ, **state}
        return subprocess.run([*PROGRAM, *words], capture_output=True, text=True, cwd=self.root, env=kept, check=False)

    def json(self, *words: str, code: int = 0) -> Mapping[str, Any]:
        done = self.call(*words, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        parsed: Mapping[str, Any] = json.loads(done.stdout)
        return parsed

    @property
    def memory(self) -> Path:
        """What this machine keeps of what it has seen."""
        (found,) = (self.root / "user" / "hermes-backup" / "history").rglob("nightly.json")
        return found

    def forge(self, number: int, time: datetime | None = None) -> SnapshotName:
        """Write a snapshot as the host's own key signs it; it names its predecessor where that is there."""
        name = SnapshotName(number, (time or now() - timedelta(minutes=1)).replace(microsecond=0))
        publish(self.folder(), self.key, name)
        return name

    def flood(self, count: int = 14) -> list[SnapshotName]:
        """Write so many of today, with the next numbers."""
        return [self.forge(DAYS + it) for it in range(1, count + 1)]


def publish(folder: Path, key: HostKey, name: SnapshotName, **changes: Any) -> None:
    before = next(iter(folder.glob(f"{name.sequence - 1:06}-*.manifest.asc")), None)
    previous = None if before is None else hashlib.sha256(before.read_bytes()).hexdigest()
    manifest = manifest_of(name, host="vps1", pipeline="nightly", previous=previous, **changes)
    (folder / data_name(name, suffix_of(changes))).write_bytes(b"data")
    (folder / index_name(name, ".index.zst.gpg")).write_bytes(b"index")
    (folder / manifest_name(name)).write_bytes(key.sign(to_json(manifest)))


def now() -> datetime:
    return datetime.now(timezone.utc)


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A hundred nights of a host, as the first prune of this machine leaves them."""
    root = tmp_path_factory.mktemp("desk")
    with HostKey.ensure(root / "key", "vps1") as key:
        desk = Desk(root, key)
        desk.declare()
        desk.folder().mkdir(parents=True)
        newest = now() - timedelta(minutes=10)
        for number in range(1, DAYS + 1):
            desk.forge(number, newest - timedelta(days=DAYS - number))
        done = desk.call("prune", "./prod")
        assert (done.returncode, "vps1/nightly: first look from here" in done.stdout) == (0, True), done.stdout
        assert 20 <= len(desk.shown()) <= 26
        for name in ("store", "user"):
            shutil.copytree(root / name, root / "saved" / name)
        yield desk


@pytest.fixture
def desk(laid: Desk) -> Desk:
    """The desk after the first prune, whatever other tests did to it."""
    shutil.rmtree(laid.root / "remote", ignore_errors=True)
    for name in ("store", "user"):
        shutil.rmtree(laid.root / name)
        shutil.copytree(laid.root / "saved" / name, laid.root / name)
    desk = Desk(laid.root, laid.key)
    desk.declare()
    return desk


def suspects(place: Mapping[str, Any]) -> dict[str, str]:
    return {it["snapshot"]: it["reasons"][0] for it in place["decisions"] if it["suspect"]}


def prune(desk: Desk, code: int = 0) -> Mapping[str, Any]:
    """What prune says of the store."""
    place: Mapping[str, Any] = desk.json("prune", "./prod", code=code)["places"][0]
    return place


def test_a_flood_by_the_hosts_own_key_deletes_nothing_and_is_told(desk: Desk) -> None:
    before = desk.shown()
    forged = desk.flood()
    told = desk.json("prune", "./prod", code=9)
    assert suspects(told["places"][0]) == dict.fromkeys(map(str, forged), "there are more than the schedule makes")
    (error,) = told["errors"]
    assert (error["name"], "14 snapshots do not count" in error["what"]) == ("HB-SNAPSHOT-SUSPECT", True)
    assert "hermes-backup quarantine ./prod vps1" in error["mend"]
    assert desk.shown() == before | set(forged)


def test_a_flood_that_is_no_alarm_deletes_nothing_either(desk: Desk) -> None:
    before = desk.shown()
    desk.flood(8)
    assert not suspects(prune(desk))
    assert before <= desk.shown()


def test_a_pipeline_without_schedule_raises_no_alarm_and_loses_nothing(desk: Desk) -> None:
    desk.declare(schedule="if_changed: false")
    before = desk.shown()
    desk.flood(30)
    assert not suspects(prune(desk))
    assert before <= desk.shown()


def test_numbers_in_gaps_dated_at_the_ends_of_days_delete_nothing(desk: Desk) -> None:
    before = desk.shown()
    there = {it.sequence: it.time for it in before}
    gaps = [it for it in range(1, DAYS) if it not in there and it + 1 not in there][::2]
    days = {it: there[DAYS] - timedelta(days=DAYS - it) for it in gaps}
    forged = [desk.forge(it, time.replace(hour=23, minute=59, second=59)) for it, time in days.items()]
    forged += desk.flood()
    assert set(suspects(prune(desk, code=9))) == set(map(str, forged))
    assert desk.shown() == before | set(forged)


def test_one_dated_two_years_ahead_stops_neither_prune_nor_an_alarm(desk: Desk) -> None:
    before = desk.shown()
    ahead = desk.forge(DAYS + 1, now() + timedelta(days=730))
    desk.declare(rules="keep_last: 2")
    assert suspects(prune(desk, code=9)) == {str(ahead): "it is dated in the future"}
    assert desk.shown() == {*sorted(before)[-2:], ahead}
    told = desk.json("status", "./prod", code=10)
    assert told["hosts"][0]["pipelines"][0]["newest"]["snapshot"] == str(max(before))
    assert told["hosts"][0]["state"] == "fresh"
    assert [it["name"] for it in told["concerns"]].count("HB-SNAPSHOT-SUSPECT") == 1
    refused = desk.call("quarantine", "./prod", "vps1", "--trust")
    assert (refused.returncode, "it is dated in the future" in refused.stderr) == (9, True)
    desk.json("quarantine", "./prod", "vps1", "--yes")
    assert not prune(desk)["deleted"]


def test_status_tells_of_a_flood_before_anybody_prunes_if_the_key_signed_it(desk: Desk) -> None:
    before = desk.shown()
    unsigned = desk.forge(DAYS + 90)
    (desk.folder() / manifest_name(unsigned)).write_text("nobody signed this")
    assert "HB-SNAPSHOT-SUSPECT" not in [it["name"] for it in desk.json("status", "./prod")["concerns"]]
    desk.flood()
    told = desk.json("status", "./prod", code=10)
    assert [it["name"] for it in told["concerns"]].count("HB-SNAPSHOT-SUSPECT") == 1
    assert told["hosts"][0]["pipelines"][0]["newest"]["snapshot"] == str(max(before))


def test_quarantine_moves_and_deletes_nothing(desk: Desk) -> None:
    before = desk.shown()
    forged = desk.flood()
    files = {it.name: it.read_bytes() for it in desk.folder().iterdir()}
    (place,) = desk.json("quarantine", "./prod", "vps1", "--dry-run")["places"]
    assert [it["snapshot"] for it in place["snapshots"]] == list(map(str, forged))
    assert desk.shown() == before | set(forged)
    asked = desk.call("quarantine", "./prod", "vps1")
    assert (asked.returncode, "HB-CONFIRM" in asked.stderr) == (2, True)
    (place,) = desk.json("quarantine", "./prod", "vps1", "--yes")["places"]
    assert desk.shown() == before
    aside = desk.root / "store" / place["moved_to"]
    assert place["moved_to"].startswith("quarantine/")
    assert len(list(aside.iterdir())) == 3 * len(forged)
    assert {it.name: it.read_bytes() for folder in (aside, desk.folder()) for it in folder.iterdir()} == files
    honest = desk.forge(DAYS + 1)
    assert not suspects(prune(desk))
    assert desk.shown() >= {honest, max(before)}
    assert "every snapshot counts" in desk.call("quarantine", "./prod", "vps1").stdout


def test_what_a_person_trusts_counts(desk: Desk) -> None:
    made = desk.flood()
    assert not prune(desk, code=9)["deleted"]
    desk.json("quarantine", "./prod", "vps1", "--trust")
    assert prune(desk)["deleted"], "they came for those of the last two weeks"
    assert set(made) <= desk.shown()


def test_named_ones_are_moved(desk: Desk) -> None:
    before = sorted(desk.shown())
    missing = desk.call("quarantine", "./prod", "vps1", "7777")
    assert (missing.returncode, "HB-SNAPSHOT-MISSING" in missing.stderr) == (3, True)
    delta = SnapshotName(DAYS + 1, (now() - timedelta(minutes=1)).replace(microsecond=0))
    publish(desk.folder(), desk.key, delta, kind="delta", base=str(before[0]))
    refused = desk.call("quarantine", "./prod", "vps1", str(before[0]))
    assert (refused.returncode, "HB-BASE-MISSING" in refused.stderr, str(delta) in refused.stderr) == (9, True, True)
    assert desk.shown() == {*before, delta}
    desk.json("quarantine", "./prod", "vps1", str(delta.sequence), str(before[0]))
    assert desk.shown() == set(before[1:])
    assert not suspects(prune(desk))


def test_a_damaged_memory_is_told_and_begins_anew(desk: Desk) -> None:
    kept = desk.memory.read_text()
    assert desk.memory.stat().st_mode & 0o777 == 0o600
    for damage in ("{", json.dumps({**json.loads(kept), "seen": {"x": {}}})):
        desk.memory.write_text(damage)
        done = desk.call("prune", "./prod")
        assert (done.returncode, "is damaged: what lies there now is believed" in done.stdout) == (0, True), done.stdout
    assert set(json.loads(desk.memory.read_text())["seen"]) == set(map(str, desk.shown()))
    desk.memory.unlink()
    assert "first look from here" in desk.call("prune", "./prod", "--dry-run").stdout
    assert not list((desk.root / "user").rglob("history/**/nightly.json")), "a dry run keeps nothing in mind"


def test_a_clock_behind_the_last_look_is_told_with_what_mends_it(desk: Desk) -> None:
    before = desk.shown()
    kept = json.loads(desk.memory.read_text())
    for it in kept["seen"].values():
        it["first"] = (now() + timedelta(days=2)).isoformat()
    desk.memory.write_text(json.dumps(kept))
    (error,) = desk.json("prune", "./prod", code=5)["errors"]
    assert (error["name"], f"rm {desk.memory}" in error["mend"]) == ("HB-PRUNE-CLOCK", True)
    assert desk.shown() == before


def test_a_snapshot_is_seen_once_whatever_place_holds_it(desk: Desk) -> None:
    """A new place is believed at its first look, and what came to one place later than to another is no alarm."""
    shutil.copytree(desk.folder(), desk.folder("remote"))
    newest = desk.forge(DAYS + 1)
    desk.declare(remote=True)
    told = desk.json("prune", "./prod", "--from", f"{desk.root}/store")
    assert [suspects(it) for it in told["places"]] == [{}]
    for file in desk.folder().glob(f"{newest}.*"):
        shutil.copy(file, desk.folder("remote"))
    assert [suspects(it) for it in desk.json("prune", "./prod")["places"]] == [{}, {}]
    other = manifest_of(newest, host="vps1", pipeline="nightly", previous="0" * 64)
    (desk.folder("remote") / manifest_name(newest)).write_bytes(desk.key.sign(to_json(other)))
    first, second = desk.json("prune", "./prod", code=9)["places"]
    assert (suspects(first), list(suspects(second))) == ({}, [str(newest)])
