"""``hermes_backup_agent_unit``: what is declared for a home that comes and goes, and what keeps it from that."""

from __future__ import annotations

import json

import pytest
from ruamel.yaml import YAML

from hermes_backup.fleet.coming import Coming
from hermes_backup.fleet.declared import Declared, declared
from hermes_backup.stages.units import parse_duration
from tests.fleet.ground import Ground
from tests.fleet.test_snapshot_role import ROLES

UNIT = "hermes_backup_agent_unit: hermes-gateway.service"
EVERY = "{every: 15m}"
SQUASHFS = "{archive: {format: squashfs}}"
PASSPHRASE = "{encrypt: {passphrase_credential: p}}"


def pipeline(
    *, schedule: str = EVERY, archive: str = SQUASHFS, encrypt: str = PASSPHRASE, name: str = "snapshot"
) -> str:
    stages = f"[{archive}, {encrypt}, {{push: {{to: [/srv/far]}}}}]"
    return f"hermes_backup_pipelines: {{{name}: {{schedule: {schedule}, stages: {stages}}}}}"


def of(ground: Ground, *lines: str) -> Declared:
    ground.settings(*lines)
    fleet = ground.fleet()
    fleet.demand_sound()
    return declared(fleet.host("vps1"), ["vps1"])


def test_a_home_stays_where_nothing_is_said(ground: Ground) -> None:
    stays = of(ground, pipeline())
    goes = of(ground, pipeline(), UNIT)
    assert stays.coming is None
    assert goes.coming is not None
    assert stays.digest != goes.digest


def test_times_follow_the_pipeline_and_those_of_15_minutes_are_the_roles_own(ground: Ground) -> None:
    made = of(ground, pipeline(), UNIT, "hermes_backup_owner: hermes").coming
    assert made == Coming("hermes-gateway.service", "snapshot", 2400, 5400)
    role = YAML(typ="safe").load(ROLES / "backup_snapshot" / "defaults" / "main.yml")
    lease = parse_duration(role["backup_snapshot_lease"]).total_seconds()
    assert (lease, role["backup_snapshot_start_timeout"]) == (made.lease, made.start_timeout)


def test_a_lease_outlives_the_delay_of_two_snapshots(ground: Ground) -> None:
    made = of(ground, pipeline(schedule="{every: 15m, randomized_delay: 30m}"), UNIT).coming
    assert made is not None
    assert made.lease == 7200


@pytest.mark.parametrize(("every", "seconds"), [("1s", 1), ("1m", 60), ("1h", 3600)])
def test_a_lease_outlives_a_snapshot_that_failed_and_is_waited_out(ground: Ground, every: str, seconds: int) -> None:
    made = of(ground, pipeline(schedule=f"{{every: {every}}}"), UNIT).coming
    assert made is not None
    assert made.lease >= max(60, 2.5 * seconds)
    assert made.start_timeout > made.lease


@pytest.mark.parametrize(
    "unit", ["hermes-gateway", "hermes-gateway.timer", "../evil.service", "a b.service", ".service"]
)
def test_what_is_no_service_is_refused(ground: Ground, unit: str) -> None:
    ground.settings(pipeline(), f"hermes_backup_agent_unit: '{unit}'")
    ((where, name, said),) = ground.faults()
    assert (where, name) == ("group_vars/all.yml:9:1", "HB-CONFIG-INVALID")
    assert said.startswith(f"hermes_backup_agent_unit: {unit!r} is no service of systemd")


def test_an_instance_of_a_template_is_a_service(ground: Ground) -> None:
    made = of(ground, pipeline(), r"hermes_backup_agent_unit: hermes\x2dgateway@work.service").coming
    assert made is not None
    assert made.agent_unit == r"hermes\x2dgateway@work.service"


