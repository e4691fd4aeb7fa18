"""Homes in containers: as a real Podman writes them down here, and as Docker 20.10 wrote the samples beside this.

The files in ``docker/`` are config.v2.json and opts.json as Docker itself wrote them, unchanged: there is no engine
of Docker where the tests run.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from hermes_backup.home.discovery import podman
from hermes_backup.home.discovery.claim import Claim
from tests.home.fake_host import FakeHost

SAMPLES = Path(__file__).parent / "docker"
ANONYMOUS = "cc94650202a7d5ef62106999dede5cf67753c40e8d84d2afb3254e95fc39df91"


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    host = FakeHost(tmp_path / "host")
    host.user("root", 0)
    return host


def docker(host: FakeHost, *names: str, root: str = "/var/lib/docker") -> None:
    for name in names:
        host.write(f"{root}/containers/{name}/config.v2.json", (SAMPLES / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("name", "path", "how"),
    [
        ("volume", "/var/lib/docker/volumes/hermes_data/_data", "volume hermes_data"),
        ("anonymous", f"/var/lib/docker/volumes/{ANONYMOUS}/_data", f"volume {ANONYMOUS}"),
        ("bind", "/srv/hermes", "without what is mounted at /opt/data/workspace"),
        ("pinned", "/srv/pinned", "volume hermes_pinned"),
        ("below", "/var/lib/docker/volumes/all_agents/_data/agents/one", "volume all_agents"),
    ],
)
def test_docker(host: FakeHost, name: str, path: str, how: str) -> None:
    docker(host, name)
    host.write("/var/lib/docker/volumes/hermes_pinned/opts.json", (SAMPLES / "hermes_pinned.opts.json").read_text())
    assert host.hows() == {}
    host.home(path)
    assert host.hows() == {path: f"container {name} (docker), {how}"}


def test_a_home_that_is_nowhere_on_the_host_is_none(host: FakeHost) -> None:
    docker(host, "tmpfs")
    assert host.hows() == {}


def test_dockers_root_can_be_moved(host: FakeHost) -> None:
    docker(host, "bind", root="/mnt/docker")
    host.home("/srv/hermes")
    assert host.hows() == {}
    host.write("/etc/docker/daemon.json", '{"data-root": "/mnt/docker"}')
    assert list(host.hows()) == ["/srv/hermes"]


def test_a_users_own_docker(host: FakeHost) -> None:
    host.user("alice")
    root = "/home/alice/.local/share/docker"
    docker(host, "anonymous", root=root)
    path = f"{root}/volumes/{ANONYMOUS}/_data"
    host.home(path)
    assert host.hows() == {path: f"container anonymous (docker of alice), volume {ANONYMOUS}"}


def changed(name: str, **values: object) -> str:
    said = json.loads((SAMPLES / f"{name}.json").read_text())
    said["Config"].update(values)
    return json.dumps(said)


@pytest.mark.parametrize(
    ("image", "environment", "found"),
    [
        ("nousresearch/hermes-agent:latest", [], True),
        ("ghcr.io/someone/hermes-agent@sha256:0", ["PATH=/bin"], True),
        ("hermes-agent", ["HERMES_HOME="], True),
        ("debian", ["HERMES_HOME=/opt/data"], True),
        ("debian", [], False),
        ("someone/hermes-agent-dashboard", [], False),
        ("debian", ["HERMES_HOME=/elsewhere"], False),
        ("debian", ["HERMES_HOME=opt/data"], False),
        ("debian", ["HERMES_HOME=/opt/data2"], False),
    ],
)
def test_which_containers_hold_a_home(host: FakeHost, image: str, environment: Sequence[str], found: bool) -> None:
    host.home("/srv/hermes")
    host.write("/var/lib/docker/containers/x/config.v2.json", changed("bind", Image=image, Env=list(environment)))
    assert bool(host.hows()) is found


def test_a_container_leads_nowhere_out_of_what_is_mounted(host: FakeHost) -> None:
    host.home("/root/.secrets")
    host.home("/srv/hermes/inner")
    text = changed("bind", Env=["HERMES_HOME=/opt/data/agent"])
    host.write("/var/lib/docker/containers/x/config.v2.json", text)
    host.at("/srv/hermes/agent").symlink_to("../../root/.secrets")
    assert host.hows() == {}
    host.at("/srv/hermes/agent").unlink()
    host.at("/srv/hermes/agent").symlink_to("inner")
    assert list(host.hows()) == ["/srv/hermes/inner"]
    host.write("/var/lib/docker/containers/x/config.v2.json", changed("bind", Env=["HERMES_HOME=/opt/data/../../root"]))
    assert host.hows() == {}


@dataclass(frozen=True)
class Podman:
    """A real Podman with a storage of its own; nothing need run in a container for it to write it down."""

    root: Path

    @property
    def storage(self) -> Path:
        return self.root / "storage"

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        own = ("--root", str(self.storage), "--runroot", str(self.root / "run"), "--storage-driver", "vfs")
        return subprocess.run(["podman", *own, *words], capture_output=True, text=True, check=False)

    def make(self, name: str, *options: str) -> None:
        """Make a container and start it; what the runtime then makes of it doesn't matter."""
        made = self.call("create", "--name", name, "--network", "none", *options, "hermes-agent", "/nothing")
        assert made.returncode == 0, made.stderr
        self.call("start", name)

    def claims(self) -> dict[str, Claim]:
        claims = {it.name: it.claim() for it in podman.containers_in(self.storage, None)}
        return {name: claim for name, claim in claims.items() if claim is not None}


