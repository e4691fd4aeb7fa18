"""Remotes that go down in the middle, refuse, lie, or are not there, beside others that work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.ground import Ground, add_bulk, ground
from tests.pipeline.lying import Lie, lying_server
from tests.servers import S3Server, Server, SftpServer, free_port

__all__ = ["ground"]


def objects(root: Path) -> list[str]:
    """The names of the files under a server's root, hidden ones too."""
    return sorted(it.name for it in root.rglob("*") if it.is_file())


def push(*to: str, **more: Any) -> dict[str, Any]:
    return {"push": {"to": list(to), **more}}


class Away:
    """A server of a test's own, that is killed and comes back; the remote that it is, and where its files lie."""

    def __init__(self, kind: str, folder: Path) -> None:
        folder.mkdir()
        self.server: S3Server | SftpServer = S3Server(folder) if kind == "s3" else SftpServer(folder)

    @property
    def remote(self) -> str:
        if isinstance(self.server, S3Server):
            return f"away:{self.server.bucket}/deep"
        return f"away:{self.server.address_root}/deep"

    @property
    def files(self) -> Path:
        return self.server.root / (f"{self.server.bucket}/deep" if isinstance(self.server, S3Server) else "deep")

    @property
    def config(self) -> dict[str, str]:
        return {"rclone_config": self.server.section("away")}

    def __enter__(self) -> Server:
        return self.server.__enter__()

    def __exit__(self, *exc: object) -> None:
        self.server.__exit__(*exc)


@pytest.mark.parametrize("kind", ["s3", "sftp"])
def test_a_server_killed_in_the_middle_gets_the_snapshot_when_it_is_back(
    ground: Ground, tmp_path: Path, kind: str
) -> None:
    site = ground.site
    add_bulk(site, 24)
    away = Away(kind, tmp_path / "server")
    with away as server:
        run = ground.start(site.usual(push(away.remote, bandwidth="16M")), **away.config)
        ground.wait_for_upload(run)
        server.kill()
        time.sleep(1)
        server.start()
        ended = ground.end(run)
        assert ended.code == 0, ended
        status = site.status()
        assert status.places == (str(site.store), away.remote)
        final = [it for it in objects(away.files) if not it.startswith(".")]
        assert final == site.snapshots()
        ground.check_clean()
        ground.check_whole(away.files)


@pytest.mark.parametrize("kind", ["s3", "sftp"])
def test_a_server_that_stays_down_fails_the_run_and_gets_the_next_snapshot(
    ground: Ground, tmp_path: Path, kind: str
) -> None:
    site = ground.site
    away = Away(kind, tmp_path / "server")
    with away as server:
        stages = site.usual(push(str(site.remote), away.remote, attempts=2))
        assert site.run(stages, **away.config).exit_code == 0
        before = {it for it in objects(away.files) if not it.startswith(".")}
        add_bulk(site, 24)
        run = ground.start(
            site.usual(push(str(site.remote)), push(away.remote, attempts=1, bandwidth="4M")), **away.config
        )
        ground.wait_for_upload(run)
        server.kill()
        ended = ground.end(run)
        status = site.status()
        assert (ended.code, status.exit_code, status.state) == (5, 5, "failed"), ended
        assert status.error is not None
        assert status.error.name in ("HB-PUSH-FAILED", "HB-REMOTE-UNREACHABLE")
        assert (status.stage, status.error.where) == ("store+push", "push")
        assert away.remote in status.error.what
        assert f"held by {site.store}, {site.remote}" in status.error.what
        assert status.places == (str(site.store), str(site.remote)), "the others have theirs"
        assert site.snapshots(site.remote) == site.snapshots()
        assert {it for it in objects(away.files) if not it.startswith(".")} == before
        ground.check_clean()
        server.start()
        for path in site.home.glob("bulk-*"):
            path.unlink()
        ground.check_next(stages, **away.config)
        ground.check_whole(away.files)


def test_a_server_killed_in_the_middle_without_a_store_publishes_nothing(ground: Ground, tmp_path: Path) -> None:
    site = ground.site
    away = Away("s3", tmp_path / "server")
    add_bulk(site, 24)
    stages = [*site.usual()[:-1], push(away.remote, bandwidth="8M")]
    with away as server:
        run = ground.start(stages, **away.config)
        ground.wait_for_upload(run)
        server.kill()
        assert ground.end(run).code == 5
        status = site.status()
        ground.check_failed(status, 5, "HB-PUSH-FAILED", "push", {})
        assert status.error is not None
        assert "nothing is published" in status.error.what
        assert objects(away.files) == []
        server.start()
        ground.check_next([*site.usual()[:-1], push(away.remote)], **away.config)
        ground.check_whole(away.files)


def test_refused_credentials(ground: Ground, s3_server: S3Server) -> None:
    site = ground.site
    name = f"s3:{s3_server.bucket}/{site.root.name}"
    stages = [*site.usual()[:-1], push(name)]
    wrong = s3_server.section("s3", secret="awrongsecretaccesskey")
    status = site.run(stages, rclone_config=wrong)
    ground.check_failed(status, 5, status.error.name if status.error else "", "push", {})
    assert status.error is not None
    assert status.error.name in ("HB-PUSH-FAILED", "HB-REMOTE-UNREACHABLE")
    assert name in status.error.what
    assert "403" in status.error.what
    assert "awrongsecretaccesskey" not in status.model_dump_json()
    assert objects(s3_server.root / s3_server.bucket / site.root.name) == []
    ground.check_next(stages, rclone_config=s3_server.section("s3"))


def test_a_remote_that_nobody_answers_at_or_that_nobody_knows(ground: Ground) -> None:
    site = ground.site
    assert site.run().exit_code == 0
    gone = (
        f"[gone]\ntype = s3\nprovider = Rclone\nendpoint = http://127.0.0.1:{free_port()}\n"
        "access_key_id = a\nsecret_access_key = bbbbbbbb\n"
    )
    for remote in ("gone:bucket/x", "unknown:bucket/x"):
        before = ground.lasting()
        stages = site.usual(push(remote, str(site.remote), attempts=1))
        status = site.run(stages, rclone_config=gone)
        assert status.error is not None
        assert (status.exit_code, status.stage, status.error.where) == (5, "store+push", "push")
        assert status.error.name in ("HB-PUSH-FAILED", "HB-REMOTE-UNREACHABLE")
        assert remote in status.error.what
        assert status.places == (str(site.store), str(site.remote))
        assert before.items() <= ground.lasting().items()
        ground.check_clean()
    ground.check_next(site.usual(push(str(site.remote))))


@pytest.mark.parametrize("lie", ["cut", "changed", "lost", "500"])
def test_a_remote_that_says_yes_and_keeps_something_else(ground: Ground, lie: Lie) -> None:
    site = ground.site
    with lying_server(lie) as liar:
        stages = site.usual(push("liar:bucket/x", attempts=1))
        status = site.run(stages, rclone_config=liar.section("liar"))
        assert status.error is not None
        assert (status.exit_code, status.error.name, status.stage) == (5, "HB-PUSH-FAILED", "store+push"), status.error
        assert "liar:bucket/x" in status.error.what
        said = {
            "cut": "the remote reported success, but it has",
            "changed": "the remote reported success, but its md5",
            "lost": "the remote reported success, but it is not there",
            "500": "500",
        }[lie]
        assert said in status.error.what
        assert [it for it in liar.objects if not it.endswith("RESTORE.txt")] == []
        assert status.places == (str(site.store),)
        ground.check_clean()
    ground.check_next()
