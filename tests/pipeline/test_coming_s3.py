"""A home that comes and goes through a real S3 server."""

from __future__ import annotations

import os
import random
import re
from dataclasses import replace

import pytest

from tests.coming import Cloud, Machine
from tests.servers import S3Server

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
