"""A command in its home with snapshots beside it: signals, the schedule, the last snapshot, exit statuses."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.errors import Fault
from hermes_backup.pipeline.roaming.supervising import fits, patience
from tests.coming import Cloud, Machine
from tests.processes import descendants, processes
from tests.site import messages_in
from tests.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts are root's")

WRITER = """
import os, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1] + "/state.db", isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
db.execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, content TEXT)")
while True:
    done = db.execute("INSERT INTO messages (content) VALUES ('said')").lastrowid
    with open(sys.argv[2] + ".new", "w") as told:
        told.write(str(done))
    os.replace(told.name, sys.argv[2])
    time.sleep(0.002)
"""


def writer(machine: Machine) -> tuple[str, ...]:
    """A command that writes messages, and tells outside the home how many are acknowledged."""
    script = machine.folder / "writer.py"
    script.write_text(WRITER)
    return (sys.executable, str(script), str(machine.home), str(machine.folder / "acknowledged"))


def ended(process: subprocess.Popen[str], seconds: float = 120.0) -> tuple[int, str]:
    """Wait for the end; return status and what was said."""
    _, said = process.communicate(timeout=seconds)
    return process.returncode, said


def acknowledged(machine: Machine) -> int:
    """How many messages the writer says it wrote."""
    text = (machine.folder / "acknowledged").read_text() if (machine.folder / "acknowledged").exists() else ""
    return int(text or 0)


def test_after_sigterm_in_the_middle_of_writing_not_one_message_is_missing(cloud: Cloud) -> None:
    machine = cloud.machine()
    process = machine.start("--grace", "20s", command=writer(machine))
    until(lambda: acknowledged(machine) > 100 and cloud.snapshots.exists() and cloud.images())
    process.send_signal(signal.SIGTERM)
    code, said = ended(process)
    assert code == 128 + signal.SIGTERM, said
    assert machine.home.exists()
    other = cloud.machine()
    assert str(other.come().snapshot) in said
    assert messages_in(other.home / "state.db") >= acknowledged(machine) > 100


def test_after_kill_9_the_newest_whole_image_is_the_home(cloud: Cloud) -> None:
    machine = cloud.machine()
    process = machine.start(command=writer(machine))
    until(lambda: cloud.snapshots.exists() and len(cloud.images()) >= 2)
    process.kill()
    process.wait()
    subprocess.run(["pkill", "-9", "-f", str(machine.folder)], check=False)
    process.communicate()
    newest = max(it.name for it in cloud.snapshots.iterdir() if it.name.endswith(".manifest.asc"))
    machine.die()
    other = cloud.machine()
    assert str(other.come(lease=0.5).snapshot) == newest.removesuffix(".manifest.asc")
    with closing(sqlite3.connect(other.home / "state.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert messages_in(other.home / "state.db") > 0


@pytest.mark.parametrize("status", [0, 3])
def test_a_command_that_ends_by_itself(cloud: Cloud, status: int) -> None:
    machine = cloud.machine()
    script = f"echo last words > {machine.home}/notes; exit {status}"
    code, said = ended(machine.start(command=("sh", "-c", script)))
    assert code == status, said
    assert "begins empty" in said
    assert (machine.home / "notes").exists()
    other = cloud.machine()
    other.come()
    assert (other.home / "notes").read_text() == "last words\n"


def test_a_command_that_is_not_there(cloud: Cloud) -> None:
    code, said = ended(cloud.machine().start(command=("no-such-program",)))
    assert code == 5
    assert "no-such-program is not installed" in said
    assert not cloud.remote.exists()


def test_a_last_snapshot_that_fails_is_not_hidden_by_a_command_that_did_not(cloud: Cloud) -> None:
    machine = cloud.machine()
    script = f"echo x > {machine.home}/x; until ls {cloud.snapshots}/*.asc; do sleep 0.1; done; "
    script += f"rm -rf {cloud.remote}; echo y > {cloud.remote}; echo y > {machine.home}/x"
    code, said = ended(machine.start(command=("sh", "-c", script)))
    assert code == 5, said
    assert "warning: no snapshot:" in said
    assert any((machine.state / "kept").rglob("*.manifest.asc"))


def test_signals_are_passed_on_and_orphans_are_reaped(cloud: Cloud) -> None:
    machine = cloud.machine()
    told = machine.folder / "told"
    script = f"trap 'echo hup >> {told}' HUP; trap 'echo term >> {told}; exit 9' TERM; echo up >> {told}; "
    script += "while :; do sleep 0.1; done"
    process = machine.start(command=("sh", "-c", script))
    until(told.exists)
    process.send_signal(signal.SIGHUP)
    until(lambda: "hup" in told.read_text())
    process.send_signal(signal.SIGTERM)
    code, said = ended(process)
    assert (code, told.read_text().split()) == (9, ["up", "hup", "term"]), said


def test_a_command_that_does_not_listen_leaves_room_for_the_last_snapshot(cloud: Cloud) -> None:
    machine = cloud.machine()
    up = machine.folder / "up"
    script = f"trap '' TERM; echo x > {machine.home}/x; echo > {up}; while :; do sleep 0.1; done"
    process = machine.start("--grace", "20s", command=("sh", "-c", script))
    until(up.exists)
    until(lambda: cloud.snapshots.exists() and cloud.images())
    before, count = time.monotonic(), len(cloud.images())
    (machine.home / "y").write_text("y")
    process.send_signal(signal.SIGTERM)
    until(lambda: len(cloud.images()) > count)
    assert time.monotonic() - before < 20
    code, said = ended(process)
    assert code == 128 + signal.SIGKILL, said
    other = cloud.machine()
    other.come()
    assert (other.home / "y").exists()


def test_a_tick_that_overlaps_the_one_before_is_skipped_and_counted(cloud: Cloud) -> None:
    machine = cloud.machine()
    command = f"head -c 300000000 /dev/urandom > {machine.home}/big; sleep 8"
    process = machine.start(command=("sh", "-c", command), exclude_extra=[])
    _, said = ended(process)
    assert "(1 so far)" in said, said


def test_a_snapshot_that_will_not_fit_into_the_grace_is_told(cloud: Cloud) -> None:
    machine = cloud.machine()
    script = f"echo x > {machine.home}/x; until ls {machine.state}/measured; do sleep 0.2; done; sleep 1"
    _, said = ended(machine.start("--grace", "1s", command=("sh", "-c", script)))
    assert "may not fit into the grace of 1 s" in said
    _, said = ended(machine.start("--grace", "1s", command=("true",)))
    assert "may not fit" in said.split("nothing has changed")[0], said
    assert "nothing has changed" in said, said


def test_snapshots_alone_without_a_command(cloud: Cloud) -> None:
    machine = cloud.machine()
    process = machine.start("--method", "unpack")
    until((machine.state / "attached.json").exists)
    (machine.home / "from-outside").write_text("x\n")
    process.send_signal(signal.SIGTERM)
    code, said = ended(process)
    assert code == 0, said
    other = cloud.machine()
    other.come()
    assert (other.home / "from-outside").exists()


def test_the_command_has_the_environment_that_the_wrapper_was_given(
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REGION", "nowhere-1")
    machine = cloud.machine()
    out = machine.folder / "environment"
    ended(machine.start(command=("sh", "-c", f"env > {out}")))
    assert "AWS_REGION=nowhere-1" in out.read_text()
    assert f"PATH={os.environ['PATH']}\n" in out.read_text()


@given(st.floats(0.1, 1000), st.floats(0, 1000))
def test_a_snapshot_that_fits_has_its_time_after_the_patience(grace: float, measured: float) -> None:
    left = patience(grace, measured)
    assert 0 < left <= grace
    if fits(grace, measured):
        assert grace - left >= measured


def test_the_command_has_the_limit_of_core_dumps_that_the_wrapper_was_given(cloud: Cloud) -> None:
    machine = cloud.machine()
    out = machine.folder / "limit"
    under = ("sh", "-c", 'ulimit -S -c 8; exec "$@"', "sh")
    process = machine.start(command=("sh", "-c", f"ulimit -c > {out}; sleep 1"), before=under)
    until(out.exists)
    assert resource.prlimit(process.pid, resource.RLIMIT_CORE)[0] == 1
    ended(process)
    assert out.read_text() == "8\n"


def test_nobody_who_listens(cloud: Cloud) -> None:
    machine = cloud.machine()
    process = machine.start(command=("sh", "-c", f"sleep 2; echo x > {machine.home}/x"))
    assert process.stderr is not None
    process.stderr.close()
    assert process.wait(60) == 0
    assert process.stdout is not None
    process.stdout.close()
    other = cloud.machine()
    other.come()
    assert (other.home / "x").exists()


FAMILY = "echo x > {home}/x; sleep {mark} & (setsid sleep {mark} &); echo up > {up}; exec sleep {mark}"


def alive(mark: str) -> set[int]:
    """The processes of a command that sleeps for so many seconds."""
    return {it.pid for it in processes() if it.program == "sleep" and it.words.endswith(f"\0{mark}\0".encode())}


@pytest.fixture
def mark() -> Iterator[str]:
    """For how many seconds a command sleeps; what still does in the end is ended. Other workers have other ones."""
    seconds = f"311.{os.getpid()}"
    yield seconds
    for pid in alive(seconds):
        os.kill(pid, signal.SIGKILL)


def test_after_kill_9_nothing_of_the_command_lives_on_and_the_next_wrapper_starts_it_again(
    cloud: Cloud, mark: str
) -> None:
    machine = cloud.machine()
    up = machine.folder / "up"
    command = ("sh", "-c", FAMILY.format(home=machine.home, up=up, mark=mark))
    process = machine.start(command=command)
    until(up.exists)
    until(lambda: len(alive(mark)) == 3)
    below = {it.pid for it in descendants(process.pid) if "fuse" not in it.program}
    assert alive(mark) < below
    process.kill()
    process.wait()
    until(lambda: not below & {it.pid for it in processes()}, 30)
    process.communicate()
    up.unlink()
    again = machine.start(command=command)
    until(up.exists)
    until(lambda: len(alive(mark)) == 3)
    again.send_signal(signal.SIGTERM)
    code, said = ended(again)
    assert code == 128 + signal.SIGTERM, said
    assert not alive(mark)


def test_a_guardian_that_is_killed_ends_the_command_and_the_last_snapshot_is_taken(cloud: Cloud, mark: str) -> None:
    machine = cloud.machine()
    up = machine.folder / "up"
    process = machine.start(command=("sh", "-c", FAMILY.format(home=machine.home, up=up, mark=mark)))
    until(lambda: up.exists() and len(alive(mark)) == 3)
    (guardian,) = [it.pid for it in descendants(process.pid) if b"guardian.py" in it.words]
    os.kill(guardian, signal.SIGKILL)
    code, said = ended(process)
    assert code == 128 + signal.SIGKILL, said
    assert not alive(mark)
    assert cloud.images()


def test_a_home_that_a_stranger_writes_gets_no_second_agent(begun: Cloud) -> None:
    machine = begun.machine()
    machine.come(way="unpack")
    up, told = machine.folder / "up", machine.folder / "told"
    script = "import sqlite3, sys, time; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT * FROM messages');"
    script += "open(sys.argv[2], 'w').close(); time.sleep(600)"
    argv = [sys.executable, "-c", script, str(machine.home / "state.db"), str(told)]
    with subprocess.Popen(argv) as stranger:
        try:
            until(told.exists)
            code, said = ended(machine.start(command=("touch", str(up))))
            assert code == 7, said
            assert "HB-HOME-IN-USE" in said
            assert f"({stranger.pid}) has {machine.home}/state.db open" in said
            assert f"kill {stranger.pid}" in said
            with pytest.raises(Fault, match=rf"\({stranger.pid}\) has .*HB-HOME-IN-USE"):
                machine.come()
            assert not up.exists()
            sidecar = machine.start()
            until(lambda: "goes on" in (sidecar.stderr.readline() if sidecar.stderr else ""))
            sidecar.send_signal(signal.SIGTERM)
            assert ended(sidecar)[0] == 0
        finally:
            stranger.kill()
    code, said = ended(machine.start(command=("touch", str(up))))
    assert code == 0, said
    assert up.exists()


def test_nothing_is_imported_from_the_home(cloud: Cloud) -> None:
    machine = cloud.machine()
    told = machine.folder / "told"
    for name in ("hermes_backup", "typer"):
        (machine.home / name).mkdir(parents=True)
        (machine.home / name / "__init__.py").write_text(f"open({str(told)!r}, 'w').close()\n")
    status = machine.save()
    assert status.state == "done", status
    code, said = ended(machine.start("--keep-home", command=("sh", "-c", "sleep 1"), inside=True))
    assert code == 0, said
    assert "the last snapshot: 00000" in said or "nothing has changed since 00000" in said
    assert not told.exists()