@pytest.fixture(scope="module")
def real_podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    made = Podman(tmp_path_factory.mktemp("podman"))
    tar = made.root / "image.tar"
    with tarfile.open(tar, "w") as file:
        file.addfile(tarfile.TarInfo("nothing"), io.BytesIO())
    done = made.call("import", "-c", "ENV HERMES_HOME=/opt/data", "-c", "VOLUME /opt/data", str(tar), "hermes-agent")
    if done.returncode:
        pytest.skip(f"podman does not work here: {done.stderr.strip()}")
    (made.root / "bound").mkdir()
    (made.root / "work").mkdir()
    made.make("volume", "--volume", "hermes_data:/opt/data")
    made.make("anonymous")
    made.make(
        "bound", "--volume", f"{made.root}/bound:/opt/data:ro", "--volume", f"{made.root}/work:/opt/data/workspace"
    )
    made.make("below", "--env", "HERMES_HOME=/data/one", "--user", "10000", "--volume", "agents:/data")
    made.make("elsewhere", "--env", "HERMES_HOME=/root/.hermes")
    yield made
    made.call("rm", "--force", "--all", "--volumes")


def test_podman(real_podman: Podman) -> None:
    claims = real_podman.claims()
    if not claims:
        pytest.skip("podman could not prepare a container here")
    assert set(claims) == {"volume", "anonymous", "bound", "below"}
    volumes = real_podman.storage / "volumes"
    assert claims["volume"].path == f"{volumes}/hermes_data/_data"
    assert claims["volume"].how == "container volume (podman), volume hermes_data"
    assert Path(claims["anonymous"].path).is_dir()
    assert claims["anonymous"].path.startswith(f"{volumes}/")
    assert claims["bound"].path == f"{real_podman.root}/bound"
    assert claims["bound"].how == "container bound (podman), without what is mounted at /opt/data/workspace"
    assert claims["below"].path == f"{volumes}/agents/_data/one"


def test_podman_knows_the_image_of_a_container(real_podman: Podman) -> None:
    for it in podman.containers_in(real_podman.storage, None):
        assert it.image == "localhost/hermes-agent:latest"


def test_podmans_root_can_be_moved(host: FakeHost) -> None:
    said = {
        "process": {"env": ["HERMES_HOME=/d"]},
        "mounts": [{"type": "bind", "source": "/srv/h", "destination": "/d"}],
    }
    host.write("/mnt/podman/overlay-containers/0123456789abcdef/userdata/config.json", json.dumps(said))
    host.home("/srv/h")
    assert host.hows() == {}
    host.write("/etc/containers/storage.conf", '[storage]\ndriver = "overlay"\ngraphroot = "/mnt/podman"\n')
    assert host.hows() == {"/srv/h": "container 0123456789ab (podman)"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_users_own_podman_has_files_of_lent_numbers(host: FakeHost) -> None:
    host.user("alice", 1001, lent=(100000, 65536))
    storage = "/home/alice/.local/share/containers/storage"
    source = f"{storage}/volumes/hermes/_data"
    said = {"process": {"env": ["HERMES_HOME=/d"]}, "mounts": [{"type": "bind", "source": source, "destination": "/d"}]}
    host.write(f"{storage}/overlay-containers/0123456789abcdef/userdata/config.json", json.dumps(said))
    os.chown(host.home(source), 109999, 109999)
    (found,) = host.found()
    assert (found.uid, found.user) == (109999, "")
    assert found.how == "container 0123456789ab (podman of alice), volume hermes"
