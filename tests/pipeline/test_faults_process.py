"""Runs that are killed, stopped, doubled and starved, at every stage."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.errors import Fault
from tests.pipeline.ground import MEGABYTE, Ground, add_bulk, ground
from tests.servers import S3Server, SftpServer
from tests.waiting import until

__all__ = ["ground"]
_KILLS = 24


def objects(*tops: Path) -> list[Path]:
    """Every object under a final name."""
    return [it for top in tops for it in top.rglob("*") if it.is_file() and not it.name.startswith(".")]


def big_database(path: Path, megabytes: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE big (x BLOB)")
    connection.executemany("INSERT INTO big VALUES (?)", [(os.urandom(MEGABYTE),) for _ in range(megabytes)])
    connection.commit()
    connection.close()


def test_kill_9_at_any_moment_publishes_no_half_file_and_the_next_run_works(
    ground: Ground, s3_server: S3Server, sftp_server: SftpServer
) -> None:
    site = ground.site
    add_bulk(site, 16)
    name = site.root.name
    settings = {"rclone_config": s3_server.section("s3") + sftp_server.section("sftp")}
    addresses = (str(site.remote), f"s3:{s3_server.bucket}/{name}", f"sftp:{sftp_server.address_root}/{name}")
    ways = [site.usual({"push": {"to": [it]}}) for it in addresses]
    started = time.monotonic()
    assert ground.end(ground.start(ways[0], **settings)).code == 0
    whole = time.monotonic() - started
    first = ground.lasting()
    moments = random.Random(7)
    for number in range(_KILLS):
        run = ground.start(ways[number % 3], **settings)
        time.sleep(whole * (0.15 + 0.85 * (number + moments.random()) / _KILLS))
        run.kill()
        run.wait()
        until(lambda: all(it.program == "gpg-agent" for it in ground.running()), 30)
        if number % 8 == 7:
            time.sleep(1)  # names have whole seconds: data of the killed run may hold the one of this second
            status = site.run(ways[0], **settings)
            assert status.exit_code == 0, status.error
    assert first.items() <= ground.lasting().items()
    for part in site.remote.rglob(".*.hermes-backup-part"):
        part.unlink()  # a remote has no locks, so such a file stays there for a day
    time.sleep(1)
    for way in ways:
        ground.check_next(way, **settings)
    for top in (s3_server.root / s3_server.bucket / name, sftp_server.root / name):
        ground.check_whole(top)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("stage", ["command", "sqlite", "store+push", "prune", "after"])
def test_a_signal_ends_a_run_at_once_and_cleanly(ground: Ground, number: signal.Signals, stage: str) -> None:
    site = ground.site
    assert site.run().exit_code == 0
    big_database(site.home / "kanban.db", 60)
    add_bulk(site, 12)
    before = ground.lasting()
    push = {"push": {"to": [str(site.remote)], "bandwidth": "100K"}}
    command: dict[str, Any] = {}
    if stage == "command":
        command = {"command": {"before": ["sleep", "60"]}}
    elif stage == "prune":
        command = {"command": {"before": ["true"]}}
    elif stage == "after":
        command = {"command": {"after": ["sleep", "60"]}}
    stages = [*([command] if command else []), *site.usual()]
    if stage == "store+push":
        stages.append(push)
    if stage == "prune":
        stages.append({"prune": {"keep_last": 1}})
    run = ground.start(stages)
    if stage == "after":
        ground.wait_for_child(run, "sleep")
    else:
        ground.wait_for_stage(run, stage)
        if stage == "store+push":
            ground.wait_for_upload(run)
    run.send_signal(number)
    began = time.monotonic()
    ended = ground.end(run)
    took = time.monotonic() - began
    status = site.status()
    assert (ended.code, status.state) == (130, "interrupted"), (ended, status)
    assert status.error is not None
    assert status.error.name == "HB-INTERRUPTED"
    assert took < 4, "it was to end at once"
    if stage in ("prune", "after"):
        assert before.items() <= ground.lasting().items() or stage == "prune"
        ground.check_clean()
    else:
        assert status.error.where == stage
        ground.check_failed(status, 130, "HB-INTERRUPTED", stage, before)
    ground.check_next()


def test_signals_at_any_moment_leave_nothing(ground: Ground) -> None:
    site = ground.site
    add_bulk(site, 8)
    stages = site.usual({"push": {"to": [str(site.remote)]}})
    started = time.monotonic()
    assert ground.end(ground.start(stages)).code == 0
    whole = time.monotonic() - started
    moments = random.Random(11)
    for number in range(8):
        before = ground.lasting()
        run = ground.start(stages)
        until(lambda run=run: site.status().pid == run.pid)
        time.sleep(whole * 0.08 * (number + moments.random()))
        run.terminate()
        ended = ground.end(run)
        ground.check_clean()
        status = site.status()
        if status.state != "interrupted":
            continue  # it was done before
        assert ended.code == 130, ended
        new = sorted(ground.lasting().keys() - before.keys())
        assert [it.split(".", 1)[1] for it in new] == ["index.zst.gpg", "manifest.asc", "tar.zst.gpg"] * (len(new) // 3)
    ground.check_next(stages)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_ended_between_two_places_gives_no_number_twice(ground: Ground, number: signal.Signals) -> None:
    """The store has its manifest, the remote has only the data: what is known of the first must not be forgotten."""
    site = ground.site
    stages = site.usual({"push": {"to": [str(site.remote)], "bandwidth": "100M"}})
    assert site.run(stages).exit_code == 0
    run = ground.start(stages)
    until(lambda: len(list(site.store.rglob("*.asc"))) == 2 or run.poll() is not None, pause=0.0005)
    run.send_signal(number)
    ended = ground.end(run)
    assert ended.code == (130 if number is signal.SIGTERM else -9)
    if number is signal.SIGTERM:
        assert len(site.snapshots(site.remote)) == 4, "what lacks its manifest is gone from the remote"
        ground.check_clean()
    for part in site.remote.rglob(".*.hermes-backup-part"):
        part.unlink()
    status = ground.check_next(stages)
    assert str(status.snapshot).startswith("000003-")


@pytest.mark.parametrize("program", ["gpg", "rclone"])
def test_a_killed_child_fails_the_run_by_name(ground: Ground, program: str) -> None:
    site = ground.site
    only_remote = [*site.usual()[:-1], {"push": {"to": [str(site.remote)], "bandwidth": "8M"}}]
    assert site.run(only_remote).exit_code == 0
    before = ground.lasting()
    (site.home / "bulk").write_bytes(os.urandom(60 * MEGABYTE))  # more than all pipes and rclone's 16 MB hold
    run = ground.start(only_remote)
    ground.wait_for_upload(run)
    marks = {"gpg": (b"--encrypt",), "rclone": (b"rcat", b".tar.zst.gpg")}
    os.kill(ground.wait_for_child(run, program, *marks[program]).pid, signal.SIGKILL)
    ended = ground.end(run)
    status = site.status()
    assert ended.code == 5
    name = "HB-PUSH-FAILED" if program == "rclone" else "HB-STAGE-FAILED"
    ground.check_failed(status, 5, name, "push", before)
    assert status.error is not None
    where = {"gpg": "encrypt", "rclone": "push"}[program]
    assert status.error.where == where
    assert program in status.error.what
    assert name in ended.out + ended.err
    (site.home / "bulk").unlink()
    ground.check_next(only_remote)


def test_a_killed_upload_is_tried_again_from_the_store(ground: Ground) -> None:
    site = ground.site
    stages = site.usual({"push": {"to": [str(site.remote)], "bandwidth": "8M"}})
    add_bulk(site, 12)
    run = ground.start(stages)
    os.kill(ground.wait_for_upload(run).pid, signal.SIGKILL)
    assert ground.end(run).code == 0
    assert site.snapshots(site.remote) == site.snapshots()
    ground.check_clean()
    ground.check_whole(site.remote)


def test_a_second_run_is_refused_and_the_first_goes_on(ground: Ground) -> None:
    site = ground.site
    stages = [{"command": {"before": ["sleep", "60"]}}, *site.usual()]
    first = ground.start(stages)
    sleep = ground.wait_for_child(first, "sleep")
    second = ground.end(ground.start(stages))
    assert second.code == 7
    assert "HB-LOCKED" in second.err
    assert f"process {first.pid} " in second.err
    with pytest.raises(Fault, match=f"process {first.pid} "):
        site.run(stages)
    assert site.status().pid == first.pid
    os.kill(sleep.pid, signal.SIGKILL)
    failed = ground.end(first)
    assert failed.code == 5, "its command was killed"
    ground.check_next()


def test_a_lock_left_by_a_dead_run_is_none(ground: Ground) -> None:
    site = ground.site
    site.folder.mkdir(parents=True)
    (site.folder / "lock").write_text("1")
    (site.folder / "run-abcd1234").mkdir()
    (site.folder / "run-abcd1234" / "secret").write_text("left")
    ground.check_next()


def test_what_a_killed_run_wrote_to_the_store_is_swept_but_not_what_is_not_ours(ground: Ground) -> None:
    site = ground.site
    folder = site.store / "vps1" / "nightly"
    folder.mkdir(parents=True)
    ours = folder / ".000001-20261121T033000Z.tar.zst.gpg.0123456789ab.hermes-backup-part"
    theirs = folder / ".notes.swp"
    ours.write_text("half")
    theirs.write_text("mine")
    assert site.run().exit_code == 0
    assert not ours.exists()
    assert theirs.exists()


@pytest.mark.parametrize("limit", [8, 12, 14, 16, 18])
def test_too_few_descriptors_fail_the_run_cleanly(ground: Ground, limit: int) -> None:
    site = ground.site
    assert site.run().exit_code == 0
    before = ground.lasting()
    ended = ground.end(ground.start(under=["prlimit", f"--nofile={limit}"]))
    assert ended.code == 5, ended
    assert "Traceback" not in ended.err
    status = site.status()
    ground.check_failed(status, 5, "HB-STAGE-FAILED", status.stage, before)
    assert status.error is not None
    assert status.error.where
    assert "one" not in status.error.what
    ground.check_next()


def test_a_file_size_limit_fails_the_run_cleanly(ground: Ground) -> None:
    site = ground.site
    stages = site.usual({"push": {"to": [str(site.remote)], "attempts": 1}})
    assert site.run(stages).exit_code == 0
    before = ground.lasting()
    add_bulk(site, 4)
    ended = ground.end(ground.start(stages, under=["prlimit", f"--fsize={MEGABYTE}"]))
    assert ended.code == 5, ended
    assert "Traceback" not in ended.err
    status = site.status()
    ground.check_failed(status, 5, "HB-PUSH-FAILED", "store+push", before)
    assert status.error is not None
    assert str(site.store) in status.error.what
    ground.check_next(stages)


def test_too_little_memory_fails_the_run_cleanly(ground: Ground) -> None:
    site = ground.site
    assert site.run().exit_code == 0
    before = ground.lasting()
    add_bulk(site, 8)
    ended = ground.end(ground.start(under=["prlimit", f"--as={320 * MEGABYTE}"]))
    assert ended.code == 5, ended
    assert "Traceback" not in ended.err
    status = site.status()
    ground.check_failed(status, 5, "HB-STAGE-FAILED", "store", before)
    assert status.error is not None
    assert "not enough memory" in status.error.what
    assert "workers" in status.error.mend
    ground.check_next()


def test_an_orphaned_pipe_is_not_published(ground: Ground) -> None:
    """The producer dies by a signal to the whole run but rclone: rclone must not take the silence for an end."""
    site = ground.site
    add_bulk(site, 8)
    stages = [*site.usual()[:-1], {"push": {"to": [str(site.remote)], "bandwidth": "2M"}}]
    run = ground.start(stages)
    ground.wait_for_upload(run)
    for child in [it for it in ground.running() if it.program == "gpg"]:
        os.kill(child.pid, signal.SIGKILL)
    run.kill()
    run.wait()
    until(lambda: all(it.program == "gpg-agent" for it in ground.running()), 30)
    assert objects(site.remote) == []
