"""No secret in arguments, environments, logs, status or output, while a run goes and after it."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from hermes_backup.pipeline.agent import Options
from hermes_backup.pipeline.notifying import message
from tests.pipeline.ground import MEGABYTE, Ground, ground
from tests.processes import descendants, processes
from tests.servers import S3Server
from tests.waiting import until

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
    assert {"gpg", "rclone"} <= seen or ends != "well", seen
    assert configs == {0o600}
    assert not found_in(secrets, ended.out.encode() + ended.err.encode())
    for top in (site.root / "state", site.store, s3_server.root / s3_server.bucket / site.root.name):
        for path, content in all_bytes(top).items():
            assert not found_in(secrets, content), path
            assert path.name != "rclone.conf", path
    ground.check_clean()


_ARGUMENTS = ["--user=me", "--password=hunter2hunter2", "-psesame-0815", "pg://me:open-4711@host/db", "LETMEIN", "a b"]


@pytest.mark.parametrize("moment", ["before", "after", "on_failure", "always"])
def test_no_argument_of_a_command_is_told_wherever_it_fails(ground: Ground, moment: str) -> None:
    site = ground.site
    program = site.root / "dump-it"
    program.write_text('#!/bin/sh\nfor it; do echo "dump-it: $it is refused: ${it#*=} ${it#-p}" >&2; done\nexit 3\n')
    program.chmod(0o755)
    command = {"command": {moment: [str(program), *_ARGUMENTS]}}
    failing = [{"command": {"before": ["false"]}}] if moment == "on_failure" else []
    secrets = [b"hunter2", b"sesame-0815", b"open-4711", b"LETMEIN", b"a b"]
    ended = ground.end(ground.start([command, *failing, *site.usual()]))
    assert ended.code == (0 if moment == "always" else 5)
    assert not found_in(secrets, ended.out.encode() + ended.err.encode())
    said = "dump-it and 6 arguments: ended with 3: dump-it: ******** is refused"
    assert said in (site.folder / "status.json").read_text()
    for path, content in all_bytes(site.root / "state").items():
        assert not found_in(secrets, content), path
    assert not found_in(secrets, message("vps1", "nightly", site.status())[1].encode())


def test_a_plan_tells_programs_and_not_their_arguments(ground: Ground) -> None:
    status = ground.site.run(
        [{"command": {"before": ["/opt/dump-it", *_ARGUMENTS], "always": ["sync"]}}, *ground.site.usual()],
        options=Options("test", dry_run=True),
    )
    assert [it for it in status.plan if it.startswith("command")] == [
        "command: run dump-it and 6 arguments (before)",
        "command: run sync (always)",
    ]


def test_arguments_written_into_a_program_s_name_are_not_told(ground: Ground) -> None:
    status = ground.site.run([{"command": {"before": ["dump-it --password=hunter2"]}}, *ground.site.usual()])
    assert status.error is not None
    assert (status.error.name, status.error.what) == ("HB-TOOL-MISSING", "dump-it is not installed")
    assert "hunter2" not in (ground.site.folder / "status.json").read_text()


def test_a_script_s_own_words_stay_and_its_secrets_go(ground: Ground) -> None:
    script = "echo 'the database is down' >&2; echo curl -u me:hunter2 https://host/LETMEIN >&2; exit 4"
    status = ground.site.run([{"command": {"before": ["/bin/sh", "-c", script]}}, *ground.site.usual()])
    assert status.error is not None
    assert status.error.what == (
        "sh and 2 arguments: ended with 4: the database is down\ncurl -u ******** https:********"
    )


@pytest.mark.parametrize(
    "script",
    [
        "PGPASSWORD=correcthorse true",
        "PGPASSWORD='correcthorse' true",
        "true user=me,password=correcthorse,ro",
        "true -pcorrecthorse",
        "true -p'correcthorse'",
        "true -x -p correcthorse",
        "true --password correcthorse",
        "true -u me:correcthorse",
        "true pg://me:correcthorse@host/db",
        "true 'Authorization: Bearer correcthorse'",
    ],
)
def test_what_a_script_gives_as_a_value_is_not_told_however_plain_a_word_it_is(ground: Ground, script: str) -> None:
    program = ground.site.root / "true"
    program.write_text("#!/bin/sh\necho 'password correcthorse rejected by the database' >&2; exit 4\n")
    program.chmod(0o755)
    argv = ["/bin/sh", "-c", f"{script.replace('true', str(program), 1)} || {program}; exit 4"]
    status = ground.site.run([{"command": {"before": argv}}, *ground.site.usual()])
    assert status.error is not None
    said = "password ******** rejected by the database"
    assert status.error.what == f"sh and 2 arguments: ended with 4: {said}\n{said}"


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


def _core_limit(pid: int) -> list[str]:
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(it for it in limits if it.startswith("Max core file size")).split()[4:6]


def test_no_process_leaves_a_core_dump(ground: Ground, tmp_path: Path) -> None:
    (ground.site.home / "bulk").write_bytes(os.urandom(4 * MEGABYTE))
    push = {"push": {"to": [str(ground.site.remote)], "bandwidth": "50K", "attempts": 1}}
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    under = ("sh", "-c", f'cd {cwd} && ulimit -c unlimited && exec "$@"', "sh")
    run = ground.start(ground.site.usual(push), under=under)
    below = until(lambda: [it for it in descendants(run.pid) if it.program == "rclone"] and descendants(run.pid))
    assert {"rclone", "gpg", "tar", "zstd"} & {it.program for it in below}
    assert [_core_limit(pid) for pid in [run.pid, *(it.pid for it in below)]] == [["1", "unlimited"]] * (1 + len(below))
    os.kill(run.pid, signal.SIGSEGV)
    assert run.wait(30) == -signal.SIGSEGV
    assert list(cwd.iterdir()) == []
