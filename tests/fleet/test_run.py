"""``run`` through its door: real Ansible, real agents, on this machine and over SSH."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_backup.errors import Fault
from hermes_backup.fleet.play import Play
from tests.fleet.ground import LOCAL, Ground
from tests.fleet.machine import Machine
from tests.keys import KeyMaker
from tests.pipeline.test_restore import small_disk
from tests.processes import processes
from tests.waiting import until

LONG = (
    "hermes_backup_pipelines:",
    "  nightly: {stages: [archive, push: {to: '{{ hermes_backup_remotes }}', unencrypted: true}]}",
    "  long: {stages: [command: {before: [sleep, '60']}, archive, "
    "push: {to: '{{ hermes_backup_remotes }}', unencrypted: true}]}",
)
AGENT = Path(sys.executable).parent / "hermes-backup"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _nothing_stays_in_memory() -> Iterator[None]:
    """No private folder of a play stays, and none comes back by a worker that outlived its play."""
    before = set(Path("/dev/shm").glob("hermes-backup-*"))
    yield
    mine = set(Path("/dev/shm").glob("hermes-backup-*")) - before
    until(lambda: not [it for it in mine if it.exists()], 60)  # those of tests beside this one go, too


def test_a_run_on_this_machine(ground: Ground) -> None:
    done = ground.call("run", "./prod", COLUMNS="100")
    assert done.code == 0, done.err
    status = ground.status()
    assert status["state"] == "done"
    assert status["snapshot"] in done.out
    lines = done.out.splitlines()
    assert lines[-3].split()[:2] == ["host", "result"] or "host" in done.out
    assert "Traceback" not in done.err
    pinned = ground.inventory / "keys" / "hosts" / "vps1.asc"
    assert pinned.read_text() == status["public_key"]
    assert mode(pinned) == 0o644
    config = ground.root / "config" / "vps1.json"
    assert (mode(config), mode(config.parent)) == (0o600, 0o700)
    (log,) = (ground.root / "state" / "vps1" / "nightly").glob("agent-*.log")
    assert mode(log) == 0o600
    assert ground.agents() == []
    names = [it.name for it in (ground.root / "remote" / "vps1" / "nightly").iterdir()]
    assert f"{status['snapshot']}.manifest.asc" in names


def test_json_holds_everything_and_nothing_else(ground: Ground) -> None:
    done = ground.call("run", "./prod", "--json")
    assert done.code == 0
    host = done.data["hosts"]["vps1"]
    assert (done.data["exit_code"], host["exit_code"], host["error"]) == (0, 0, None)
    assert host["status"]["run_id"] == done.data["run_id"]
    assert host["status"]["files"] > 3
    again = ground.call("run", "./prod", "--if-changed", "--json").data["hosts"]["vps1"]["status"]
    assert (again["state"], again["snapshot"]) == ("unchanged", host["status"]["snapshot"])


def test_a_dry_run_says_what_it_would_do(ground: Ground) -> None:
    done = ground.call("run", "./prod", "--dry-run")
    assert done.code == 0, done.err
    assert f"push: push to {ground.root}/remote" in done.out
    assert not (ground.root / "remote").exists()
    assert not (ground.inventory / "keys" / "hosts").exists()


def test_only_and_skip_travel_to_the_agent(ground: Ground) -> None:
    done = ground.call("run", "./prod", "--skip", "store", "--skip", "sqlite", "--json")
    assert done.data["hosts"]["vps1"]["status"]["places"] == [str(ground.root / "remote")]
    assert not (ground.root / "store").exists()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("--pipeline", "nigthly"), "HB-PIPELINE-MISSING"),
        (("--pipeline", "$(touch x)"), "HB-PIPELINE-MISSING"),
        (("--pipeline", "--x"), "HB-PIPELINE-MISSING"),
        (("--pipeline", "drill"), "HB-CONFIG-INVALID"),
        (("--only", ";touch x"), "HB-PIPELINE-ORDER"),
        (("--skip", "archive"), "HB-PIPELINE-ORDER"),
        (("--limit", "vps2"), "HB-HOST-MISSING"),
        (("--limit", "!vps1"), "HB-HOST-MISSING"),
        (("--limit", "-i/etc/passwd"), "HB-HOST-MISSING"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_starts(ground: Ground, words: tuple[str, ...], name: str) -> None:
    done = ground.call("run", "./prod", *words, "--json")
    assert (done.code, done.data["error"]["name"]) == (3, name)
    assert not (ground.root / "config").exists()
    assert not (ground.root / "x").exists()


def test_a_host_without_the_program(ground: Ground) -> None:
    ground.settings(f"hermes_backup_agent: {ground.root}/nothing")
    done = ground.call("run", "./prod")
    assert done.code == 6
    assert f"vps1: no program at {ground.root}/nothing [HB-AGENT-MISSING]" in done.err + done.out


LIAR = """#!/bin/sh
cat >STATE/vps1/nightly/status.json <<END
{"run_id": "$9", "pid": 1, "host": "vps1", "pipeline": "nightly", "state": "done", "exit_code": 77,
 "started": "2026-11-21T03:30:00Z", "updated": "2026-11-21T03:30:01Z"}
