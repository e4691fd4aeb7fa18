"""What must not be taken for a machine's own home, and must not be lost: volumes, records, numbers, other processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.coming import Cloud, Machine
from tests.pipeline.test_attaching import refused

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts are root's")


@contextmanager
def volume(at: Path) -> Iterator[None]:
    """Mount an empty volume at a folder."""
    at.mkdir(exist_ok=True, parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "volume", str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


def run(machine: Machine, *command: str, words: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run a command in a home to its end."""
    process = machine.start(*words, command=command)
    out, said = process.communicate(timeout=60)
    return process.returncode, out + said


@pytest.mark.parametrize("way", ["overlay", "unpack"])
def test_a_home_is_brought_to_a_volume(begun: Cloud, way: str) -> None:
    machine = begun.machine()
    with volume(machine.home):
        assert machine.come(way=way).way == way
        (machine.home / "new").write_text("x\n")
        assert machine.save().state == "done"
        machine.go()
        assert "volume" in Path("/proc/self/mountinfo").read_text()
    other = begun.machine()
    other.come()
    assert (other.home / "new").exists()


def test_a_volume_that_lies_over_a_home_is_not_the_home(begun: Cloud) -> None:
    machine = begun.machine()
    machine.come(way="overlay")
    (machine.home / "unsaved").write_text("x\n")
    machine.die()
    with volume(machine.home):
        assert machine.come().resumed
        assert (machine.home / "unsaved").exists()
        machine.go(saved=False)


def test_a_record_that_cannot_be_read_costs_no_unsaved_write(begun: Cloud) -> None:
    machine = begun.machine()
    machine.come(way="overlay")
    (machine.home / "unsaved").write_text("x\n")
    machine.die()
    (machine.state / "attached.json").write_text("")
    refused(machine, "HB-HOME-DIVERGED")
    (machine.state / "attached.json").unlink()
    machine.come()
    assert "layers.left-" in machine.heard.text
    (aside,) = machine.state.glob("layers.left-*")
    assert (aside / "upper" / "unsaved").exists()


def test_what_lies_there_is_not_used_where_nobody_could_be_asked(begun: Cloud) -> None:
    machine = begun.machine()
    machine.home.mkdir()
    (machine.home / "config.yaml").write_text("of an image\n")
    begun.remote.rename(begun.folder / "elsewhere")
    begun.remote.write_text("no folder\n")
    refused(machine, "HB-REMOTE-UNREACHABLE")
    assert machine.come(keep_home=True).way == "kept"


def test_another_folder_is_another_home(begun: Cloud) -> None:
    machine = begun.machine()
    machine.come(way="unpack")
    machine.home.rename(machine.folder / "moved")
    machine.home.mkdir()
    (machine.home / "config.yaml").write_text("of an image\n")
    refused(machine, "HB-HOME-OCCUPIED")


def test_two_snapshots_of_one_number_are_two_histories(begun: Cloud) -> None:
    first, second = begun.machine(), begun.machine()
    first.come()
    (first.home / "mine").write_text("x\n")
    begun.remote.rename(begun.folder / "elsewhere")
    begun.remote.write_text("no folder\n")
    assert first.save(keep=True).state == "failed"
    first.die()
    begun.remote.unlink()
    (begun.folder / "elsewhere").rename(begun.remote)
    time.sleep(1)  # a snapshot's name has whole seconds
    second.come(lease=0.5)
    (second.home / "yours").write_text("x\n")
    assert second.save().state == "done"
    second.go()
    refused(first, "HB-HOME-DIVERGED")
    assert len(begun.images()) == 2


def test_a_remote_that_forgot_everything_is_another_remote(begun: Cloud) -> None:
    machine = begun.machine()
    machine.come(way="overlay")
    machine.go()
    shutil.rmtree(begun.remote)
    refused(machine, "HB-SNAPSHOT-MISSING")
    assert machine.come(start_empty=True).way == "empty"


@pytest.mark.parametrize("renewed", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_a_lease_of_an_odd_time(begun: Cloud, renewed: str) -> None:
    lease = {"holder": "f" * 32, "machine": "x", "renewed": renewed, "seconds": 0.4}
    (begun.remote / "agent" / "snapshot.lease").write_text(json.dumps(lease))
    assert str(begun.machine().come().snapshot)[:6] == "000001"


def test_a_method_that_was_refused_does_not_stand_in_the_way(begun: Cloud) -> None:
    machine = begun.machine()
    process = machine.start("--method", "overlay", command=("true",), before=("setpriv", "--bounding-set=-sys_admin"))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 5, said
    assert not (machine.state / "layers").exists()
    assert machine.come(way="unpack").way == "unpack"


def test_one_process_at_a_time_has_a_home(begun: Cloud) -> None:
    machine = begun.machine()
    up = machine.folder / "up"
    process = machine.start(command=("sh", "-c", f"echo > {up}; sleep 4; test -f {machine.home}/SOUL.md"))
    while not up.exists():
        time.sleep(0.1)
    code, said = run(machine, "true")
    assert code == 7
    assert "HB-LOCKED" in said
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_what_a_daemon_of_the_command_wrote_is_saved(begun: Cloud) -> None:
    machine = begun.machine()
    loop = f"cd {machine.home} && while :; do date +%s%N > new; mv new left; sleep 0.01; done"
    code, said = run(machine, "sh", "-c", f"setsid sh -c '{loop}' & sleep 1; exit 0")
    assert code == 0, said
    machine.come()
    last = (machine.home / "left").read_text()
    assert last
    assert not (machine.state / "layers.left-*").exists()


def test_a_command_in_its_home(begun: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = begun.machine()
    machine.home.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.chdir(machine.home)
    script = "import os; print(sorted(os.listdir('.')), oct(os.umask(0)), os.environ.get('CREDENTIALS_DIRECTORY'))"
    old = os.umask(0o027)
    try:
        code, said = run(machine, sys.executable, "-c", script)
    finally:
        os.umask(old)
    assert code == 0, said
    assert "'SOUL.md'" in said
    assert "0o27 None" in said


def test_a_command_that_cannot_be_started(begun: Cloud) -> None:
    machine = begun.machine()
    script = machine.folder / "script"
    script.write_bytes(b"\x7fELF nothing")
    script.chmod(0o755)
    code, said = run(machine, str(script))
    assert code == 126, said
    assert "cannot be started" in said
    assert not any(machine.home.iterdir())
    assert json.loads((begun.remote / "agent" / "snapshot.lease").read_text())["released"]
