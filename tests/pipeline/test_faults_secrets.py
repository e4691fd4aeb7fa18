"""No secret in arguments, environments, logs, status or output, while a run goes and after it."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path

import pytest

from tests.pipeline.ground import MEGABYTE, Ground, descendants, ground, processes
from tests.servers import S3Server

__all__ = ["ground"]
_PASSPHRASE = b"correct-horse-battery-staple-4711"
_TOKEN = b"very-secret-token-7316"  # in the .env of every test home


def found_in(secrets: list[bytes], content: bytes) -> list[bytes]:
    return [it for it in secrets if it in content]


def all_bytes(top: Path) -> dict[Path, bytes]:
    """Every file below a folder that can be read at this moment."""
    content = {}
    for folder, _, names in os.walk(top):  # which minds no folder that goes meanwhile
        for path in (Path(folder, name) for name in names):
            with contextlib.suppress(OSError):
                if stat.S_ISREG(path.lstat().st_mode):
                    content[path] = path.read_bytes()
    return content


@pytest.mark.parametrize("ends", ["well", "refused", "stopped"])
def test_no_secret_shows_anywhere(ground: Ground, s3_server: S3Server, tmp_path: Path, ends: str) -> None:
    site = ground.site
    credential = tmp_path / "credential"
    credential.write_bytes(_PASSPHRASE + b"\n")
    credential.chmod(0o600)
    remote_secret = s3_server.secret_key if ends != "refused" else "thissecretisnotthatoftheserver"
    secrets = [_PASSPHRASE, _TOKEN, remote_secret.encode()]
    (site.home / "bulk").write_bytes(os.urandom(10 * MEGABYTE))
    stages = site.usual({"push": {"to": [f"s3:{s3_server.bucket}/{site.root.name}"], "bandwidth": "8M", "attempts": 1}})
    stages[2] = {"encrypt": {"passphrase_credential": str(credential)}}
    run = ground.start(stages, rclone_config=s3_server.section("s3", secret=remote_secret))
    seen: set[str] = set()
    configs: set[int] = set()
    stopped = False
    while run.poll() is None:
        for process in [*descendants(run.pid), *(it for it in processes() if it.pid == run.pid)]:
            seen.add(process.program)
            assert not found_in(secrets, process.words), process
            assert not found_in(secrets, process.environment), process
        for path, content in all_bytes(site.folder).items():
            if path.name == "rclone.conf":
                with contextlib.suppress(OSError):
                    configs.add(path.stat().st_mode & 0o777)
                    assert path.parent.stat().st_mode & 0o777 == 0o700
            else:
                assert not found_in(secrets, content), path
        for path, content in all_bytes(ground.scratch).items():
            assert not found_in(secrets, content), path
        if ends == "stopped" and "rclone" in seen and not stopped:
            stopped = True
            run.terminate()
        time.sleep(0.02)
    ended = ground.end(run)
    assert ended.code == {"well": 0, "refused": 5, "stopped": 130}[ends], ended
    assert {"tar", "gpg", "rclone"} <= seen or ends != "well", seen
    assert configs == {0o600}
    assert not found_in(secrets, ended.out.encode() + ended.err.encode())
    for top in (site.root / "state", site.store, s3_server.root / s3_server.bucket / site.root.name):
        for path, content in all_bytes(top).items():
            assert not found_in(secrets, content), path
            assert path.name != "rclone.conf", path
    ground.check_clean()


def test_what_the_user_s_environment_holds_reaches_no_child(ground: Ground, tmp_path: Path) -> None:
    site = ground.site
    secret = b"from-the-environment-0815"
    meant = b"AWS_SECRET_ACCESS_KEY"  # would change what rclone does
    (site.home / "bulk").write_bytes(os.urandom(8 * MEGABYTE))
    names = ("AWS_SECRET_ACCESS_KEY", "RCLONE_CONFIG_PASS", "OPENAI_API_KEY", "GNUPGHOME_TOKEN", "BORG_PASSPHRASE")
    stages = site.usual({"push": {"to": [str(site.remote)], "bandwidth": "8M"}})
    run = ground.start(stages, env={name: secret.decode() for name in names})
    seen: set[str] = set()
    while run.poll() is None:
        for process in descendants(run.pid):
            started = process.program not in ("python", "setpriv")  # else it may still be a copy of us
            if started:
                seen.add(process.program)
                assert meant not in process.environment, process
            if started and b"lsjson" not in process.words:  # which rclone-python starts, in the agent's environment
                assert secret not in process.environment, process
        time.sleep(0.02)
    assert ground.end(run).code == 0
    assert "rclone" in seen
    for path, content in all_bytes(site.root / "state").items():
        assert secret not in content, path
