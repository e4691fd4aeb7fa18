"""``status`` through its door: real backups, real Ansible, on this machine and over SSH."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.fleet.declared import declared
from hermes_backup.fleet.inventory import find_inventory
from tests.fleet.ground import LOCAL, Ground
from tests.fleet.machine import Machine
from tests.keys import KeyMaker
from tests.processes import processes
from tests.servers import free_port
from tests.site import PROGRAM, fill
from tests.waiting import until

AGENT = Path(sys.executable).parent / "hermes-backup"
PUSH = "push: {to: '{{ hermes_backup_remotes }}'}"
ENCRYPT = "encrypt: {recipients: '{{ hermes_backup_recipients }}'}"
NIGHTLY = f"schedule: {{on_calendar: daily}}, stages: [sqlite, archive, {ENCRYPT}, {PUSH}]"
ONLY_PUSH = ("hermes_backup_pipelines:", f"  nightly: {{{NIGHTLY}}}")


def over_ssh(machine: Machine, **more: str) -> str:
    """Return the variables of a host that is reached by SSH; those given override the machine's."""
    lines = [it for it in machine.variables().splitlines() if it.split(":")[0] not in more]
    lines += [f"{name}: {value}" for name, value in more.items()]
    return "\n".join([*lines, f"ansible_python_interpreter: {sys.executable}", f"hermes_backup_agent: {AGENT}"]) + "\n"


def look(ground: Ground, *words: str, code: int = 0) -> Mapping[str, Any]:
    """Return what ``status --json`` says."""
    done = ground.call("status", "./prod", "--json", *words)
    assert done.code == code, done.out + done.err
    assert done.err == ""
    told: Mapping[str, Any] = done.data
    assert told["exit_code"] == code
    return told


def backup(ground: Ground) -> None:
    fill(ground.root / "home" / "state.db", 50)
    ground.back_up()


def names(told: Mapping[str, Any], host: str = "vps1") -> list[str]:
    return [it["name"] for it in told["concerns"] if it["host"] == host]


def test_a_host_that_is_well(ground: Ground) -> None:
    backup(ground)
    backup(ground)
    told = look(ground)
    (host,) = told["hosts"]
    assert (host["host"], host["state"], host["reachable"], host["config"]) == ("vps1", "fresh", True, "not deployed")
    assert host["keys"] == [{"fingerprint": ground.recipient.fingerprint, "until": None, "error": None}]
    never = {"pipeline": "drill", "result": "never", "finished": None, "age": None, "due": None}
    assert host["drill"] == never
    row, unused = host["pipelines"]
    assert (row["pipeline"], row["state"], row["allowed_age"], row["next_run"]) == ("nightly", "fresh", 93600, None)
    assert (unused["pipeline"], unused["state"], unused["newest"]) == ("snapshot", "not judged", None)
    assert [it["place"] for it in row["places"]] == [f"{ground.root}/store", f"{ground.root}/remote"]
    status = ground.status()
    for place in row["places"]:
        newest = place["newest"]
        assert (newest["snapshot"], place["count"], place["error"], place["doubt"]) == (
            status["snapshot"],
            2,
            None,
            None,
        )
        assert 0 <= newest["age"] < 120
        assert newest["size"] >= status["stored"] > 0
        assert newest["growth"] > 0
    last = row["last_run"]
    assert (last["result"], last["run_id"], last["error"]) == ("done", status["run_id"], None)
    assert 0 < last["duration"] < 60
    assert sorted(names(told)) == ["HB-DEPLOY-STALE", "HB-DRILL-DUE"]


def test_the_table_at_80_columns(ground: Ground) -> None:
    ground.write(
        "hosts.yml", f"all:\n  vars: {{{LOCAL}}}\n  hosts: {{vps1: , a-host-with-a-very-long-name-indeed: }}\n"
    )
    backup(ground)
    done = ground.call("status", "./prod", COLUMNS="80")
    assert (done.code, done.err) == (0, "")
    head, *rows = done.out.split("\n\n")[0].splitlines()
    assert head.split() == ["host", "pipeline", "state", "newest", "size", "growth", "last", "run", "next"]
    assert [it.split()[1:3] for it in rows] == [["nightly", "ok"]] * 2
    assert max(map(len, [head, *rows])) <= 80
    assert "a-host-with-a-very-long-name-indeed, vps1: nothing is deployed" in done.out
    assert "hermes-backup deploy ./prod --limit HOST" in done.out
    assert re.search(r"\n2 hosts: 2 fresh  \(2.* UTC\)\n$", done.out)
    assert "\x1b" not in done.out


