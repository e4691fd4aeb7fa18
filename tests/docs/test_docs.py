"""What the README says is done here, word for word; the reference pages agree with the code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import typer.main
from ruamel.yaml import YAML

from hermes_backup.cli.app import app
from hermes_backup.errors import REMARKS, catalog
from hermes_backup.fleet.declared import declared
from hermes_backup.fleet.deploy import require_own_units
from hermes_backup.home.sample import make_sample
from hermes_backup.pipeline.model import Pipeline, parse_pipeline
from tests.fleet.ground import LOCAL, Ground, ground
from tests.keys import Recipient

__all__ = ["ground"]
ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


EDITOR = """#!/bin/sh
sed -i 's#"CHANGE-ME"#"{fingerprint}"#; s#CHANGE-ME:hermes-backups#{root}/remote#' "$1"
cat > inventory/prod/keys/operator.asc <<'KEY'
{public}KEY
cat >> "$1" <<'MORE'
hermes_backup_config_dir: {root}/config
hermes_backup_state: {root}/state
hermes_backup_store: {root}/store
MORE
"""


def block(name: str, page: str = README, tests: str = "docs") -> str:
    found = re.search(rf"<!-- executed by tests/{tests}: {name} -->\n```\w+\n(.*?)```", page, re.DOTALL)
    assert found, name
    return found.group(1)


def shell(commands: str, where: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=where, env=dict(environment), text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def desk(tmp_path: Path, recipient: Recipient) -> dict[str, str]:
    """A user's machine: a Hermes home, a key, an editor that changes the two lines."""
    make_sample(tmp_path / ".hermes")
    editor = tmp_path / "editor"
    editor.write_text(EDITOR.format(fingerprint=recipient.fingerprint, public=recipient.public, root=tmp_path))
    editor.chmod(0o755)
    kept = {name: os.environ[name] for name in ("LANG", "USER", "TERM") if name in os.environ}
    return {
        **kept,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "EDITOR": str(editor),
        "GNUPGHOME": str(recipient.gnupghome),
        "COLUMNS": "100",
    }


def test_the_walkthrough_works_as_it_is_written(desk: dict[str, str], tmp_path: Path) -> None:
    said = shell(block("walkthrough"), tmp_path, desk)
    assert "sound" in said
    assert "000001-" in said
    assert (tmp_path / "restored" / "SOUL.md").read_bytes() == (tmp_path / ".hermes" / "SOUL.md").read_bytes()
    (data,) = (tmp_path / "remote").rglob("*.tar.zst.gpg")
    (tmp_path / "plain").mkdir()
    by_hand = {**desk, "SNAPSHOT": str(data).removesuffix(".tar.zst.gpg"), "INTO": str(tmp_path / "plain")}
    shell(block("plain"), tmp_path, by_hand)
    assert (tmp_path / "plain" / "SOUL.md").exists()


def test_the_pipeline_that_it_shows_is_valid() -> None:
    shown = YAML(typ="safe").load(block("pipeline"))
    for name, raw in shown["hermes_backup_pipelines"].items():
        raw["stages"][2]["encrypt"]["recipients"] = ["A" * 40]
        raw["stages"][4]["push"]["to"] = ["r2:hermes"]
        assert isinstance(parse_pipeline(name, raw), Pipeline)


def test_the_fleet_that_it_shows_is_sound(ground: Ground) -> None:
    page = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
    variables = block("fleet-variables", page).replace("3AA5C34371567BD2F2F3B2B0A1C0A7D1B0E0F001", "A" * 40)
    ground.write("group_vars/all.yml", variables.replace("A" * 40, ground.recipient.fingerprint))
    servers = "  children: {backup_remote: {hosts: {nas: {ansible_host: nas.example.org}}}}\n"
    ground.write("hosts.yml", block("fleet-hosts", page) + servers)
    ground.write("group_vars/backup_remote.yml", block("fleet-remote", page))
    fleet = ground.fleet(examine_keys=True)
    fleet.demand_sound()
    require_own_units(fleet.hosts)
    assert [it.name for it in fleet.hosts] == ["play", "vps1", "vps2", "work"]
    assert fleet.servers == ("nas",)
    assert {it.address for it in fleet.hosts} == {f"vps{number}.example.org" for number in (1, 2, 3)}


def test_the_home_that_comes_and_goes_is_sound(ground: Ground) -> None:
    pages = {name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("containers", "fleet")}
    ground.write("group_vars/all.yml", block("inventory", pages["containers"], "containers"))
    ground.write("host_vars/vps1.yml", block("fleet-coming", pages["fleet"]))
    fleet = ground.fleet()
    fleet.demand_sound()
    made = declared(fleet.host("vps1"), ["vps1"]).coming
    assert made is not None
    assert made.agent_unit == "hermes-gateway.service"


def test_the_restores_that_it_shows_work(ground: Ground, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "restore.md").read_text(encoding="utf-8")
    (tmp_path / "inventory").symlink_to(tmp_path)
    ground.settings(f"hermes_backup_gnupghome: {ground.recipient.gnupghome}")
    ground.write("hosts.yml", f"all:\n  vars: {{{LOCAL}}}\n  hosts: {{vps1: {{}}, vps2: {{}}}}\n")
    ground.write("host_vars/vps2.yml", f"hermes_backup_home: {tmp_path}/second\n")
    ground.back_up("vps1")
    soul = tmp_path / "home" / "SOUL.md"
    for name, there in {
        "restore-look": soul,
        "restore-one": tmp_path / "report" / "skills" / "report" / "run.sh",
        "restore-same": soul,
        "restore-onto": tmp_path / "second" / "SOUL.md",
    }.items():
        soul.write_text("spoilt")
        shell(block(name, page), tmp_path, {**os.environ, **ground.environment()})
        assert there.exists()
        assert (soul.read_text() == "spoilt") == (name in ("restore-look", "restore-onto"))
    (data,) = (tmp_path / "remote").rglob("*.tar.zst.gpg")
    (tmp_path / "plain").mkdir()
    where = {"SNAPSHOT": str(data).removesuffix(".tar.zst.gpg"), "INTO": str(tmp_path / "plain")}
    keys = {"GNUPGHOME": str(ground.recipient.gnupghome)}
    shell(block("restore-plain", page), tmp_path, {**os.environ, **where, **keys})
    assert (tmp_path / "plain" / "SOUL.md").exists()


def test_every_command_that_the_pages_show_is_one() -> None:
    known = typer.main.get_command(app)
    shown = 0
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for code in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in code.splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["hermes-backup"]:
                    name, command, rest = known.resolve_command(known.make_context("", words[1:]), words[1:])
                    command.make_context(name, rest)
                    shown += 1
    assert shown > 10


def test_the_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_reference_pages_agree_with_the_code() -> None:
    done = subprocess.run([sys.executable, "tools/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_error_has_one_name_and_a_mend() -> None:
    kinds = catalog()
    assert len({it.name for it in kinds}) == len(kinds)
    for it in kinds:
        assert re.fullmatch(r"HB(-[A-Z0-9]+)+", it.name)
        assert it.means.endswith(".")
        assert it.mend
        assert (it.exit_code == 0) == (it in REMARKS)
