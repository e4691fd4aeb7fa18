"""A home that comes and goes through a real S3 server."""

from __future__ import annotations

import os
import random
import re
from dataclasses import replace

import pytest

from hermes_backup.errors import Fault
from tests.coming import Cloud, Machine
from tests.servers import ColdFront, S3Server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts are root's")


def in_s3(machine: Machine, server: S3Server, folder: str) -> Machine:
    """A machine whose remote is a folder of a bucket."""
    return replace(machine, remote=f"s3:{server.bucket}/{folder}", rclone_config=server.section("s3"))


@pytest.mark.parametrize(("megabytes", "parts"), [(30, False), (80, True)])
def test_an_image_is_one_object_and_a_small_one_is_one_request(
    cloud: Cloud, s3_server: S3Server, megabytes: int, parts: bool
) -> None:
    folder = f"coming{megabytes}"
    machine = in_s3(cloud.machine(), s3_server, folder)
    machine.come()
    (machine.home / "noise").write_bytes(random.Random(1).randbytes(megabytes << 20))
    assert machine.save().state == "done"
    machine.go()
    (image,) = (it for it in (s3_server.root / s3_server.bucket / folder).rglob("*") if ".sqsh" in it.name)
    lines = [it for it in s3_server.words().splitlines() if image.name in it]
    initiated = [it for it in lines if re.search(r"(?i)initiate multipart|CREATE MULTIPART", it)]
    put = [it for it in lines if re.search(r"(?i)CREATE OBJECT", it)]
    assert (bool(initiated), bool(put)) == (parts, not parts), lines[:20]
    other = in_s3(cloud.machine(), s3_server, folder)
    assert str(other.come().snapshot)[:6] == "000001"
    assert (other.home / "noise").stat().st_size == megabytes << 20


def test_a_newest_that_is_not_given_is_never_replaced_by_an_older_one(cloud: Cloud, s3_server: S3Server) -> None:
    with ColdFront(s3_server) as front:

        def machine() -> Machine:
            there = f"r2:{s3_server.bucket}/cold"
            return replace(cloud.machine(), remote=there, rclone_config=front.section, archive={"format": "tar"})

        first = machine()
        first.come()
        for text in ("old", "new"):
            (first.home / "SOUL.md").write_text(text)
            assert first.save().state == "done"
        first.go()
        front.cold = ("/000002-",)
        second = machine()
        with pytest.raises(Fault) as caught:
            second.come()
        assert caught.value.kind.name == "HB-SNAPSHOT-UNREADABLE"
        assert "000002-" in caught.value.where
        assert "--start-empty" not in caught.value.mend, "there is a memory, and it may come back"
        assert not second.home.exists()
        assert first.come().resumed, "it is of its own"
        first.go()
        front.cold = ("/000001-",)
        attached = second.come()
        assert (str(attached.snapshot)[:6], (second.home / "SOUL.md").read_text()) == ("000002", "new")
        (second.home / "SOUL.md").write_text("newer")
        status = second.save()
        assert (status.state, status.snapshot and status.snapshot[:6]) == ("done", "000003"), status
        assert ["000001-" in it and "it stays" in it for it in status.warnings] == [True]
