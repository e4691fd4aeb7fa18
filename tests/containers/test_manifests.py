"""What ``containers/`` holds is what its orchestrators accept, and fits what the program writes and takes."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer.main
from ruamel.yaml import YAML

from hermes_backup.cli.app import app
from hermes_backup.stages.units import parse_duration
from tests.fleet.ground import Ground, ground

__all__ = ["ground"]
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "containers"
MANIFESTS = sorted((FOLDER / "kubernetes").glob("*.yaml"))
PROGRAM = "/opt/hermes-backup/bin/hermes-backup"
PAGE = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
OLDEST, NATIVE_SIDECARS = "1.27", "1.29"


def inventory() -> str:
    """Return the settings that the page shows."""
    found = re.search(r"<!-- executed by tests/containers: inventory -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found.group(1)


def documents(file: Path) -> list[dict[str, Any]]:
    return [it for it in YAML(typ="safe").load_all(file.read_text(encoding="utf-8")) if it]


def every(value: Any, key: str) -> Iterator[Any]:
    """Return what stands under a key, however deep."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from every(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from every(inner, key)


def pods(file: Path) -> list[dict[str, Any]]:
    """Return the specifications of pods."""
    return [it for spec in every(documents(file), "spec") if "containers" in (it := spec)]


def containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def ours(pod: Mapping[str, Any]) -> list[list[str]]:
    """Return the commands of this program, without its name."""
    lines = ([*it.get("command", ()), *it.get("args", ())] for it in containers(pod))
    return [line[1:] for line in lines if line[:1] == [PROGRAM]]


def parsed(words: Sequence[str]) -> tuple[str | None, dict[str, Any]]:
    """Read a command as the program does: what it does not know ends the test."""
    known = typer.main.get_command(app)
    assert isinstance(known, typer.core.TyperGroup)
    name, command, rest = known.resolve_command(known.make_context("", [*words]), [*words])
    assert command is not None
    return name, command.make_context(name or "", rest).params