def test_without_any_snapshot(ground: Ground) -> None:
    told = look(ground, code=10)
    assert told["hosts"][0]["state"] == "none"
    assert told["hosts"][0]["pipelines"][0]["last_run"] is None
    assert names(told)[0] == "HB-STALE"
    done = ground.call("status", "./prod")
    assert done.code == 10
    assert "vps1/nightly: there is no snapshot at all" in done.out


def test_a_stale_host_among_others(ground: Ground) -> None:
    ground.write("hosts.yml", f"all:\n  vars: {{{LOCAL}}}\n  hosts: {{vps1: , vps2: {{hermes_backup_max_age: 1s}}}}\n")
    backup(ground)
    time.sleep(1)
    told = look(ground, code=10)
    assert [it["state"] for it in told["hosts"]] == ["fresh", "stale"]
    assert ("HB-STALE" in names(told), "HB-STALE" in names(told, "vps2")) == (False, True)
    assert look(ground, "--limit", "vps1")["hosts"][0]["state"] == "fresh"
    assert [it["host"] for it in look(ground, "--limit", "vps2", code=10)["hosts"]] == ["vps2"]


def test_a_home_that_does_not_change_stays_fresh(ground: Ground) -> None:
    """Its newest snapshot is too old, but a run has found that it is still all there is."""
    ground.settings("hermes_backup_max_age: 1s", *ONLY_PUSH)
    backup(ground)
    time.sleep(1)
    (stale,) = look(ground, code=10)["hosts"]
    assert stale["state"] == "stale"
    made = datetime.fromisoformat(stale["pipelines"][0]["newest"]["time"])

    def allow_less_than_its_age() -> None:
        age = datetime.now(timezone.utc) - made
        ground.settings(f"hermes_backup_max_age: {int(age.total_seconds())}s", *ONLY_PUSH)

    allow_less_than_its_age()
    assert ground.call("run", "./prod", "--if-changed").code == 0
    allow_less_than_its_age()
    told = look(ground)
    assert [it["state"] for it in told["hosts"]] == ["fresh"]
    assert ground.status()["state"] == "unchanged"
    assert ground.call("run", "./prod", "--dry-run").code == 0
    allow_less_than_its_age()
    (host,) = look(ground)["hosts"]
    row = host["pipelines"][0]
    assert (host["state"], row["newest"]["age"] > row["allowed_age"]) == ("fresh", True)


def test_hosts_over_ssh_and_one_that_is_dead(ground: Ground, machine: Machine) -> None:
    ground.write("hosts.yml", "all:\n  hosts: {vps1: , vps2: }\n")
    ground.write("host_vars/vps1.yml", over_ssh(machine))
    ground.write("host_vars/vps2.yml", over_ssh(machine))
    backup(ground)
    told = look(ground)
    assert [(it["state"], it["reachable"]) for it in told["hosts"]] == [("fresh", True)] * 2
    row = told["hosts"][1]["pipelines"][0]
    assert [it["place"] for it in row["places"]] == [f"{ground.root}/remote"]  # its store is on the host
    ground.write("host_vars/vps2.yml", over_ssh(machine, ansible_port=str(free_port())))
    dead = look(ground)["hosts"][1]
    assert (dead["state"], dead["reachable"], dead["config"]) == ("fresh", False, "unknown")
    assert dead["error"]["name"] == "HB-HOST-UNREACHABLE"
    assert dead["error"]["what"].endswith("Connection refused")
    assert (dead["pipelines"][0]["last_run"], dead["pipelines"][0]["newest"]) == (None, row["newest"] | {
        "age": dead["pipelines"][0]["newest"]["age"]
    })  # fmt: skip
    done = ground.call("status", "./prod", COLUMNS="80")
    assert done.code == 0
    assert re.search(r"^vps2 +nightly +ok .* unreachable +-$", done.out, re.MULTILINE)
    with (ground.inventory / "host_vars" / "vps2.yml").open("a") as file:
        file.write("hermes_backup_max_age: 1s\n")
    told = look(ground, code=10)
    assert [it["state"] for it in told["hosts"]] == ["fresh", "stale"]
    assert {"HB-STALE", "HB-HOST-UNREACHABLE"} <= set(names(told, "vps2"))


