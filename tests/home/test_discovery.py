"""Finding homes: users' folders, what several sources say together, whose word counts, and what must never raise."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_backup.home.discovery import discover
from hermes_backup.home.sample import make_sample
from tests.home.fake_host import ME, FakeHost

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    host = FakeHost(tmp_path / "host")
    host.user("root", 0)
    return host


def test_a_bare_folder_is_a_host_without_homes(tmp_path: Path) -> None:
    assert discover(tmp_path) == ()


def test_a_users_home_is_found_with_its_owner(host: FakeHost) -> None:
    host.user("alice", 1234567)
    make_sample(host.at("/home/alice/.hermes"))
    (found,) = host.found()
    assert found.path == host.at("/home/alice/.hermes")
    assert found.how == "home folder of alice"
    assert found.uid == ME
    assert found.within is None


@only_root
def test_the_owner_is_the_folders_and_may_have_no_name(host: FakeHost) -> None:
    host.user("alice", 1001)
    os.chown(host.home("/home/alice/.hermes"), 1001, 1001)
    host.unit("/etc/systemd/system/hermes.service", "Environment=HERMES_HOME=/srv/data")
    os.chown(host.home("/srv/data"), 10000, 10000)
    assert [(it.uid, it.user) for it in host.found()] == [(1001, "alice"), (10000, "")]


@pytest.mark.parametrize(
    ("names", "is_one"),
    [
        (("SOUL.md",), True),
        (("state.db",), True),
        (("config.yaml", ".env"), True),
        (("memories/x", "skills/y"), True),
        (("config.toml", "keys/chain.json"), False),  # another program called Hermes keeps its settings there
        (("config.yaml",), False),
        (("hermes-agent/run_agent.py", "logs/agent.log"), False),  # the code alone, as its installer leaves it
        ((), False),
    ],
)
def test_a_folder_called_hermes_must_look_like_a_home(host: FakeHost, names: tuple[str, ...], is_one: bool) -> None:
    host.at("/root/.hermes").mkdir()
    for name in names:
        host.write(f"/root/.hermes/{name}", "x")
    assert bool(host.found()) is is_one


def test_a_home_that_a_service_names_is_one_even_if_it_is_empty(host: FakeHost) -> None:
    host.unit("/etc/systemd/system/hermes-gateway.service", "Environment=HERMES_HOME=/mnt/disk/hermes")
    assert host.hows() == {}
    host.at("/mnt/disk/hermes").mkdir(parents=True)
    assert host.hows() == {"/mnt/disk/hermes": "system service hermes-gateway"}


def test_one_folder_is_one_home_and_the_most_telling_source_speaks(host: FakeHost) -> None:
    host.user("alice")
    host.home("/data/hermes")
    host.at("/home/alice/.hermes").symlink_to(host.at("/data/hermes"))
    assert host.hows() == {"/data/hermes": "home folder of alice"}
    host.unit("/home/alice/.config/systemd/user/hermes-gateway.service", "Environment=HERMES_HOME=%h/.hermes")
    assert host.hows() == {"/data/hermes": "user service hermes-gateway of alice"}


def test_a_profile_is_within_its_home(host: FakeHost) -> None:
    host.user("alice")
    whole, profile = host.home("/home/alice/.hermes"), host.home("/home/alice/.hermes/profiles/work")
    unit = "/home/alice/.config/systemd/user/hermes-gateway-work.service"
    host.unit(unit, f'Environment="HERMES_HOME=/{profile.relative_to(host.root)}"')
    assert [(it.path, it.within) for it in host.found()] == [(whole, None), (profile, whole)]


def test_the_home_of_a_profile_is_found_through_it(host: FakeHost) -> None:
    whole, profile = host.home("/srv/hermes"), host.home("/srv/hermes/profiles/work")
    host.unit("/etc/systemd/system/hermes-gateway-work.service", "Environment=HERMES_HOME=/srv/hermes/profiles/work")
    first, second = host.found()
    assert (first.path, first.how) == (whole, "system service hermes-gateway-work, which runs a profile of it")
    assert (second.path, second.within) == (profile, whole)


def test_a_profile_of_no_home_stands_for_itself(host: FakeHost) -> None:
    host.home("/srv/hermes/profiles/work")
    host.unit("/etc/systemd/system/hermes-gateway-work.service", "Environment=HERMES_HOME=/srv/hermes/profiles/work")
    (found,) = host.found()
    assert found.within is None


@only_root
def test_a_users_word_counts_for_no_folder_of_anothers(host: FakeHost) -> None:
    host.user("mallory", 6666)
    host.user("alice", 1001, lent=(100000, 65536))
    for number, uid in enumerate((0, 1001, 10000)):
        os.chown(host.home(f"/srv/{number}"), uid, uid)
        host.unit(
            f"/home/mallory/.config/systemd/user/hermes-{number}.service", f"Environment=HERMES_HOME=/srv/{number}"
        )
    host.at("/home/mallory/.hermes").symlink_to(host.at("/srv/0"))
    assert host.hows() == {}
    host.at("/home/mallory").rename(host.at("/home/alice2"))
    host.at("/home/alice").rmdir()
    host.at("/home/alice2").rename(host.at("/home/alice"))
    assert host.hows() == {"/srv/1": "user service hermes-1 of alice"}
    os.chown(host.at("/srv/2"), 100000 + 9999, 0)  # uid 10000 in a container of alice's
    assert set(host.hows()) == {"/srv/1", "/srv/2"}


@only_root
def test_what_lies_in_a_users_home_folder_is_the_users_whoever_owns_it(host: FakeHost) -> None:
    host.user("alice", 1001)
    host.home("/home/alice/.hermes")  # of root, as after `sudo hermes`
    assert host.hows() == {"/home/alice/.hermes": "home folder of alice"}


def test_loops_pipes_and_the_unreadable_are_passed_over(host: FakeHost) -> None:
    for name in ("loop", "pipe", "file", "dangling", "good"):
        host.user(name)
    host.at("/home/loop/.hermes").symlink_to(".hermes")
    os.mkfifo(host.at("/home/pipe/.hermes"))
    host.write("/home/file/.hermes", "I am a file")
    host.at("/home/dangling/.hermes").symlink_to("/nowhere/at/all")
    host.home("/home/good/.hermes")
    units = host.at("/etc/systemd/system")
    units.mkdir(parents=True)
    os.mkfifo(units / "hermes-pipe.service")
    (units / "hermes-loop.service").symlink_to("hermes-loop.service")
    (units / "hermes-device.service").symlink_to("/dev/zero")
    (units / "hermes-folder.service").mkdir()
    host.write("/var/lib/docker", "no folder")
    host.at("/var/lib/containers/storage/overlay-containers/x/userdata").mkdir(parents=True)
    os.mkfifo(host.at("/var/lib/containers/storage/overlay-containers/x/userdata/config.json"))
    assert list(host.hows()) == ["/home/good/.hermes"]


@pytest.mark.skipif(ME == 0, reason="root may read everything")
def test_what_may_not_be_read_is_passed_over(host: FakeHost) -> None:
    host.user("alice")
    host.home("/home/alice/.hermes").chmod(0)
    assert host.hows() == {}


def test_a_file_too_large_to_be_true_is_passed_over(host: FakeHost) -> None:
    host.home("/srv/hermes")
    host.unit("/etc/systemd/system/hermes.service", "Environment=HERMES_HOME=/srv/hermes")
    assert len(host.hows()) == 1
    host.add("/etc/systemd/system/hermes.service", "#" * (4 << 20))
    assert host.hows() == {}


def test_hostile_names_are_shown_as_text_and_never_run(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(host.root)
    name = "hermes-$(touch ran)`touch ran`\x1b[2J\n.service"
    host.home("/srv/$(touch ran)\x1b")
    host.unit(f"/etc/systemd/system/{name}", "Environment='HERMES_HOME=/srv/$(touch ran)\x1b'")
    (found,) = host.found()
    assert found.path.name == "$(touch ran)\x1b"
    assert found.how == "system service hermes-$(touch ran)`touch ran`\\x1b[2J\\n"
    assert not host.at("ran").exists()


_ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_PATH = st.sampled_from(
    ["/srv/hermes", "/", "/../..", "//x", "", "relative", "/\0", "/\ud800", "/" + "a" * 5000, "/opt/data"]
)
_DOCKER = st.fixed_dictionaries({
    "Name": _ANY_JSON | _PATH,
    "Config": _ANY_JSON | st.fixed_dictionaries({
        "Env": st.lists(_ANY_JSON | _PATH.map("HERMES_HOME={}".format)), "Image": _ANY_JSON,
    }),
    "MountPoints": _ANY_JSON | st.dictionaries(st.text(), _ANY_JSON | st.fixed_dictionaries({
        "Type": st.sampled_from(["bind", "volume", "tmpfs", ""]), "Source": _PATH, "Destination": _PATH, "Name": _PATH,
    }), max_size=3),
})  # fmt: skip
_PODMAN = st.fixed_dictionaries({
    "process": _ANY_JSON | st.fixed_dictionaries({"env": st.lists(_ANY_JSON | _PATH.map("HERMES_HOME={}".format))}),
    "mounts": _ANY_JSON | st.lists(_ANY_JSON | st.fixed_dictionaries({
        "type": st.just("bind"), "source": _PATH, "destination": _PATH,
    }), max_size=3),
})  # fmt: skip
_LISTED = _ANY_JSON | st.lists(st.fixed_dictionaries({"id": st.just("x"), "names": _ANY_JSON, "metadata": st.text()}))
_LINE = st.text() | st.tuples(
    st.sampled_from(["Environment", "EnvironmentFile", "User", "ExecStart"]),
    _PATH.map("HERMES_HOME={}".format) | _PATH | st.text(),
).map("=".join)


@settings(max_examples=60, deadline=None)
@given(
    docker=_ANY_JSON | _DOCKER,
    podman=_ANY_JSON | _PODMAN,
    listed=_LISTED,
    unit=st.lists(_LINE).map("\n".join),
    passwd=st.text() | st.tuples(_PATH, st.integers(), _PATH).map(lambda it: f"{it[0]}:x:{it[1]}:0::{it[2]}:/bin/sh"),
    cut=st.integers(0, 400),
)
def test_nothing_that_lies_there_raises(
    docker: object, podman: object, listed: object, unit: str, passwd: str, cut: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        host = FakeHost(Path(folder).resolve())
        host.home("/srv/hermes")
        files = {
            "/etc/passwd": passwd,
            "/etc/subuid": passwd,
            "/etc/docker/daemon.json": json.dumps(docker),
            "/etc/systemd/system/hermes-gateway.service": f"[Service]\n{unit}",
            "/etc/systemd/system/hermes-gateway.service.d/x.conf": unit,
            "/var/lib/docker/containers/x/config.v2.json": json.dumps(docker),
            "/var/lib/docker/containers/y/config.v2.json": json.dumps(docker)[:cut],
            "/var/lib/docker/containers/z/config.v2.json": "[" * 100_000,
            "/var/lib/docker/volumes/hermes/opts.json": json.dumps(podman),
            "/var/lib/containers/storage/overlay-containers/containers.json": json.dumps(listed),
            "/var/lib/containers/storage/overlay-containers/x/userdata/config.json": json.dumps(podman),
            "/var/lib/containers/storage/overlay-containers/y/userdata/config.json": json.dumps(podman)[:cut],
        }
        for path, text in files.items():
            host.at(path).parent.mkdir(parents=True, exist_ok=True)
            host.at(path).write_bytes(text.encode("utf-8", "surrogatepass"))
        for home in host.found():
            assert home.path.is_dir()
            assert home.how.isprintable()
