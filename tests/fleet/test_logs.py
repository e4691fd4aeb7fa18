"""``logs`` through its door: what the last run of a pipeline said, from the files that it left."""

from __future__ import annotations

import json

import pytest

from tests.fleet.ground import Ground
from tests.fleet.machine import Machine
from tests.fleet.test_status import SLOW, over_ssh
from tests.servers import free_port
from tests.waiting import until


def test_a_run_that_went_well(ground: Ground) -> None:
    assert ground.call("run", "./prod", "--json").code == 0
    done = ground.call("logs", "./prod", "vps1")
    assert (done.code, done.err) == (0, "")
    head, *lines = done.out.splitlines()
    assert head == f"run {ground.status()['run_id']}, {ground.root}/state/vps1/nightly"
    assert [it.split(" ", 2)[2] for it in lines[:3]] == ["stage: sqlite", "stage: archive", "stage: encrypt"]
    assert any(f"published: {ground.status()['snapshot']}: " in it for it in lines)
    assert lines[-1].endswith(" finished: done: exit code 0")
    assert "PGP PUBLIC KEY" not in done.out  # the status that the agent prints at its end is no log
    short = ground.call("logs", "./prod", "vps1", "--lines", "1")
    assert short.out.splitlines() == [head, lines[-1]]
    told = ground.call("logs", "./prod", "vps1", "--json").data
    assert (told["host"], told["pipeline"], told["lines"], told["silent"]) == ("vps1", "nightly", lines, [])


def test_a_run_that_failed(ground: Ground) -> None:
    assert ground.call("run", "./prod", "--json").code == 0
    (ground.root / "home").rename(ground.root / "elsewhere")
    assert ground.call("run", "./prod", "--json").code == 5
    lines = ground.call("logs", "./prod", "vps1").out.splitlines()
    assert "finished: failed: exit code 5: " in lines[-1]
    assert lines[-1].endswith("[HB-HOME-MISSING]")
    assert not any("published" in it for it in lines)


def test_a_run_that_never_came_to_a_status(ground: Ground) -> None:
    ground.settings(*SLOW)
    child = ground.start("run", "./prod", "--pipeline", "long", "--json")
    until(lambda: ground.status("long")["stage"] == "command")
    assert ground.call("run", "./prod", "--pipeline", "long", "--json").code == 7
    done = ground.call("logs", "./prod", "vps1", "--pipeline", "long")
    assert "[HB-LOCKED]" in done.out
    child.terminate()
    child.communicate(timeout=60)


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("vps1",), 3, "HB-LOG-MISSING"),
        (("vps1", "--pipeline", "nigthly"), 3, "HB-PIPELINE-MISSING"),
        (("vps1", "--pipeline", "drill"), 3, "HB-LOG-MISSING"),
        (("vps9",), 3, "HB-HOST-MISSING"),
        (("vps1", "--lines", "0"), 2, ""),
    ],
)
def test_where_there_is_nothing(ground: Ground, words: tuple[str, ...], code: int, name: str) -> None:
    done = ground.call("logs", "./prod", *words)
    assert done.code == code
    assert name in done.err
    assert done.out == ""


def test_what_a_run_said_cannot_move_the_cursor(ground: Ground) -> None:
    folder = ground.root / "state" / "vps1" / "nightly"
    folder.mkdir(parents=True)
    (folder / "agent-20261121T050000Z-cccc.log").write_bytes(b"\x1b[2Jone\r\n\x9b2Jtwo [bold]three[/bold]\xff\n")
    done = ground.call("logs", "./prod", "vps1")
    assert done.code == 0
    assert done.out.splitlines()[1:] == ["\\x1b[2Jone", "\ufffd2Jtwo [bold]three[/bold]\ufffd"]


def test_over_ssh_and_when_the_host_is_gone(ground: Ground, machine: Machine) -> None:
    ground.write("hosts.yml", "all:\n  hosts: {vps1: }\n")
    ground.write("host_vars/vps1.yml", over_ssh(machine))
    assert ground.call("run", "./prod", "--json").code == 0
    done = ground.call("logs", "./prod", "vps1", "--json")
    assert (done.code, json.loads(done.out)["run_id"]) == (0, ground.status()["run_id"])
    ground.write("host_vars/vps1.yml", over_ssh(machine, ansible_port=str(free_port())))
    done = ground.call("logs", "./prod", "vps1", "--json")
    assert (done.code, done.data["error"]["name"]) == (6, "HB-HOST-UNREACHABLE")