def test_a_host_without_python_gives_no_answer(ground: Ground, machine: Machine) -> None:
    ground.write("hosts.yml", "all:\n  hosts: {vps1: }\n")
    ground.write("host_vars/vps1.yml", over_ssh(machine))
    backup(ground)
    ground.write("host_vars/vps1.yml", over_ssh(machine).replace(sys.executable, "/nonexistent/python3"))
    host = look(ground)["hosts"][0]
    assert (host["state"], host["reachable"], host["error"]["name"]) == ("fresh", False, "HB-PYTHON-MISSING")
    assert "no answer" in ground.call("status", "./prod").out


def two_remotes(ground: Ground) -> None:
    ground.settings("hermes_backup_pipelines:", f"  nightly: {{{NIGHTLY}}}", "")
    ground.write("host_vars/vps1.yml", f"hermes_backup_remotes: [{ground.root}/remote, {ground.root}/second]\n")


def test_a_place_that_lacks_the_newest(ground: Ground) -> None:
    two_remotes(ground)
    backup(ground)
    backup(ground)
    assert "HB-ROLLBACK" not in names(look(ground))
    newest = ground.status()["snapshot"]
    (ground.root / "second" / "vps1" / "nightly" / f"{newest}.manifest.asc").unlink()
    told = look(ground, code=10)
    assert told["hosts"][0]["state"] == "fresh"
    (concern,) = [it for it in told["concerns"] if it["name"] == "HB-ROLLBACK"]
    assert (concern["subject"], concern["grave"]) == (f"{ground.root}/second", True)
    assert concern["what"].startswith(
        f"{newest} was there, says the ledger of this machine, and is gone: the newest now"
    )
    (ground.root / "state" / "vps1" / "nightly" / "ledger.json").unlink()
    told = look(ground)
    (concern,) = [it for it in told["concerns"] if it["name"] == "HB-ROLLBACK"]
    assert (concern["subject"], concern["grave"]) == (f"{ground.root}/second", False)
    assert concern["what"].startswith(f"it lacks {newest} of vps1/nightly; its newest is 000001-")


def test_a_place_that_cannot_be_read(ground: Ground) -> None:
    """With another place that shows a fresh one, it is only said; with none, nobody knows, and that is no success."""
    two_remotes(ground)
    backup(ground)
    ground.write("host_vars/vps1.yml", f"hermes_backup_remotes: [{ground.root}/remote, 'nosuchremote:x']\n")
    told = look(ground)
    assert (told["hosts"][0]["state"], "HB-REMOTE-UNREACHABLE" in names(told)) == ("fresh", True)
    ground.write("host_vars/vps1.yml", "hermes_backup_remotes: ['nosuchremote:x']\n")
    told = look(ground, code=6)
    assert told["hosts"][0]["state"] == "unknown"
    assert names(told)[:2] == ["HB-AGE-UNKNOWN", "HB-REMOTE-UNREACHABLE"]
    done = ground.call("status", "./prod")
    assert done.code == 6
    assert "nobody knows how old its newest is: nosuchremote:x cannot be read" in done.out


def test_a_forged_snapshot_makes_no_stale_host_fresh(ground: Ground) -> None:
    ground.settings("hermes_backup_max_age: 1s", *ONLY_PUSH)
    backup(ground)
    time.sleep(1)
    folder = ground.root / "remote" / "vps1" / "nightly"
    forged = f"000099-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(time.time() + 60))}"
    for file in folder.glob("000001-*"):
        (folder / (forged + file.name.partition("Z")[2])).write_bytes(file.read_bytes())
    told = look(ground, code=10)
    assert told["hosts"][0]["state"] == "stale"
    (concern,) = [it for it in told["concerns"] if it["name"] == "HB-UNPROVEN"]
    assert forged in concern["what"]


