"""What services say of homes: as hermes-agent writes its units, and as people write theirs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.hermes.environment import hermes_python
from tests.home.fake_host import FakeHost

SYSTEM = "/etc/systemd/system"


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    host = FakeHost(tmp_path / "host")
    host.user("root", 0)
    host.user("alice", 1001)
    for path in ("/srv/one", "/srv/two", "/srv/with space", "/srv/agents/work"):
        host.home(path)
    return host


def unit_of_hermes(home: str, *, system: bool, tmp_path: Path) -> str:
    """Let hermes-agent itself write its gateway's unit for a home."""
    given = "system=True, run_as_user='nobody'" if system else ""
    code = f"from hermes_cli.gateway import generate_systemd_unit as unit; print(unit({given}))"
    environment = {**os.environ, "HERMES_HOME": home, "HOME": str(tmp_path), "HERMES_DISABLE_LAZY_INSTALLS": "1"}
    done = subprocess.run(
        [hermes_python(), "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("system", [False, True])
def test_a_unit_that_hermes_agent_wrote(host: FakeHost, tmp_path: Path, system: bool) -> None:
    text = unit_of_hermes("/srv/with space", system=system, tmp_path=tmp_path)
    folder, how = (SYSTEM, "system service hermes-gateway-1a2b") if system else (
        "/root/.config/systemd/user", "user service hermes-gateway-1a2b of root",
    )  # fmt: skip
    host.write(f"{folder}/hermes-gateway-1a2b.service", text)
    assert host.hows() == {"/srv/with space": how}


@pytest.mark.parametrize(
    "line",
    [
        "Environment=HERMES_HOME=/srv/one",
        'Environment="HERMES_HOME=/srv/one"',
        "Environment=A=b 'HERMES_HOME=/srv/one' C=d",
        "  Environment = HERMES_HOME=/srv/one  ",
        "Environment=A=b \\\n  HERMES_HOME=/srv/one",
        "Environment=A=b \\\n# a comment between\n  HERMES_HOME=/srv/one",
        "Environment=HERMES_HOME=/srv/two\nEnvironment=HERMES_HOME=/srv/one",
        "Environment=HERMES_HOME=/srv/two\nEnvironment=\nEnvironment=HERMES_HOME=/srv/one",
        "EnvironmentFile=/etc/default/hermes",
        "EnvironmentFile=-/etc/default/hermes\nEnvironmentFile=-/etc/default/none",
        "Environment=HERMES_HOME=/srv/two\nEnvironmentFile=/etc/default/hermes",  # files override, as with systemd
        "Environment=HERMES_HOME=/srv/%p-is-not-it HERMES_HOME=/srv/one",
    ],
)
def test_the_forms_that_a_unit_can_say_it_in(host: FakeHost, line: str) -> None:
    host.write("/etc/default/hermes", "# of the gateway\nA=b\nHERMES_HOME='/srv/one'\n")
    host.unit(f"{SYSTEM}/hermes.service", "User=alice", line)
    assert host.hows() == {"/srv/one": "system service hermes"}


@pytest.mark.parametrize(
    "line",
    [
        "#Environment=HERMES_HOME=/srv/one",
        "Environment=HERMES_HOME=/srv/one\nEnvironment=",
        "Environment=HERMES_HOME=srv/one",
        "Environment=HERMES_HOME=/srv/%I",
        "Environment=HERMES_HOMES=/srv/one",
        "Environment='HERMES_HOME=/srv/one",
        "[Unit]\nEnvironment=HERMES_HOME=/srv/one",
    ],
)
def test_what_does_not_say_it(host: FakeHost, line: str) -> None:
    host.unit(f"{SYSTEM}/hermes.service", line)
    assert host.hows() == {}


def test_without_a_word_it_is_the_home_folder_of_who_runs_it(host: FakeHost) -> None:
    host.unit(f"{SYSTEM}/hermes.service", "ExecStart=/usr/bin/hermes gateway run", "User=alice")
    assert host.hows() == {}
    host.home("/home/alice/.hermes")
    assert host.hows() == {"/home/alice/.hermes": "system service hermes"}
    host.unit(f"{SYSTEM}/hermes.service", "User=1001")
    assert host.hows() == {"/home/alice/.hermes": "system service hermes"}
    host.home("/srv/agents/.hermes")
    host.unit(f"{SYSTEM}/hermes.service", "User=alice", "Environment=HOME=/srv/agents")
    assert host.hows() == {
        "/home/alice/.hermes": "home folder of alice", "/srv/agents/.hermes": "system service hermes",
    }  # fmt: skip


def test_drop_ins_of_every_folder_count_and_the_first_folder_overrides(host: FakeHost) -> None:
    host.unit("/usr/local/lib/systemd/system/hermes.service", "Environment=HERMES_HOME=/srv/one")
    assert list(host.hows()) == ["/srv/one"]
    host.write("/usr/lib/systemd/system/hermes.service.d/50-home.conf", "[Service]\nEnvironment=HERMES_HOME=/srv/two\n")
    assert list(host.hows()) == ["/srv/two"]
    host.write(f"{SYSTEM}/hermes.service.d/50-home.conf", "[Service]\nEnvironment=A=b\n")
    assert list(host.hows()) == ["/srv/one"]
    host.unit(f"{SYSTEM}/hermes.service", "Environment=HERMES_HOME=/srv/two")
    assert list(host.hows()) == ["/srv/two"]


def test_an_instance_is_found_where_it_is_enabled(host: FakeHost) -> None:
    host.unit(f"{SYSTEM}/hermes@.service", "Environment=HERMES_HOME=/srv/agents/%i")
    assert host.hows() == {}
    host.at(f"{SYSTEM}/multi-user.target.wants").mkdir()
    host.at(f"{SYSTEM}/multi-user.target.wants/hermes@work.service").symlink_to(f"{SYSTEM}/hermes@.service")
    assert host.hows() == {"/srv/agents/work": "system service hermes@work"}
    host.write(f"{SYSTEM}/hermes@work.service.d/x.conf", "[Service]\nEnvironment=HERMES_HOME=/srv/two\n")
    assert host.hows() == {"/srv/two": "system service hermes@work"}


def test_our_own_units_are_none_of_hermes(host: FakeHost) -> None:
    host.home("/root/.hermes")
    host.unit(f"{SYSTEM}/hermes-work@nightly.service", "ExecStart=/opt/x/bin/hermes-backup agent run %i --host=a")
    assert host.hows() == {"/root/.hermes": "home folder of root"}


def test_a_unit_without_a_word_of_text_is_none(host: FakeHost) -> None:
    host.home("/root/.hermes")
    host.at(SYSTEM).mkdir(parents=True)
    host.at(f"{SYSTEM}/hermes.service").symlink_to("/dev/null")
    assert host.hows() == {"/root/.hermes": "home folder of root"}
