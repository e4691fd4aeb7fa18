"""The units of the role ``backup_snapshot``, rendered by Ansible and judged by systemd itself."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent.parent
ROLES = ROOT / "roles"
HOME = "hermes-backup-home@snapshot.service"
RUN = "hermes-backup@snapshot.service"
AGENT = "hermes-gateway.service"
ANSIBLE = Path(sys.executable).parent / "ansible-playbook"
NAMESPACES = (
    "PrivateTmp", "PrivateDevices", "PrivateMounts", "ProtectSystem", "ProtectHome", "ProtectProc", "ProcSubset",
    "ProtectControlGroups", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables",
    "InaccessiblePaths", "ReadOnlyPaths", "ReadWritePaths", "BindPaths", "TemporaryFileSystem", "MountFlags",
)  # fmt: skip
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")


def defaults(role: str) -> dict[str, Any]:
    made: dict[str, Any] = YAML(typ="safe").load(ROLES / role / "defaults" / "main.yml")
    return {**made, f"{role}_host": "vps1"}


def rendered(folder: Path, **settings: Any) -> Path:
    """Return a folder of units as the two roles write them."""
    folder.mkdir(exist_ok=True)
    program = {"backup_timer_agent": "/bin/true", "backup_snapshot_program": "/bin/true"}
    chosen = {"backup_snapshot_agent_unit": AGENT, "backup_snapshot_credentials": ["snapshot"], **program, **settings}
    variables = {**defaults("backup_timer"), **defaults("backup_snapshot"), **chosen}
    timer = {"pipeline": "snapshot", "calendar": "", "every": 900, "delay": 0}
    files = {
        "backup_timer/templates/run.service.j2": RUN,
        "backup_timer/templates/run.timer.j2": "hermes-backup@snapshot.timer",
        "backup_timer/templates/alarm.service.j2": "hermes-backup-alarm@snapshot.service",
        "backup_snapshot/templates/home.service.j2": HOME,
        "backup_snapshot/templates/run.conf.j2": f"{RUN}.d/home.conf",
        "backup_snapshot/templates/timer.conf.j2": "hermes-backup@snapshot.timer.d/home.conf",
    }
    for name in files.values():
        (folder / name).parent.mkdir(exist_ok=True)
    tasks = [
        {"ansible.builtin.template": {"src": str(ROLES / src), "dest": str(folder / name), "mode": "0644"}}
        for src, name in files.items()
    ]
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {**variables, "item": timer, "ansible_python_interpreter": sys.executable},
            "tasks": tasks,
        }
    ]
    (folder / "play.json").write_text(json.dumps(play))
    argv = [str(ANSIBLE), "--connection=local", "--inventory=localhost,", str(folder / "play.json")]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    (folder / AGENT).write_text("[Service]\nExecStart=/bin/true\n")
    return folder


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rendered(tmp_path_factory.mktemp("units"), backup_snapshot_notify=True)


def lines(path: Path) -> list[str]:
    return [it for it in path.read_text().splitlines() if it and not it.startswith(("#", "["))]


def verified(folder: Path, *names: str) -> str:
    """What systemd-analyze verify complains of; it is silent on what is well."""
    argv = ["systemd-analyze", "verify", "--man=no", *(str(folder / it) for it in names)]
    done = subprocess.run(argv, capture_output=True, text=True, env={"SYSTEMD_UNIT_PATH": f"{folder}:", "PATH": "/bin"})
    return done.stderr + ("" if done.returncode == 0 else f"exit {done.returncode}")


@needs_systemd
def test_systemd_finds_nothing_wrong(units: Path) -> None:
    ours = [it for it in verified(units, HOME, RUN, "hermes-backup@snapshot.timer").splitlines() if "hermes" in it]
    assert ours == []


@needs_systemd
@pytest.mark.parametrize(
    ("old", "new", "named"),
    [("KillMode=mixed", "KillMode=gentle", "gentle"), ("RemainAfterExit=", "RemainAfterwards=", "RemainAfterwards")],
)
def test_systemd_would_find_what_is_wrong(units: Path, tmp_path: Path, old: str, new: str, named: str) -> None:
    shutil.copytree(units, tmp_path / "broken")
    path = tmp_path / "broken" / HOME
    path.write_text(path.read_text().replace(old, new))
    assert named in verified(tmp_path / "broken", HOME)


def test_the_mount_is_seen_by_all(units: Path) -> None:
    """Any of these would put the mount into a namespace that nobody else sees."""
    text = (units / HOME).read_text()
    said = {it.partition("=")[0] for it in lines(units / HOME)}
    assert said.isdisjoint(NAMESPACES)
    left_out = re.search(r"That leaves out(.*?)RestrictSUIDSGID", text, re.DOTALL)
    assert left_out is not None
    hardening = lines(ROLES / "backup_timer" / "templates" / "hardening.j2")
    for it in {it.partition("=")[0] for it in hardening} & set(NAMESPACES):
        assert it in left_out[1], f"{it} is left out, and the unit does not say so"


def test_what_the_snapshots_unit_has_and_mounts_allow_is_kept(units: Path) -> None:
    mine, theirs = set(lines(units / HOME)), lines(ROLES / "backup_timer" / "templates" / "hardening.j2")
    missing = {it for it in theirs if "=" in it and it not in mine}
    assert {it.partition("=")[0] for it in missing} <= {*NAMESPACES, "RestrictSUIDSGID", "RemoveIPC"}


def test_the_order_of_beginning_and_end(units: Path) -> None:
    home = lines(units / HOME)
    assert f"Before={AGENT}" in home
    assert f"RequiredBy={AGENT}" in home
    assert {"KillMode=mixed", "RemainAfterExit=true", "Type=oneshot"} <= set(home)
    run = lines(units / f"{RUN}.d" / "home.conf")
    assert "Requires=hermes-backup-home@snapshot.service" in run
    assert "After=hermes-backup-home@snapshot.service" in run
    assert f"PartOf={HOME}" in lines(units / "hermes-backup@snapshot.timer.d" / "home.conf")


def seconds(text: str) -> float:
    from hermes_backup.stages.units import parse_duration

    return parse_duration(text).total_seconds()


def test_times_hold_each_other(units: Path) -> None:
    made = defaults("backup_snapshot")
    lease = seconds(made["backup_snapshot_lease"])
    assert lease >= 2.5 * 900
    assert made["backup_snapshot_start_timeout"] > lease
    assert 0 < made["backup_snapshot_stop_timeout"] < 1800
    parsed = configparser.RawConfigParser(strict=False, allow_no_value=True)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(units / HOME)
    assert float(parsed["Service"]["TimeoutStartSec"]) == made["backup_snapshot_start_timeout"]
    assert float(parsed["Service"]["TimeoutStopSec"]) == made["backup_snapshot_stop_timeout"]


def test_every_variable_is_declared_and_described() -> None:
    specs = YAML(typ="safe").load(ROLES / "backup_snapshot" / "meta" / "argument_specs.yml")
    options = specs["argument_specs"]["main"]["options"]
    made = YAML(typ="safe").load(ROLES / "backup_snapshot" / "defaults" / "main.yml")
    assert set(options) == set(made)
    for name, option in options.items():
        assert option.get("required") or name.endswith("_host") or option["default"] == made[name], name


@needs_systemd
def test_exposure(units: Path) -> None:
    """A unit that mounts cannot be as closed as one that reads: 5.1 by systemd 252, where the timers' own has 2.8."""
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(units / HOME)]
    done = subprocess.run(argv, capture_output=True, text=True)
    level = re.search(r"exposure level for .*: ([0-9.]+)", done.stdout)
    assert level is not None, done.stdout + done.stderr
    assert float(level[1]) <= 5.2