@pytest.mark.parametrize(
    ("lines", "needs"),
    [
        (pipeline(schedule='{on_calendar: "*:0/15"}'), "`schedule: {every: …}`"),
        (pipeline(archive="{archive: {format: tar}}"), "`archive: {format: squashfs}`"),
        (
            pipeline(encrypt="{encrypt: {recipients: '{{ hermes_backup_recipients }}'}}"),
            "`encrypt: {passphrase_credential: …}`",
        ),
        (pipeline(name="often"), "there is no pipeline 'snapshot'"),
    ],
)
def test_a_pipeline_that_no_home_can_come_from_is_refused(ground: Ground, lines: str, needs: str) -> None:
    ground.settings(lines, UNIT)
    done = ground.call("validate", "./prod", "--json")
    assert done.code == 3
    (fault,) = done.data["errors"]
    assert fault["where"].endswith("group_vars/all.yml:9:1")
    assert fault["name"] == "HB-CONFIG-INVALID"
    assert needs in fault["what"]
    assert "docs/containers.md" in fault["mend"]
    ground.settings(lines)
    assert ground.faults() == []


@pytest.mark.parametrize(
    ("unit", "told", "mend"),
    [
        ("hermes-gateway@.service", "is a template", "Name an instance"),
        ("hb@nightly.service", "is a unit of hermes-backup itself", "that runs Hermes Agent"),
        ("hb-home@snapshot.service", "is a unit of hermes-backup itself", "that runs Hermes Agent"),
        ("hb-alarm@snapshot.service", "is a unit of hermes-backup itself", "that runs Hermes Agent"),
    ],
)
def test_a_service_that_runs_no_agent_is_refused(ground: Ground, unit: str, told: str, mend: str) -> None:
    ground.settings(pipeline(), f"hermes_backup_agent_unit: {unit}", "hermes_backup_unit: hb")
    (fault,) = ground.call("validate", "./prod", "--json").data["errors"]
    assert fault["where"].endswith("group_vars/all.yml:9:1")
    assert f"{unit!r} {told}" in fault["what"]
    assert mend in fault["mend"]


@pytest.mark.parametrize("owner", ["-hermes", "her mes", "hermes\nx", "hermes\n", "$USER", "a:b", "%u"])
def test_an_owner_that_is_no_user_is_refused(ground: Ground, owner: str) -> None:
    said = json.dumps(owner)
    ground.settings(pipeline(), UNIT, f"hermes_backup_owner: {said}")
    (fault,) = ground.call("validate", "./prod", "--json").data["errors"]
    assert fault["where"].endswith("group_vars/all.yml:10:1")
    assert f"{owner!r} is no name of a user" in fault["what"]
    assert "such as hermes" in fault["mend"]
    ground.settings(pipeline(), UNIT, "hermes_backup_owner: _her.mes-2")
    assert ground.faults() == []


@pytest.mark.parametrize("home", ["~/.hermes", 'a"b', "/home/$x"])
def test_a_home_that_a_unit_cannot_name_is_refused(ground: Ground, home: str) -> None:
    ground.settings(pipeline(), UNIT)
    ground.write("host_vars/vps1.yml", f"hermes_backup_home: '{home}'\n")
    ((where, name, said),) = ground.faults()
    assert (where, name) == ("host_vars/vps1.yml:1:1", "HB-CONFIG-INVALID")
    assert "no absolute path that a unit can name" in said


def test_what_is_not_sound_otherwise_is_told_alone(ground: Ground) -> None:
    ground.settings(pipeline(schedule="{every: soon}"), UNIT)
    ((_, _, said),) = ground.faults()
    assert "'soon' is no duration" in said


def test_the_default_pipeline_says_what_it_lacks(ground: Ground) -> None:
    ground.settings(UNIT)
    fleet = ground.fleet()
    assert [it.fault.where.rpartition("/")[2] for it in fleet.found] == ["all.yml:8:1"] * 2
    assert {it.fault.what.partition("`")[2].partition(":")[0] for it in fleet.found} == {"schedule", "encrypt"}
