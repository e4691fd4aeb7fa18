"""A home that comes and goes: brought from its newest snapshot, written, saved, and brought again elsewhere."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from hermes_backup.errors import Fault
from tests.pipeline.coming import Cloud, Machine, cloud, signing  # noqa: F401 - fixtures
from tests.site import fill, make_home, messages_in

WAYS = ("overlay", "fuse", "unpack")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounts are root's")


def settled(cloud: Cloud) -> Machine:
    """A machine that wrote a home, saved it and went in good order."""
    machine = cloud.machine()
    machine.come()
    make_home(machine.folder / "other")
    (machine.folder / "other").rename(machine.folder / "made")
    for it in (machine.folder / "made").iterdir():
        it.rename(machine.home / it.name)
    status = machine.save()
    assert status.state == "done", status
    machine.go()
    return machine


@root_only
@pytest.mark.parametrize("way", WAYS)
def test_what_one_machine_wrote_another_goes_on_with(cloud: Cloud, way: str) -> None:  # noqa: F811
    first = settled(cloud)
    second = cloud.machine()
    attached = second.come(way=way)
    assert (attached.way, str(attached.snapshot)[:6], attached.resumed) == (way, "000001", False)
    assert (second.home / "SOUL.md").read_text() == "I am the test.\n"
    assert os.readlink(second.home / "current") == "skills/report"
    assert (second.home.stat().st_mode & 0o777) == 0o700
    fill(second.home / "state.db", 50)
    (second.home / "memories" / "MEMORY.md").write_text("learned\n")
    (second.home / "SOUL.md").unlink()
    assert second.save().state == "done"
    second.go()
    if way != "unpack":
        assert not any(second.home.iterdir())
        assert not (second.state / "layers").exists()
    third = cloud.machine()
    assert str(third.come().snapshot)[:6] == "000002"
    assert messages_in(third.home / "state.db") == 250
    assert (third.home / "memories" / "MEMORY.md").read_text() == "learned\n"
    assert not (third.home / "SOUL.md").exists()
    assert first.home != third.home