END
"""


def test_what_a_host_makes_up_is_that_host_s_failure(ground: Ground) -> None:
    liar = ground.write("liar", LIAR.replace("STATE", str(ground.root / "state")))
    liar.chmod(0o755)
    ground.write(
        "hosts.yml", f"all:\n  vars: {{{LOCAL}}}\n  hosts: {{vps1: {{hermes_backup_agent: {liar}}}, vps2: }}\n"
    )
    done = ground.call("run", "./prod", "--json")
    assert done.code == 6
    assert done.data["hosts"]["vps1"]["error"]["name"] == "HB-STAGE-FAILED"
    assert "none that this version can read" in done.data["hosts"]["vps1"]["error"]["what"]
    assert done.data["hosts"]["vps2"]["status"]["state"] == "done"


def test_of_two_hosts_one_fails(ground: Ground) -> None:
    ground.write(
        "hosts.yml", f"all:\n  vars: {{{LOCAL}}}\n  hosts: {{vps1: , vps2: {{hermes_backup_home: /nowhere}}}}\n"
    )
    done = ground.call("run", "./prod", "--json")
    assert done.code == 6
    hosts = done.data["hosts"]
    assert hosts["vps1"]["status"]["state"] == "done"
    assert (hosts["vps2"]["exit_code"], hosts["vps2"]["error"]["name"]) == (5, "HB-HOME-MISSING")
    assert ground.call("run", "./prod", "--limit", "vps*,!vps2", "--json").code == 0
    assert ground.call("run", "./prod", "--limit", "vps2", "--json").code == 5


def test_faults_of_hosts_left_out_do_not_matter(ground: Ground) -> None:
    ground.write("hosts.yml", f"all:\n  vars: {{{LOCAL}}}\n  hosts: {{vps1: , vps2: {{hermes_backup_max_age: x}}}}\n")
    assert ground.call("run", "./prod", "--dry-run", "--json").code == 3
    assert ground.call("run", "./prod", "--dry-run", "--json", "--limit", "vps1").code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_agent_and_leaves_nothing(ground: Ground, number: signal.Signals) -> None:
    ground.settings(*LONG)
    child = ground.start("run", "./prod", "--pipeline", "long")
    until(lambda: ground.status("long")["stage"] == "command")
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "vps1: command: stopped by a signal [HB-INTERRUPTED]" in out
    assert ground.agents() == []
    assert ground.status("long")["state"] == "interrupted"
    assert list((ground.root / "state" / "vps1" / "long").glob("run-*")) == []
    assert ground.call("run", "./prod", "--json").code == 0


def test_an_interrupt_while_the_inventory_is_read(ground: Ground) -> None:
    plugin = ground.write("hosts", '#!/bin/sh\ntouch "$0.began"\nexec sleep 60\n')
    plugin.chmod(0o755)
    child = ground.start("validate", str(plugin))
    until((ground.inventory / "hosts.began").exists)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=50)
    assert (child.returncode, "HB-INTERRUPTED" in err) == (130, True)


def test_a_killed_agent_is_noticed(ground: Ground) -> None:
    ground.settings(*LONG)
    child = ground.start("run", "./prod", "--pipeline", "long", "--json")
    until(lambda: ground.status("long")["stage"] == "command")
    (agent,) = ground.agents()
    os.kill(agent, signal.SIGKILL)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 5
    assert "the agent ended without a word" in out
    assert str(ground.root / "state" / "vps1" / "long" / "agent-") in out


def test_a_second_run_finds_the_lock(ground: Ground) -> None:
    ground.settings(*LONG)
    child = ground.start("run", "./prod", "--pipeline", "long", "--json")
    until(lambda: ground.status("long")["stage"] == "command")
    done = ground.call("run", "./prod", "--pipeline", "long", "--json")
    assert (done.code, done.data["hosts"]["vps1"]["error"]["name"]) == (7, "HB-LOCKED")
    assert len(ground.agents()) == 1
    assert ground.status("long")["state"] == "running"
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)


def test_when_ansible_dies_the_agents_are_stopped(ground: Ground) -> None:
    ground.settings(*LONG)
    child = ground.start("run", "./prod", "--pipeline", "long", "--json")
    until(lambda: ground.status("long")["stage"] == "command")
    until(lambda: _ansible_of(child.pid))
    os.kill(_ansible_of(child.pid)[0], signal.SIGKILL)
    child.communicate(timeout=60)
    assert child.returncode not in (0, None)
    assert ground.agents() == []


def _ansible_of(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(it) for it in children if b"ansible-playbook" in Path(f"/proc/{it}/cmdline").read_bytes()]


def test_another_host_key_is_refused(ground: Ground, key_maker: KeyMaker) -> None:
    pinned = ground.write("keys/hosts/vps1.asc", key_maker.make("ed25519", "sign", "never").public)
    before = pinned.read_text()
    done = ground.call("run", "./prod", "--json")
    assert (done.code, done.data["hosts"]["vps1"]["error"]["name"]) == (8, "HB-HOST-KEY-CHANGED")
    assert pinned.read_text() == before


def test_no_secret_is_on_a_command_line_or_in_an_environment(ground: Ground) -> None:
    secret = "s3cr3t-credential-8843"
    ground.settings("hermes_backup_rclone_config: |", "  [r2]", f"  pass = {secret}", *LONG)
    child = ground.start("run", "./prod", "--pipeline", "long", "--json", AWS_SECRET_ACCESS_KEY="aws-7716")
    until(lambda: ground.status("long")["stage"] == "command")
    seen = b""
    for it in processes():
        if it.pid not in (os.getpid(), child.pid):
            seen += it.words + it.environment
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert str(ground.root / "config").encode() in seen
    assert secret.encode() not in seen
    assert b"aws-7716" not in seen
    assert secret not in out + err


def test_values_travel_as_they_are(ground: Ground) -> None:
    hostile = "a;touch x $(touch x) `touch x` {{ 7 * 7 }} --x\n'\""
    ground.write("host_vars/vps1.yml", "hermes_backup_exclude_extra: [!unsafe " + repr_yaml(hostile) + "]\n")
    ground.call("run", "./prod", "--dry-run", "--json")
    text = (ground.root / "config" / "vps1.json").read_text()
    import json

    assert json.loads(text)["exclude_extra"] == [hostile]
    assert not list(ground.root.rglob("x"))


def repr_yaml(text: str) -> str:
    import json

    return json.dumps(text)


def test_without_ansible(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ansible_runner", None)
    with pytest.raises(Fault) as caught:
        Play(Path("x"), ()).run()
    assert (caught.value.kind.name, caught.value.kind.exit_code) == ("HB-FLEET-MISSING", 2)


def test_a_run_over_ssh(ground: Ground, machine: Machine) -> None:
    ground.write("hosts.yml", "all:\n  hosts:\n    vps1: {}\n")
    settings = machine.variables() + f"ansible_python_interpreter: {sys.executable}\nhermes_backup_agent: {AGENT}\n"
    ground.write("host_vars/vps1.yml", settings)
    done = ground.call("run", "./prod", "--json")
    assert done.code == 0, done.out + done.err
    assert done.data["hosts"]["vps1"]["status"]["state"] == "done"
    assert (ground.inventory / "keys" / "hosts" / "vps1.asc").exists()


def test_an_interrupt_over_ssh(ground: Ground, machine: Machine) -> None:
    ground.write("hosts.yml", "all:\n  hosts:\n    vps1: {}\n")
    settings = machine.variables() + f"ansible_python_interpreter: {sys.executable}\nhermes_backup_agent: {AGENT}\n"
    ground.write("host_vars/vps1.yml", settings)
    ground.settings(*LONG)
    child = ground.start("run", "./prod", "--pipeline", "long", "--json")
    until(lambda: ground.status("long")["stage"] == "command")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert (child.returncode, ground.agents()) == (130, [])


def test_a_host_that_hangs_holds_up_no_other(ground: Ground) -> None:
    ground.write("hosts.yml", f"all:\n  vars: {{{LOCAL}}}\n  hosts: {{vps1: {{}}, vps2: }}\n")
    (ground.root / "config").mkdir()
    os.mkfifo(ground.root / "config" / "vps2.deployed")
    done = ground.call("run", "./prod", "--json", ANSIBLE_TASK_TIMEOUT="12")
    hosts = done.data["hosts"]
    assert (done.code, hosts["vps1"]["error"], hosts["vps2"]["error"]["name"]) == (6, None, "HB-HOST-UNREACHABLE")
    assert hosts["vps2"]["error"]["what"] == "it did not answer within 12 s; what it was told may go on there"
    asked = ground.call("status", "./prod", "--json", ANSIBLE_TASK_TIMEOUT="12")
    problem = next(it["error"] for it in asked.data["hosts"] if it["host"] == "vps2")
    assert problem["what"].startswith("it did not answer within 12 s")


def test_a_host_whose_ssh_key_is_unknown(ground: Ground, machine: Machine) -> None:
    ground.write("hosts.yml", "all:\n  hosts:\n    vps1: {}\n")
    ground.write("host_vars/vps1.yml", machine.variables(known=False))
    done = ground.call("run", "./prod", "--json")
    assert (done.code, done.data["hosts"]["vps1"]["error"]["name"]) == (6, "HB-HOST-UNREACHABLE")
    assert "Host key verification failed" in done.data["hosts"]["vps1"]["error"]["what"]


def test_when_too_many_fail_no_more_are_begun(ground: Ground) -> None:
    """Hosts in the order of the inventory, one at a time: the first fails, and a hundred percent are too many."""
    bad = "hermes_backup_home: /nowhere"
    ground.write("hosts.yml", f"all:\n  vars: {{{LOCAL}}}\n  hosts: {{a: {{{bad}}}, b: , c: }}\n")
    done = ground.call("run", "./prod", "--serial", "1", "--max-fail", "20", "--json")
    assert done.code == 6
    names = {host: it["error"] and it["error"]["name"] for host, it in done.data["hosts"].items()}
    assert names == {"a": "HB-HOME-MISSING", "b": "HB-HOST-SKIPPED", "c": "HB-HOST-SKIPPED"}
    done = ground.call("run", "./prod", "--serial", "1", "--json")
    names = {host: it["error"] and it["error"]["name"] for host, it in done.data["hosts"].items()}
    assert (done.code, names) == (6, {"a": "HB-HOME-MISSING", "b": None, "c": None})


def test_what_a_host_says_is_told_without_what_lies_in_the_vault(ground: Ground) -> None:
    password = ground.root / "vault-password"
    password.write_text("open sesame")
    program = AGENT.with_name("ansible-vault")
    argv = [program, "encrypt_string", "--vault-password-file", password, "sesame"]  # a word as ordinary as others
    vaulted = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    ground.settings(
        f"hush: {vaulted}".rstrip(),
        "hermes_backup_pipelines:",
        "  nightly:",
        "    stages:",
        "      - command: {before: [sh, -c, 'echo {{ hush }} is wrong >&2; exit 3']}",
        "      - archive:",
        "      - store: {path: '{{ hermes_backup_store }}'}",
    )
    for line in ("run ./prod --dry-run", "run ./prod", "run ./prod --json", "status ./prod", "logs ./prod"):
        done = ground.call(*line.split(), ANSIBLE_VAULT_PASSWORD_FILE=str(password))
        assert "sesame" not in done.out + done.err, done
        assert "sh and 2 arguments" in done.out
        assert ("******** is wrong" in done.out) == ("--dry-run" not in line)


def test_the_demo_leaves_no_gpg_agent_behind(ground: Ground) -> None:
    with tempfile.TemporaryDirectory(prefix="hb-") as cache:  # the path of a socket must be short
        done = ground.call("run", "demo", XDG_CACHE_HOME=cache)
        assert done.code == 0, done.err
        assert not [it for it in processes() if it.program == "gpg-agent" and os.fsencode(cache) in it.words]


def test_a_disk_too_small_for_the_demo_is_named(ground: Ground) -> None:
    with small_disk(ground.root / "small", "300k") as cache:
        done = ground.call("run", "demo", "--json", XDG_CACHE_HOME=str(cache))
        error = done.data["error"]
        assert (done.code, error["name"], error["where"]) == (5, "HB-DISK-FULL", f"{cache}/hermes-backup/demo")
        assert list((cache / "hermes-backup" / "demo").iterdir()) == []
