"""What a deployment would bring to a host, and that its digest tells when that has changed."""

from __future__ import annotations

import json

import pytest

from hermes_backup.errors import Fault
from hermes_backup.fleet.declared import Declared, Timer, declared, programs
from hermes_backup.fleet.deploy import require_own_units
from tests.fleet.ground import Ground

SECRET = "very-secret-key-88"
RCLONE = f'hermes_backup_rclone_config: "[r2]\\ntype = s3\\nsecret_access_key = {SECRET}\\n"'


def of(ground: Ground, *lines: str, host: str = "vps1") -> Declared:
    ground.write("host_vars/vps1.yml", "\n".join(lines) + "\n")
    fleet = ground.fleet()
    fleet.demand_sound()
    return declared(fleet.host(host), [it.name for it in fleet.hosts])


def test_secrets_are_credentials_and_not_in_the_configuration(ground: Ground) -> None:
    made = of(ground, RCLONE, "hermes_backup_notify: [json://me:tell@here]", "hermes_backup_credentials: {pass: word}")
    assert set(made.credentials) == {"rclone.conf", "notify", "pass"}
    assert SECRET in made.credentials["rclone.conf"]
    assert made.credentials["notify"] == "json://me:tell@here"
    text = json.dumps(made.config)
    assert SECRET not in text
    assert "tell" not in text


@pytest.mark.parametrize(
    "line",
    [
        RCLONE,
        "hermes_backup_home: /elsewhere",
        "hermes_backup_unit: other",
        "hermes_backup_memory_max: 2G",
        "hermes_backup_timeout: 1h",
        "hermes_backup_credentials: {pass: word}",
        "hermes_backup_notify: [json://here]",
        "hermes_backup_pipelines: {nightly: {schedule: {every: 1h}, stages: [archive, store: {path: /s}]}}",
    ],
)
def test_whatever_is_declared_otherwise_has_another_digest(ground: Ground, line: str) -> None:
    before = of(ground).digest
    assert of(ground).digest == before
    assert of(ground, line).digest != before


def test_only_pipelines_of_images_need_the_tools_of_images(ground: Ground) -> None:
    usual = programs(ground.fleet().host("vps1").sound)
    stages = "[{archive: {format: squashfs}}, {store: {path: /s}}]"
    ground.settings(f"hermes_backup_pipelines: {{p: {{schedule: {{every: 15m}}, stages: {stages}}}}}")
    assert (usual, programs(ground.fleet().host("vps1").sound)) == ({}, {"mksquashfs": "squashfs-tools"})


def test_timers_stores_and_folders(ground: Ground) -> None:
    made = of(
        ground,
        "hermes_backup_state: /srv/state",
        "hermes_backup_pipelines:",
        "  often: {schedule: {every: 15m, randomized_delay: 2m}, stages: [archive, store: {path: ~/kept}]}",
        "  odd: {schedule: {on_calendar: '*:0/7', randomized_delay: 5m}, stages: [archive, store: {path: /kept}]}",
        "  off: {stages: [archive, push: {to: ['/mnt/disk', 'r2:bucket'], unencrypted: true}]}",
    )
    assert made.timers == (Timer("often", "", 900, 120), Timer("odd", "*:0/7", 0, 300))
    assert made.stores == ("/kept", "/mnt/disk", "/root/kept")
    assert made.writable == (*made.stores, "/srv/state")


@pytest.mark.parametrize("path", ['/a"b', "/a\\\\nb", "/a\\\\b"])
def test_a_folder_that_no_unit_can_name_is_refused(ground: Ground, path: str) -> None:
    with pytest.raises(Fault) as caught:
        of(ground, f"hermes_backup_pipelines: {{p: {{stages: [archive, store: {{path: {json.dumps(path)}}}]}}}}")
    assert caught.value.kind.name == "HB-CONFIG-INVALID"


def test_two_homes_on_one_machine_need_two_names_of_units(ground: Ground) -> None:
    ground.write(
        "hosts.yml",
        "all: {hosts: {a: {ansible_host: 192.0.2.1}, b: {ansible_host: 192.0.2.1}, c: {ansible_host: 192.0.2.2}}}\n",
    )
    with pytest.raises(Fault) as caught:
        require_own_units(ground.fleet().hosts)
    assert caught.value.mend == "Set hermes_backup_unit: hermes-backup-b for b."
    ground.write("host_vars/b.yml", "hermes_backup_unit: hermes-backup-b\n")
    require_own_units(ground.fleet().hosts)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("hermes_backup_unit: ../evil", "hermes_backup_unit: '../evil' cannot name a unit of systemd"),
        ("hermes_backup_unit: 'a b'", "hermes_backup_unit: 'a b' cannot name a unit of systemd"),
        ("hermes_backup_memory_max: lots", "hermes_backup_memory_max: 'lots' is no amount of memory"),
        ("hermes_backup_credentials: {'../x': y}", "'../x' cannot name a credential"),
        ('hermes_backup_config_dir: "/etc/a\\nb"', "is no absolute path"),
        ("hermes_backup_packages: somewhere", "hermes_backup_packages: Input should be 'carried' or 'index'"),
    ],
)
def test_what_could_not_be_deployed_is_found_before_anything_runs(ground: Ground, line: str, what: str) -> None:
    ground.write("host_vars/vps1.yml", line + "\n")
    ((where, name, said),) = ground.faults()
    assert where.startswith("host_vars/vps1.yml:1:")
    assert name == "HB-CONFIG-INVALID"
    assert what in said


def test_a_delta_may_not_need_more_memory_than_a_run_is_given(ground: Ground) -> None:
    made = "hermes_backup_pipelines:\n  p:\n    stages:\n      - archive: {{delta: {{memory: {}}}}}\n"
    more = f"      - encrypt: {{recipients: [{ground.recipient.fingerprint}]}}\n      - store: {{path: /srv/x}}\n"
    ground.write("host_vars/vps1.yml", made.format("2G") + more)
    ((where, name, said),) = ground.faults()
    assert (where.startswith("host_vars/vps1.yml:4:"), name) == (True, "HB-CONFIG-INVALID")
    assert "a delta may take all that hermes_backup_memory_max gives, which is 1G" in said
    ground.write("host_vars/vps1.yml", made.format("768M") + more)
    assert not ground.faults()


@pytest.mark.parametrize("store", ["/var/lib/hermes-backup/kept", "/etc/hermes-backup", "/opt/hermes-backup/x"])
def test_snapshots_do_not_lie_where_the_agent_lies(ground: Ground, store: str) -> None:
    """``remove`` takes those folders away."""
    ground.write("group_vars/all.yml", f"hermes_backup_recipients: [{ground.recipient.fingerprint}]\n")
    with pytest.raises(Fault, match="the agent's own"):
        of(ground, f"hermes_backup_pipelines: {{p: {{stages: [archive, store: {{path: {store}}}]}}}}")
