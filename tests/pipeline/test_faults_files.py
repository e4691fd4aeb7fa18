"""Homes that change while they are read, cannot be read, or of which nothing is left."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.home.making import next_line, running
from tests.pipeline.ground import MEGABYTE, Ground, ground, needs_root

__all__ = ["ground"]
_RESTLESS = """
import os, sys
home = sys.argv[1]
os.mkdir(home + "/restless")
grown = open(home + "/growing.log", "wb", buffering=0)
grown.write(bytes(1 << 22))
print("started", flush=True)
number = 0
while True:
    number += 1
    grown.write(bytes(4096))
    folder = f"{home}/restless/{number}"
    os.mkdir(folder)
    for name in "abcdef":
        open(f"{folder}/{name}", "w").write("here for a moment\\n" * 200)
    if number > 30:
        gone = f"{home}/restless/{number - 30}"
        for name in "abcdef":
            os.unlink(f"{gone}/{name}")
        os.rmdir(gone)
"""
_NOBODY = 65534


def test_files_that_grow_and_vanish_make_a_partial_snapshot_that_names_them(ground: Ground) -> None:
    site = ground.site
    for number in range(10):
        (site.home / f"a-{number}").write_bytes(os.urandom(4 * MEGABYTE))
    with running(_RESTLESS, site.home) as restless:
        assert next_line(restless) == "started"
        time.sleep(0.2)
        status = site.run()
    assert (status.state, status.exit_code) == ("partial", 4), status
    reasons = {it.path: it.reason for it in status.partial}
    assert any(path.startswith("restless/") for path in reasons), reasons
    assert set(reasons.values()) <= {"vanished or could not be read", "changed while it was read"}
    ground.check_clean()
    ground.check_whole(site.store)
    told = {it.path for it in ground.manifest().partial}
    assert told == set(reasons)
    tree = ground.opened()
    assert (tree / "a-3").read_bytes() == (site.home / "a-3").read_bytes()
    assert (tree / "growing.log").stat().st_size >= 4 * MEGABYTE
    ground.check_next()


@needs_root
def test_holes_beyond_all_measure_make_a_partial_snapshot_and_others_come_back(ground: Ground) -> None:
    site = ground.site
    for name, size in (("vast", 300 << 30), ("disk.img", 256 << 20)):
        with (site.home / name).open("wb") as file:
            file.write(b"boot")
            file.truncate(size)
    status = site.run()
    assert (status.state, status.exit_code) == ("partial", 4), status
    (told,) = status.partial
    assert (told.path, "bytes of holes" in told.reason) == ("vast", True)
    disk = ground.opened() / "disk.img"
    assert (disk.stat().st_size, disk.stat().st_blocks < 1000) == (256 << 20, True)


def test_a_file_that_its_reader_may_not_read_is_named(ground: Ground) -> None:
    """Root without the capability to read everything, as a unit with a short CapabilityBoundingSet= has it."""
    site = ground.site
    secret = site.home / "private.key"
    secret.write_text("of somebody else")
    secret.chmod(0o600)
    os.chown(secret, _NOBODY, _NOBODY)
    under = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", "--"]
    ended = ground.end(ground.start(under=under))
    assert ended.code == 4, ended
    status = site.status()
    assert [(it.path, it.reason) for it in status.partial] == [("private.key", "permission denied")]
    assert "private.key" in ended.out
    tree = ground.opened()
    assert (tree / "SOUL.md").exists()
    assert not (tree / "private.key").exists()
    secret.unlink()
    again = ground.end(ground.start(under=under))
    assert again.code == 0, again
    ground.check_clean()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_we_may_not_read_is_named(ground: Ground) -> None:
    site = ground.site
    (site.home / "private.key").write_text("mode 0")
    (site.home / "private.key").chmod(0)
    status = site.run()
    assert (status.state, status.exit_code) == ("partial", 4)
    assert [(it.path, it.reason) for it in status.partial] == [("private.key", "permission denied")]
    (site.home / "private.key").unlink()
    ground.check_next()


def test_20_000_files(ground: Ground) -> None:
    site = ground.site
    for folder in range(20):
        inner = site.home / f"folder-{folder}"
        inner.mkdir()
        for number in range(1000):
            (inner / f"file-{number}").write_text(f"{folder} {number}")
    began = time.monotonic()
    status = ground.check_next()
    assert time.monotonic() - began < 60
    assert status.files == 20_000 + 5
    assert (ground.opened() / "folder-19" / "file-999").read_text() == "19 999"


def test_exclusions_that_leave_nothing_fail_and_keep_what_there_is(ground: Ground) -> None:
    site = ground.site
    assert site.run().exit_code == 0
    before = ground.lasting()
    status = site.run(site.usual(archive={"exclude": ["*"]}))
    ground.check_failed(status, 5, "HB-HOME-EMPTY", "archive", before)
    status = site.run(exclude_extra=("*",))
    ground.check_failed(status, 5, "HB-HOME-EMPTY", "sqlite", before)
    ground.check_next()


def test_an_exclusion_that_matches_nothing_is_a_warning(ground: Ground) -> None:
    status = ground.check_next(exclude_extra=("/no-such-thing/",))
    assert any("/no-such-thing/" in it for it in status.warnings)


def test_a_home_that_vanishes_fails_the_run(ground: Ground) -> None:
    site = ground.site
    assert site.run().exit_code == 0
    before = ground.lasting()
    site.home.rename(site.root / "moved")
    ground.check_failed(site.run(), 5, "HB-HOME-MISSING", "sqlite", before)
    (site.root / "moved").rename(site.home)
    ground.check_next()


def test_a_home_that_becomes_a_link_to_nowhere_fails_the_run(ground: Ground) -> None:
    site = ground.site
    assert site.run().exit_code == 0
    before = ground.lasting()
    site.home.rename(site.root / "moved")
    Path(site.home).symlink_to("nowhere")
    ground.check_failed(site.run(), 5, "HB-HOME-MISSING", "sqlite", before)
    site.home.unlink()
    (site.root / "moved").rename(site.home)
    ground.check_next()