def test_drift(ground: Ground) -> None:
    backup(ground)
    (host,) = ground.fleet().hosts
    deployed = ground.root / "config" / "vps1.deployed"

    def now(text: str) -> tuple[str, str | None, bool]:
        deployed.write_text(text)
        told = look(ground)
        it = told["hosts"][0]
        return it["config"], it["agent"], "HB-DEPLOY-STALE" in names(told)

    digest = declared(host, ["vps1"]).digest
    same = {"digest": digest, "version": "0.1.0", "at": "2026-11-21T10:00:00+00:00"}
    assert now(json.dumps(same)) == ("as declared", "0.1.0", False)
    assert look(ground)["hosts"][0]["deployed"] == "2026-11-21T10:00:00+00:00"
    assert now(json.dumps({**same, "digest": "0" * 64})) == ("differs", "0.1.0", True)
    deployed.write_text(json.dumps({"digest": digest, "version": "0.1.0"}))
    os.utime(deployed, (1795257000, 1795257000))
    assert look(ground)["hosts"][0]["deployed"] == "2026-11-21T10:30:00+00:00"
    assert now("{broken") == ("differs", None, True)
    assert now("[]") == ("differs", None, True)
    assert now('{"at": "yesterday"}') == ("differs", None, True)
    deployed.write_text(json.dumps(same))
    ground.settings("hermes_backup_exclude_extra: ['/workspace']")
    assert look(ground)["hosts"][0]["config"] == "differs"


def test_the_last_run_failed(ground: Ground) -> None:
    backup(ground)
    (ground.root / "home").rename(ground.root / "elsewhere")
    assert ground.call("run", "./prod", "--json").code == 5
    told = look(ground)
    last = told["hosts"][0]["pipelines"][0]["last_run"]
    assert (told["hosts"][0]["state"], last["result"], last["error"]["name"]) == ("fresh", "failed", "HB-HOME-MISSING")
    (concern,) = [it for it in told["concerns"] if it["name"] == "HB-HOME-MISSING"]
    assert (concern["subject"], concern["grave"]) == ("vps1/nightly", True)
    done = ground.call("status", "./prod", COLUMNS="80")
    assert re.search(r"^vps1 .* failed [0-9.]+ s", done.out, re.MULTILINE)
    assert "vps1/nightly: its last run failed" in done.out


def test_the_last_run_is_partial(ground: Ground) -> None:
    (ground.root / "home" / "broken.db").write_bytes(b"SQLite format 3\0" + b"no database" * 500)
    assert ground.call("run", "./prod", "--json").code == 4
    told = look(ground)
    last = told["hosts"][0]["pipelines"][0]["last_run"]
    assert (last["result"], last["partial"], "HB-RUN-PARTIAL" in names(told)) == ("partial", 1, True)


SLOW = (
    "hermes_backup_pipelines:",
    f"  nightly: {{{NIGHTLY}}}",
    f"  long: {{stages: [command: {{before: [sleep, '60']}}, archive, {ENCRYPT}, {PUSH}]}}",
)


def test_a_run_under_way_and_one_that_was_killed(ground: Ground) -> None:
    ground.settings(*SLOW)
    backup(ground)
    child = ground.start("run", "./prod", "--pipeline", "long", "--json")
    until(lambda: ground.status("long")["stage"] == "command")

    def last() -> str:
        row = next(it for it in look(ground)["hosts"][0]["pipelines"] if it["pipeline"] == "long")
        return str(row["last_run"]["result"])

    assert last() == "running"
    for pid in ground.agents():
        os.kill(pid, signal.SIGKILL)
    child.communicate(timeout=60)
    assert last() == "killed"
    assert "HB-RUN-LOST" in names(look(ground))
    assert "vps1/long: its last run was killed, in command" in ground.call("status", "./prod").out


def test_a_status_that_cannot_be_read(ground: Ground) -> None:
    backup(ground)
    file = ground.root / "state" / "vps1" / "nightly" / "status.json"
    for text in ("{broken", json.dumps({**ground.status(), "of_the_future": 1})):
        file.write_text(text)
        told = look(ground)
        assert (told["hosts"][0]["state"], told["hosts"][0]["reachable"]) == ("fresh", True)
        assert told["hosts"][0]["pipelines"][0]["last_run"]["result"] == "unknown"
        assert "HB-RUN-LOST" in names(told)


def test_a_key_that_ends_soon(ground: Ground, key_maker: KeyMaker) -> None:
    backup(ground)
    soon = key_maker.make("future-default", "default", "20d")
    ground.write("keys/soon.asc", soon.public)
    ground.write(
        "host_vars/vps1.yml", f"hermes_backup_recipients: [{ground.recipient.fingerprint}, {soon.fingerprint}]\n"
    )
    told = look(ground)
    first = told["hosts"][0]["keys"][0]
    assert (first["fingerprint"], first["error"]["name"]) == (soon.fingerprint, "HB-KEY-EXPIRES")
    (ground.inventory / "keys" / "soon.asc").unlink()
    assert "HB-KEY-MISSING" in names(look(ground))