def compose(text: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "compose.yaml"
    file.write_text(text)
    return subprocess.run([str(Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema",
                           "vendor.compose-spec", str(file)], capture_output=True, text=True)  # fmt: skip


def test_there_are_manifests() -> None:
    assert [it.name for it in MANIFESTS] == ["drill.yaml", "sidecar.yaml", "statefulset.yaml"]


@pytest.mark.parametrize("version", [NATIVE_SIDECARS, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("file", MANIFESTS, ids=lambda it: it.stem)
def test_kubernetes_takes_it(file: Path, version: str) -> None:
    for document in documents(file):
        kubernetes_validate.validate(document, version, strict=True)


SPOILS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "a misspelt field": lambda pod: pod.update(terminationGracePeriod=60),
    "a misspelt field far inside": lambda pod: containers(pod)[0]["volumeMounts"][0].update(readonly=True),
    "a text for a number": lambda pod: pod["volumes"][0]["secret"].update(defaultMode="0400"),
    "a secret without a path": lambda pod: pod["volumes"][0]["secret"]["items"][0].pop("path"),
    "a container without a name": lambda pod: containers(pod)[-1].pop("name"),
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=list(SPOILS))
@pytest.mark.parametrize("file", MANIFESTS, ids=lambda it: it.stem)
def test_a_spoiled_one_is_refused(file: Path, spoil: Callable[[dict[str, Any]], Any]) -> None:
    document = copy.deepcopy(documents(file)[-1])
    (pod,) = [it for it in every(document, "spec") if "containers" in it]
    spoil(pod)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, NATIVE_SIDECARS, strict=True)


def test_before_native_sidecars_the_sidecar_is_refused() -> None:
    document = documents(FOLDER / "kubernetes" / "sidecar.yaml")[-1]
    with pytest.raises(kubernetes_validate.ValidationError, match="restartPolicy"):
        kubernetes_validate.validate(document, OLDEST, strict=True)


def test_compose_takes_it_and_refuses_a_spoiled_one(tmp_path: Path) -> None:
    text = (FOLDER / "compose.yaml").read_text()
    done = compose(text, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for right, wrong in (
        ("stop_grace_period:", "stop_grace:"),
        ("entrypoint: [/opt/hermes-backup/bin/hermes-backup, wrap, --grace, 25s, --]", "entrypoint: {wrap: 25s}"),
        ("restart: unless-stopped", "restart: [always]"),
    ):
        assert right in text
        assert compose(text.replace(right, wrong), tmp_path).returncode == 1, wrong


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda it: it.stem)
def test_the_program_takes_the_commands(file: Path) -> None:
    names = [parsed(words)[0] for pod in pods(file) for words in ours(pod)]
    assert names == (["drill"] if file.stem == "drill" else ["wrap"])


@pytest.mark.parametrize("stem", ["sidecar", "statefulset"])
def test_kubernetes_waits_longer_than_the_last_snapshot_may_take(stem: str) -> None:
    (pod,) = pods(FOLDER / "kubernetes" / f"{stem}.yaml")
    (words,) = ours(pod)
    assert 30 <= parsed(words)[1]["grace"] < pod["terminationGracePeriodSeconds"]
    assert bool(parsed(words)[1]["command"]) == (stem == "statefulset")


def test_compose_waits_longer_than_the_last_snapshot_may_take() -> None:
    (service,) = documents(FOLDER / "compose.yaml")[0]["services"].values()
    name, options = parsed([*service["entrypoint"], *service["command"]][1:])
    assert name == "wrap"
    assert options["grace"] < parse_duration(service["stop_grace_period"]).total_seconds()
    assert not service.get("privileged")
    assert "./bundle:/etc/hermes-backup:ro" in service["volumes"]


def instructions() -> list[tuple[str, str]]:
    text = (FOLDER / "Containerfile").read_text().replace("\\\n", " ")
    lines = (line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return [(word, rest) for word, rest in lines]


def test_the_containerfile_says_what_compose_says_and_copies_what_a_wheel_is_made_of() -> None:
    said = {word: rest for word, rest in instructions() if word in ("ENTRYPOINT", "CMD")}
    (service,) = documents(FOLDER / "compose.yaml")[0]["services"].values()
    assert json.loads(said["ENTRYPOINT"]) == service["entrypoint"]
    assert json.loads(said["CMD"]) == service["command"]
    copied = [path for word, rest in instructions() if word == "COPY" for path in rest.split()[:-1]]
    assert all((ROOT / it).exists() for it in copied)
    # of the inventories those alone that come with the program: beside them lie the user's, with their secrets
    built_in = {"inventory/demo", "inventory/local"}
    assert set(copied) == {"pyproject.toml", "README.md", "src", "playbooks", "roles", *built_in}


def test_what_the_containerfile_copies_is_enough_for_a_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for path in [path for word, rest in instructions() if word == "COPY" for path in rest.split()[:-1]]:
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, source / path, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / path, source)
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--disable-pip-version-check", "--wheel-dir", str(tmp_path)]
    done = subprocess.run([sys.executable, *words, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("hermes_backup-*.whl"))) == 1


@pytest.fixture
def documented(ground: Ground) -> Ground:
    """The inventory of the page, with a folder for its bucket, and with the ground's home and state."""
    text = inventory()
    assert "all: {hosts: {hermes: {}}}" in text
    ground.write("hosts.yml", "all: {hosts: {hermes: {}}}\n")
    text = text.replace("r2:hermes-snapshots", f"{ground.root}/remote").replace("/opt/data ", f"{ground.root}/home ")
    ground.write("group_vars/all.yml", f"{text}hermes_backup_state: {ground.root}/state\n")
    return ground


def test_every_file_that_is_mounted_is_one_of_the_bundle(documented: Ground) -> None:
    done = documented.call("bundle", "./prod", "hermes", "bundle")
    assert done.code == 0, done.out + done.err
    written = {str(it.relative_to(documented.root / "bundle")): it.name
               for it in (documented.root / "bundle").rglob("*") if it.is_file()}  # fmt: skip
    for stem in ("sidecar", "statefulset"):
        (pod,) = pods(FOLDER / "kubernetes" / f"{stem}.yaml")
        (items,) = every(pod, "items")
        assert {it["path"]: it["key"] for it in items} == written
        mounts = [(it["name"], mount) for it in containers(pod) for mount in it["volumeMounts"]]
        assert [(name, it["mountPath"], it["readOnly"]) for name, it in mounts if it["name"] == "bundle"] == [
            (containers(pod)[0]["name"], "/etc/hermes-backup", True)
        ]


@pytest.mark.parametrize("stem", ["sidecar", "statefulset"])
def test_the_home_is_where_the_page_declares_it(stem: str) -> None:
    (home,) = [it for it in inventory().splitlines() if it.startswith("hermes_backup_home:")]
    (pod,) = pods(FOLDER / "kubernetes" / f"{stem}.yaml")
    mounted = [it["mountPath"] for it in every(pod, "volumeMounts") for it in it if it["name"] == "home"]
    named = [it["value"] for env in every(pod, "env") for it in env if it["name"] == "HERMES_HOME"]
    assert set(mounted) | set(named) == {home.split()[1]}
    assert f"HERMES_HOME: {home.split()[1]} " in (FOLDER / "compose.yaml").read_text()


def test_the_probe_waits_for_a_whole_home(tmp_path: Path) -> None:
    (pod,) = pods(FOLDER / "kubernetes" / "sidecar.yaml")
    (sidecar,) = pod["initContainers"]
    *words, path = sidecar["startupProbe"]["exec"]["command"]
    assert path == "/var/lib/hermes-backup/hermes/snapshot/attached.json"
    record = tmp_path / "attached.json"

    def passes() -> bool:
        return subprocess.run([*words, str(record)], capture_output=True).returncode == 0

    assert not passes()
    record.write_text('{"at":"/opt/data","way":"unpack","snapshot":"000001-20261121T033000Z","whole":false}')
    assert not passes()
    record.write_text('{"at":"/opt/data","way":"unpack","snapshot":"000001-20261121T033000Z","whole":true}')
    assert passes()


def test_the_sidecar_of_the_next_pod_goes_on_with_the_chain(documented: Ground) -> None:
    assert documented.call("bundle", "./prod", "hermes", "bundle").code == 0
    (pod,) = pods(FOLDER / "kubernetes" / "sidecar.yaml")
    (words,) = ours(pod)
    home, state = documented.root / "home", documented.root / "state"
    *probe, path = pod["initContainers"][0]["startupProbe"]["exec"]["command"]
    record = state / Path(path).relative_to("/var/lib/hermes-backup")
    soul = (home / "SOUL.md").read_text()
    for life in range(2):
        with documented.start(*words, "--config", str(documented.root / "bundle")) as sidecar:
            assert sidecar.stderr is not None
            try:
                while f"the home at {home}" not in sidecar.stderr.readline():
                    assert sidecar.poll() is None
                assert subprocess.run([*probe, str(record)], capture_output=True).returncode == 0
                assert (home / "SOUL.md").read_text() == soul
                soul = f"life {life}"
                (home / "SOUL.md").write_text(soul)
                time.sleep(1)  # it has said so just before it waits for signals
            finally:
                sidecar.terminate()
                said = sidecar.communicate(timeout=60)
        assert sidecar.returncode == 0, said
        shutil.rmtree(home)
        shutil.rmtree(state)
    checked = documented.call("verify", "./prod", "--json", CREDENTIALS_DIRECTORY=str(documented.root / "none"))
    assert checked.code == 0, checked.out
    assert len(list((documented.root / "remote").rglob("*.manifest.asc"))) == 2


def test_the_drill_of_the_manifest_passes(documented: Ground, tmp_path: Path) -> None:
    assert documented.call("bundle", "./prod", "hermes", "bundle").code == 0
    config = documented.root / "bundle"
    done = documented.call("agent", "run", "snapshot", "--config", str(config), "--json")
    assert done.code == 0, done.out + done.err
    (pod,) = pods(FOLDER / "kubernetes" / "drill.yaml")
    (secrets,) = [it["secret"]["items"] for it in pod["volumes"] if it["name"] == "secret"]
    source = {"hosts.yml": "hosts.yml", "all.yml": "group_vars/all.yml", "hermes.asc": "keys/hosts/hermes.asc"}
    mounted = tmp_path / "mounted" / "prod"
    for it in secrets:
        (mounted / it["path"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(documented.inventory / source[it["key"]], mounted / it["path"])
    done = documented.call("drill", str(mounted), CREDENTIALS_DIRECTORY=str(config / "credentials" / "hermes"))
    assert done.code == 0, done.out + done.err
    spoiled = tmp_path / "spoiled"
    spoiled.mkdir()
    (spoiled / "snapshot").write_text("another")
    assert documented.call("drill", str(mounted), CREDENTIALS_DIRECTORY=str(spoiled)).code == 9
