"""The roles ``backup_snapshot`` and ``remove``, played by Ansible on a folder; a systemctl notes what it is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.fleet.test_snapshot_role import AGENT, ANSIBLE, HOME, ROLES, ROOT

SYSTEMCTL = """#!/bin/sh
echo "$*" >> {root}/told
case "$*" in
*--property=LoadState*) cat {root}/load-state ;;
"show --property=Result"*) cat {root}/result ;;
show*) echo ActiveState=$(cat {root}/active-state); echo LoadState=loaded ;;
is-enabled*) echo enabled ;;
start*) test -e {root}/comes ;;
reenable*) rm -rf {units}/*.requires; set -- {units}/$(cat {root}/agent).requires $2; mkdir $1; touch $1/$2 ;;
esac
"""
NEVER = "Result=exit-code\nExecStop={ path=/x ; start_time=[n/a] ; stop_time=[n/a] }\n"
LATE = "Result=exit-code\nExecStop={ path=/x ; start_time=[Sun 2026-11-22 03:30:05 UTC] ; code=exited ; status=4 }\n"
WELL = LATE.replace("exit-code", "success").replace("status=4", "status=0")


@dataclass(frozen=True)
class Host:
    """A folder that the roles take for a host's root."""

    root: Path

    @property
    def units(self) -> Path:
        return self.root / "etc/systemd/system"

    @property
    def state(self) -> Path:
        return self.root / "state/vps1/snapshot"

    def says(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def made(self, *names: str) -> None:
        for it in names:
            (self.root / it).parent.mkdir(parents=True, exist_ok=True)
            (self.root / it).touch()

    @property
    def told(self) -> list[str]:
        """What systemctl was told since it was asked last, without questions."""
        path = self.root / "told"
        told = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [it for it in told if not it.startswith(("show", "is-"))]

    def play(self, role: str, *words: str, **settings: Any) -> str:
        """Play a role; return what it failed with, or nothing."""
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable, **settings},
            "roles": [role],
        }
        path = self.root / "play.json"
        path.write_text(json.dumps([play]))
        kept = {
            **os.environ,
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "ANSIBLE_ROLES_PATH": str(self.root / "roles"),
            "ANSIBLE_NOCOLOR": "1",
        }
        argv = [str(ANSIBLE), "--connection=local", "--inventory=localhost,", *words, str(path)]
        done = subprocess.run(argv, capture_output=True, text=True, env=kept)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def deploy(self, *words: str, agent: str = AGENT) -> str:
        self.says("agent", agent)
        return self.play("backup_snapshot", *words, backup_snapshot_host="vps1", backup_snapshot_agent_unit=agent)

    def absent(self) -> str:
        state = str(self.root / "state")
        return self.play(
            "backup_snapshot",
            backup_snapshot_state="absent",
            backup_snapshot_host="vps1",
            backup_snapshot_state_folder=state,
        )

    def remove(self) -> str:
        folders = {f"remove_{it}": str(self.root / it) for it in ("folder", "config_dir", "state")}
        return self.play("remove", remove_host="vps1", **folders)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Hermes Agent's unit is known, and a home comes when it is asked for."""
    made = Host(tmp_path)
    for role in ("backup_snapshot", "remove"):
        shutil.copytree(ROLES / role, tmp_path / "roles" / role)
    for it in (*tmp_path.glob("roles/*/tasks/*.yml"), *tmp_path.glob("roles/*/handlers/*.yml")):
        text = it.read_text()
        for folder in ("/etc/systemd", "/var/lib/systemd", "/run/hermes-backup"):
            text = text.replace(folder, f"{tmp_path}{folder}")
        it.write_text("".join(line for line in text.splitlines(True) if line.split() not in _ROOTS))
    made.units.mkdir(parents=True)
    made.made("bin/systemctl", "comes")
    made.says("bin/systemctl", SYSTEMCTL.format(root=tmp_path, units=made.units))
    (tmp_path / "bin/systemctl").chmod(0o755)
    made.says("load-state", "loaded\n")
    made.says("active-state", "inactive\n")
    made.says("result", WELL)
    return made


_ROOTS = (["owner:", "root"], ["group:", "root"])


def test_a_home_is_enabled_once_it_came(host: Host) -> None:
    assert host.deploy() == ""
    assert [it for it in host.told if it != "daemon-reload"] == [f"start {HOME}", f"reenable {HOME}"]
    host.says("active-state", "active\n")
    assert host.deploy() == ""
    assert host.told == []


def test_a_home_that_does_not_come_keeps_no_agent_from_starting(host: Host) -> None:
    (host.root / "comes").unlink()
    assert "Bring the home" in host.deploy()
    assert not [it for it in host.told if "enable" in it]
    host.made("comes")
    assert host.deploy() == ""
    assert f"reenable {HOME}" in host.told


def test_another_agent_is_the_one_that_waits(host: Host) -> None:
    """systemctl says of a unit that another one's link enables that it is enabled."""
    assert host.deploy(agent="hermes-gatewya.service") == ""
    assert host.told
    assert host.deploy() == ""
    assert f"reenable {HOME}" in host.told
    assert [it.name for it in host.units.glob("*.requires")] == [f"{AGENT}.requires"]


@pytest.mark.parametrize("state", ["not-found", "masked"])
def test_an_agent_that_is_not_there_is_refused_before_anything_is_changed(host: Host, state: str) -> None:
    host.says("load-state", f"{state}\n")
    said = " ".join(host.deploy().split())
    assert f"systemd says of {AGENT} that it is {state}" in said
    assert "mend its name in hermes_backup_agent_unit" in said
    assert host.told == []
    assert list(host.units.iterdir()) == []


def test_a_check_does_not_ask_for_what_the_play_may_bring(host: Host) -> None:
    host.says("load-state", "not-found\n")
    assert host.deploy("--check") == ""
    assert host.told == []


def test_a_home_goes_when_all_of_it_is_saved(host: Host) -> None:
    assert host.deploy() == ""
    host.says("active-state", "active\n")
    assert host.told
    assert host.absent() == ""
    assert [it for it in host.told if it != "daemon-reload"] == [f"stop {HOME}", f"disable {HOME}"]
    assert not [it for it in host.units.rglob("*home*") if it.parent.suffix != ".requires"]
    assert host.absent() == ""


def test_a_home_that_never_came_has_nothing_to_save(host: Host) -> None:
    assert host.deploy() == ""
    host.says("result", NEVER)
    host.made("state/vps1/snapshot/kept/vps1/snapshot/RESTORE.txt", "state/vps1/snapshot/run/000002-a.manifest.asc")
    assert host.absent() == ""


UNSAVED = ["layers/image.sqsh", "layers.left-20261122T033000Z/upper/x", "kept/vps1/snapshot/000002-a.manifest.asc"]


@pytest.mark.parametrize("unsaved", UNSAVED)
def test_what_lies_on_the_host_alone_stays_and_the_steps_are_told(host: Host, unsaved: str) -> None:
    assert host.deploy() == ""
    host.made(f"state/vps1/snapshot/{unsaved}")
    for result in (NEVER, "Result=success\nExecStop={ path=/x ; start_time=[n/a] }\n"):  # a failed start; a reboot
        host.says("result", result)
        said = host.absent()
        assert str(host.state / unsaved.partition("/")[0]) in said
        assert "systemctl start hermes-backup-home@snapshot`, which goes on with it" in " ".join(said.split())
        assert not [it for it in host.told if "disable" in it]
    assert (host.units / "hermes-backup-home@.service").exists()


def test_a_late_write_is_told_with_the_step_that_helps(host: Host) -> None:
    assert host.deploy() == ""
    host.says("result", LATE)
    said = " ".join(host.absent().split())
    assert "the last one failed" in said
    assert "systemctl start hermes-backup-home@snapshot`" in said
    assert not [it for it in host.told if "disable" in it]


@pytest.mark.parametrize("unsaved", UNSAVED)
def test_the_state_is_not_removed_with_what_lies_there_alone(host: Host, unsaved: str) -> None:
    host.made(f"state/vps1/snapshot/{unsaved}")
    said = host.remove()
    assert str(host.state / unsaved.partition("/")[0]) in said
    assert "hermes-backup leave" in said
    assert (host.state / unsaved).exists()


def test_no_unit_is_left(host: Host) -> None:
    host.made("etc/systemd/system/hermes-backup-home@.service", "state/vps1/snapshot/status.json")
    host.made("state/vps1/snapshot/run/index/000002-a.manifest.asc")  # a run at work looks at the remote's
    assert host.remove() == ""
    assert list(host.units.iterdir()) == []
    assert not host.state.exists()
    assert all("hermes-backup-home@*.service" in it for it in host.told if it.startswith(("stop", "reset-failed")))


def test_remove_saves_homes_that_are_declared_no_more() -> None:
    (play,) = YAML(typ="safe").load(ROOT / "playbooks" / "remove.yml")
    role = next(it for it in play["roles"] if it["role"] == "backup_snapshot")
    assert "when" not in role
    assert role["vars"]["backup_snapshot_state_folder"] == "{{ job.state }}"