def test_a_drill_that_this_machine_did(ground: Ground) -> None:
    backup(ground)
    status = {**ground.status(), "pipeline": "drill"}
    file = find_inventory(str(ground.inventory)).drills / "vps1" / "drill" / "status.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(status))
    told = look(ground)
    assert told["hosts"][0]["drill"]["result"] == "done"
    assert not {"HB-DRILL-DUE", "HB-DRILL-OVERDUE"} & set(names(told))
    ground.write("host_vars/vps1.yml", "hermes_backup_max_drill_age: 1s\n")
    assert "HB-DRILL-OVERDUE" in names(look(ground, code=10))


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("--limit", "vps9"), 3, "HB-HOST-MISSING"),
        (("--pipeline", "nigthly"), 3, "HB-PIPELINE-MISSING"),
        (("--pipeline", "drill"), 3, "HB-PIPELINE-MISSING"),
    ],
)
def test_what_is_not_there_is_refused(ground: Ground, words: tuple[str, ...], code: int, name: str) -> None:
    done = ground.call("status", "./prod", "--json", *words)
    assert (done.code, done.data["error"]["name"]) == (code, name)


def test_json_is_no_film(ground: Ground) -> None:
    done = ground.call("status", "./prod", "--json", "--watch")
    assert (done.code, "either --watch or --json" in done.err) == (2, True)


class Terminal:
    """The program on a terminal of 80 columns and 30 lines."""

    def __init__(self, ground: Ground, *words: str) -> None:
        self.here, there = pty.openpty()
        size = {"COLUMNS": "80", "LINES": "30", "TERM": "xterm-256color"}
        self.child = subprocess.Popen(
            [*PROGRAM, *words], cwd=ground.root, env={**ground.environment(), **size}, stdin=there, stdout=there,
            stderr=there, start_new_session=True,
        )  # fmt: skip
        os.close(there)
        self.seen = ""

    def read_until(self, true: Any, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not true(self.seen):
            assert time.monotonic() < end, self.seen
            if select.select([self.here], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.here, 65536).decode("utf-8", "replace")
                except OSError:  # the other end is closed
                    break

    def interrupt(self) -> int:
        os.killpg(self.child.pid, signal.SIGINT)
        code = self.child.wait(120)
        self.read_until(lambda _: False) if select.select([self.here], [], [], 0.5)[0] else None
        return code


def test_watching_on_a_terminal_and_leaving_it_as_it_was(ground: Ground) -> None:
    backup(ground)
    terminal = Terminal(ground, "status", "./prod", "--watch")
    terminal.read_until(lambda seen: len(set(re.findall(r"\d\d:\d\d:\d\d UTC", seen))) > 1)
    assert terminal.interrupt() == 130
    assert terminal.seen.rfind("\x1b[?25h") > terminal.seen.rfind("\x1b[?25l") >= 0  # the cursor is back
    assert "HB-INTERRUPTED" in terminal.seen
    assert "Traceback" not in terminal.seen


def test_watching_without_a_terminal(ground: Ground) -> None:
    backup(ground)
    child = ground.start("status", "./prod", "--watch", PYTHONUNBUFFERED="1")
    assert child.stdout is not None
    seen = 0
    for line in child.stdout:
        seen += line.startswith("1 host: 1 fresh")
        if seen == 2:
            break
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=120)
    assert (child.returncode, "HB-INTERRUPTED" in err) == (130, True)


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield int(server.getsockname()[1])


def test_an_interrupt_while_a_remote_and_a_host_do_not_answer(ground: Ground, machine: Machine) -> None:
    with silent_server() as port:
        config = ground.root / ".config" / "rclone"
        config.mkdir(parents=True)
        (config / "rclone.conf").write_text(f"[web]\ntype = http\nurl = http://127.0.0.1:{port}\n")
        ground.write("hosts.yml", "all:\n  hosts: {vps1: }\n")
        ground.write(
            "host_vars/vps1.yml", over_ssh(machine, ansible_port=str(port)) + "hermes_backup_remotes: ['web:']\n"
        )
        ground.settings(*ONLY_PUSH)
        child = ground.start("status", "./prod", "--json")
        until(lambda: [it for it in processes() if it.program == "ssh" and os.fsencode(ground.root) in it.words])
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=120)
        assert (child.returncode, json.loads(out)["error"]["name"]) == (130, "HB-INTERRUPTED"), err
        assert time.monotonic() - began < 9  # the remote would have been waited for 10 s and more
