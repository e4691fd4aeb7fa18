"""A restore in place whose terminal goes, or whose connection is lost, in the midst of what is sent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.fleet.ground import Ground
from tests.fleet.machine import Machine
from tests.processes import Process, descendants, processes
from tests.site import PROGRAM
from tests.waiting import until

AGENT = Path(sys.executable).parent / "hermes-backup"
_MANY = 32 << 20  # bytes: more than all pipes between the two hold


@pytest.fixture
def saved(ground: Ground) -> Ground:
    """A home that is large enough to be sent for a while, backed up and spoilt since."""
    ground.settings(f"hermes_backup_gnupghome: {ground.recipient.gnupghome}")
    (ground.root / "home" / "bulk").write_bytes(os.urandom(_MANY))
    ground.back_up()
    (ground.root / "home" / "SOUL.md").write_text("I am another.\n")
    return ground


@contextmanager
def restoring(ground: Ground) -> Iterator[tuple[subprocess.Popen[str], Process]]:
    """Give a restore in place in a terminal of its own, and its agent, which stands still while it takes the data."""
    argv = [*PROGRAM, "restore", "./prod", "vps1", "--in-place"]
    child = subprocess.Popen(
        argv, cwd=ground.root, env=ground.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        until(lambda: unpacking(ground))
        (agent,) = agents(ground)
        os.kill(agent.pid, signal.SIGSTOP)
        yield child, agent
    finally:
        child.kill()
        child.communicate()


def unpacking(ground: Ground) -> list[Path]:
    return [it for it in ground.root.glob(".hermes-restore-*/tree") if it.is_dir()]


def agents(ground: Ground) -> list[Process]:
    """The agents that take data for this ground: they hold a lock in its state."""
    found = []
    for it in processes():
        with suppress(OSError):  # it has ended meanwhile
            held = [os.readlink(link) for link in Path(f"/proc/{it.pid}/fd").iterdir()]
            if b"\0agent\0restore" in it.words and f"{ground.root}/state/vps1/restore.lock" in held:
                found.append(it)
    return found


def assert_nothing_changed(ground: Ground) -> None:
    until(lambda: not agents(ground) and not list(ground.root.glob(".hermes-restore-*")))
    assert (ground.root / "home" / "SOUL.md").read_text() == "I am another.\n"
    assert not list(ground.root.glob("home.before-*"))


@pytest.mark.parametrize("whom", ["both", "agent", "here"])
def test_a_terminal_that_goes_is_an_interruption(saved: Ground, whom: str) -> None:
    with restoring(saved) as (child, agent):
        if whom == "both":
            os.killpg(child.pid, signal.SIGHUP)
        else:
            os.kill(agent.pid if whom == "agent" else child.pid, signal.SIGHUP)
        os.kill(agent.pid, signal.SIGCONT)
        _, said = child.communicate(timeout=60)
    assert (child.returncode, "HB-INTERRUPTED" in said) == (130, True), said
    assert_nothing_changed(saved)


def test_a_connection_that_is_lost_leaves_the_home_as_it_was(saved: Ground, machine: Machine) -> None:
    saved.write("hosts.yml", "all:\n  hosts:\n    vps1: {}\n")
    settings = machine.variables() + f"ansible_python_interpreter: {sys.executable}\nhermes_backup_agent: {AGENT}\n"
    saved.write("host_vars/vps1.yml", settings)
    assert machine.child is not None
    with restoring(saved) as (child, agent):
        for it in descendants(machine.child.pid):
            if it.words.startswith(b"sshd"):
                os.kill(it.pid, signal.SIGKILL)
        os.kill(agent.pid, signal.SIGCONT)
        _, said = child.communicate(timeout=60)
    assert (child.returncode, "HB-HOST-UNREACHABLE" in said) == (6, True), said
    assert_nothing_changed(saved)
    again = saved.call("restore", "./prod", "vps1", "--in-place")
    assert (again.code, (saved.root / "home" / "SOUL.md").read_text()) == (0, "I am the test.\n"), again.err
