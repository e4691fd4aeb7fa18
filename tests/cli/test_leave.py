"""``hermes-backup leave``: a last snapshot, and a home that another machine goes on with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_backup.pipeline.config import dump
from tests.coming import Cloud, Machine
from tests.site import PROGRAM, fill, messages_in

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts are root's")


def called(
    machine: Machine, command: str, *words: str, after: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Call a command as the unit of systemd does; its pipeline runs one of its own after its snapshot."""
    config = machine.folder / "config"
    config.mkdir(exist_ok=True)
    declared = json.loads(dump(machine.config()))
    if after:
        declared["pipelines"]["snapshot"]["stages"].insert(0, {"command": {"after": after}})
    (config / "agent.json").write_text(json.dumps(declared))
    argv = [*PROGRAM, command, "--pipeline=snapshot", "--host=agent", "--config", str(config), *words]
    env = {**os.environ, "CREDENTIALS_DIRECTORY": str(machine.folder / "credentials")}
    return subprocess.run(argv, capture_output=True, text=True, env=env)


def came(cloud: Cloud) -> Machine:
    """A machine whose home lies in layers: one before it wrote the first snapshot."""
    first = cloud.machine()
    assert called(first, "mount-latest", "--lease=1s").returncode == 0
    fill(first.home / "state.db", 30)
    assert called(first, "leave").returncode == 0
    machine = cloud.machine()
    done = called(machine, "mount-latest", "--lease=1s", "--json")
    assert json.loads(done.stdout)["way"] == "overlay", done.stderr
    return machine


def released(cloud: Cloud) -> bool:
    return bool(json.loads((cloud.remote / "agent" / "snapshot.lease").read_text())["released"])


def test_what_was_written_last_is_on_the_next_machine(cloud: Cloud) -> None:
    machine = came(cloud)
    fill(machine.home / "state.db", 12)
    assert not released(cloud)
    done = called(machine, "leave")
    assert done.returncode == 0, done.stderr
    assert (done.stdout, "the last snapshot: 000002" in done.stderr) == ("", True)
    assert not os.path.ismount(machine.home)
    assert not any(machine.home.iterdir())
    assert not (machine.state / "layers").exists()
    assert released(cloud)
    other = cloud.machine()
    assert called(other, "mount-latest").returncode == 0
    assert messages_in(other.home / "state.db") == 42


def test_nothing_new_leaves_no_new_snapshot(cloud: Cloud) -> None:
    machine = came(cloud)
    assert machine.save().state == "done"
    done = called(machine, "leave", "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["state"], said["exit_code"]) == (0, "unchanged", 0), done.stderr
    assert len(cloud.images()) == 2
    assert not (machine.state / "layers").exists()


@pytest.mark.parametrize("late", [("touch", "late"), ("rm", "-f", "notes")])
def test_what_somebody_else_writes_while_the_last_snapshot_is_made_stays(cloud: Cloud, late: tuple[str, ...]) -> None:
    first = cloud.machine()
    assert called(first, "mount-latest", "--lease=1s").returncode == 0
    (first.home / "notes").write_text("words\n")
    assert called(first, "leave").returncode == 0
    machine = cloud.machine()
    assert called(machine, "mount-latest", "--lease=1s").returncode == 0
    (machine.home / "own").write_text("words\n")
    *program, name = late
    done = called(machine, "leave", after=(*program, str(machine.home / name)))
    assert done.returncode == 4, done.stderr
    assert f"warning: mount: {name} was written while the last snapshot was made" in done.stderr
    assert released(cloud)
    again = called(machine, "mount-latest", "--json")
    assert json.loads(again.stdout)["resumed"], again.stderr
    assert (machine.home / name).exists() == (name == "late")


def test_a_log_that_the_agent_left_is_no_late_write(cloud: Cloud) -> None:
    machine = came(cloud)
    script = (
        "import os, sqlite3, sys; it = sqlite3.connect(sys.argv[1]); it.execute('DELETE FROM messages WHERE id > 7')"
    )
    subprocess.run([sys.executable, "-c", f"{script}; it.commit(); os._exit(0)", machine.home / "state.db"], check=True)
    assert (machine.home / "state.db-wal").stat().st_size
    done = called(machine, "leave")
    assert (done.returncode, "meanwhile" in done.stderr, "while the last" in done.stderr) == (0, False, False)
    assert not (machine.state / "layers").exists()
    other = cloud.machine()
    assert called(other, "mount-latest").returncode == 0
    assert messages_in(other.home / "state.db") == 7


def test_with_the_remote_gone_nothing_is_lost(cloud: Cloud) -> None:
    machine = came(cloud)
    (machine.home / "last").write_text("words\n")
    away = cloud.folder / "away"
    cloud.remote.rename(away)
    cloud.remote.write_text("not a folder\n")
    done = called(machine, "leave", "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["state"]) == (5, "failed"), done.stderr
    assert "warning: no last snapshot:" in done.stderr
    assert not os.path.ismount(machine.home)
    assert (machine.state / "layers" / "upper" / "last").read_text() == "words\n"
    assert any((machine.state / "kept").rglob("000002-*.manifest.asc"))
    cloud.remote.unlink()
    away.rename(cloud.remote)
    again = called(machine, "mount-latest", "--json")
    assert json.loads(again.stdout)["resumed"], again.stderr
    assert (machine.home / "last").read_text() == "words\n"
    assert len(cloud.images()) == 2  # what was kept is sent


def test_somebody_who_stands_in_the_home_is_told_and_it_stays(cloud: Cloud) -> None:
    machine = came(cloud)
    (machine.home / "last").write_text("words\n")
    sitter = subprocess.Popen(["sleep", "60"], cwd=machine.home)
    try:
        done = called(machine, "leave", "--json")
        assert done.returncode == 5
        assert json.loads(done.stdout)["error"]["name"] == "HB-STAGE-FAILED"
        assert (machine.home / "last").read_text() == "words\n"
        assert len(cloud.images()) == 2  # the snapshot was made
        assert not released(cloud)
    finally:
        sitter.kill()
        sitter.wait()
    assert called(machine, "leave").returncode == 0
    assert released(cloud)


def test_a_run_that_is_under_way_is_not_disturbed(cloud: Cloud, tmp_path: Path) -> None:
    machine = came(cloud)
    with subprocess.Popen(
        ["flock", machine.state / "lock", "sh", "-c", f"touch {tmp_path}/held; exec sleep 60"]
    ) as holder:
        try:
            while not (tmp_path / "held").exists():
                assert holder.poll() is None
            done = called(machine, "leave")
            assert (done.returncode, "HB-LOCKED" in done.stderr) == (7, True)
            assert os.path.ismount(machine.home)
        finally:
            subprocess.run(["pkill", "-P", str(holder.pid)], check=False)
            holder.kill()


def test_each_snapshot_renews_the_lease(cloud: Cloud) -> None:
    machine = came(cloud)
    lease = cloud.remote / "agent" / "snapshot.lease"
    before = json.loads(lease.read_text())
    assert machine.save().exit_code == 0
    after = json.loads(lease.read_text())
    assert after["renewed"] > before["renewed"]
    assert (after["holder"], after["seconds"]) == (before["holder"], 1.0)
    machine.go()
    gone = json.loads(lease.read_text())
    assert machine.save().exit_code is not None
    assert json.loads(lease.read_text()) == gone  # what was given back is not taken again
