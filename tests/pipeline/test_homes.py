"""Which home a run saves: declared, found, or none; by the chooser, and through the program on a machine of its own.

That machine is a mount namespace: users, home folders and units of the system are a test's, everything else is as it
is here. So the program runs as it is, and searches ``/``.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.errors import HOME_AMBIGUOUS, HOME_MISSING, Fault
from hermes_backup.fleet.render import defaults_file
from hermes_backup.pipeline.config import HostConfig, dump
from hermes_backup.pipeline.homes import DEFAULT_HOME, Chosen, home_of, remember_home, saved_home
from tests.home.fake_host import FakeHost
from tests.home.making import where_mounting_works
from tests.pipeline.ground import needs_root
from tests.site import PROGRAM, Site, make_home

UNITS = "/etc/systemd/system"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """A host whose users' home folders are empty, as that of who runs is."""
    host = FakeHost(tmp_path / "host")
    host.user("root", 0)
    monkeypatch.setenv("HOME", str(host.at("/root")))
    return host


def serve(host: FakeHost, name: str, path: str) -> Path:
    """Make a home that a service of the system names."""
    host.unit(f"{UNITS}/hermes-{name}.service", f"Environment=HERMES_HOME={path}")
    return host.home(path)


def config(home: str = DEFAULT_HOME, owner: str = "") -> HostConfig:
    return HostConfig(host="vps1", home=home, owner=owner, state="/nowhere", pipelines={})


def refused(host: FakeHost, given: HostConfig, saved: Path | None = None) -> Fault:
    with pytest.raises(Fault) as caught:
        home_of(given, saved, host.root)
    return caught.value


def test_the_default_is_what_the_inventorys_variable_has() -> None:
    assert f"hermes_backup_home: {DEFAULT_HOME}\n" in defaults_file().read_text()


def test_a_declared_home_wins_whatever_is_found(host: FakeHost) -> None:
    serve(host, "one", "/srv/one")
    host.home("/root/.hermes")
    assert home_of(config(), None, host.root) == Chosen(host.at("/root/.hermes"))
    assert home_of(config("/srv/elsewhere"), None, host.root) == Chosen(Path("/srv/elsewhere"))
    assert home_of(config("~/agent"), None, host.root) == Chosen(host.at("/root/agent"))


def test_a_default_that_leads_nowhere_is_not_replaced(host: FakeHost) -> None:
    serve(host, "one", "/srv/one")
    host.at("/root/.hermes").symlink_to("/mnt/not-mounted")
    assert home_of(config(), None, host.root) == Chosen(host.at("/root/.hermes"))


def test_the_only_home_is_found(host: FakeHost) -> None:
    home = serve(host, "one", "/srv/one")
    assert home_of(config(), None, host.root) == Chosen(home, "system service hermes-one")


def test_profiles_of_the_only_home_are_no_others(host: FakeHost) -> None:
    home = serve(host, "one", "/srv/one")
    serve(host, "work", "/srv/one/profiles/work")
    assert home_of(config(), None, host.root) == Chosen(home, "system service hermes-one")


def test_of_several_none_is_taken(host: FakeHost) -> None:
    one, two = serve(host, "one", "/srv/one"), serve(host, "two", "/srv/two")
    fault = refused(host, config())
    assert fault.kind is HOME_AMBIGUOUS
    assert f"{one} (system service hermes-one), {two} (system service hermes-two)" in fault.what
    assert "hermes_backup_home" in fault.mend
    assert "hermes_backup_unit" in fault.mend


def test_of_many_the_first_are_named(host: FakeHost) -> None:
    for number in range(30):
        serve(host, str(number), f"/srv/{number}")
    fault = refused(host, config())
    assert fault.what.startswith("30 homes are here")
    assert fault.what.endswith("and 22 more, which hermes-backup agent homes lists")


def test_of_none_it_is_said_where_was_looked(host: FakeHost) -> None:
    fault = refused(host, config())
    assert fault.kind is HOME_MISSING
    assert fault.where == str(host.at("/root/.hermes"))
    assert "services called hermes*" in fault.what
    assert "Docker" in fault.what


def test_an_owner_who_is_nobody_here_has_no_home(host: FakeHost) -> None:
    serve(host, "one", "/srv/one")
    fault = refused(host, config(owner="nobody-here"))
    assert (fault.kind, fault.what) == (HOME_MISSING, "this host has no such user")
    assert "hermes_backup_owner" in fault.mend


@needs_root
def test_a_declared_owner_has_no_home_of_anothers(host: FakeHost) -> None:
    host.user("daemon", pwd.getpwnam("daemon").pw_uid)
    home = serve(host, "one", "/srv/one")
    assert refused(host, config(owner="daemon")).kind is HOME_MISSING
    shutil.chown(home, "daemon")
    assert home_of(config(owner="daemon"), None, host.root).path == home


def test_what_was_saved_stays_the_home_when_another_appears(host: FakeHost) -> None:
    one, two = serve(host, "one", "/srv/one"), serve(host, "two", "/srv/two")
    chosen = home_of(config(), two, host.root)
    assert (chosen.path, chosen.found) == (two, "system service hermes-two")
    assert [it.path for it in chosen.others] == [one]


def test_another_home_never_takes_the_place_of_the_one_that_was_saved(host: FakeHost) -> None:
    serve(host, "one", "/srv/one")
    fault = refused(host, config(), host.at("/root/.hermes"))
    assert (fault.kind, fault.where) == (HOME_MISSING, str(host.at("/root/.hermes")))
    assert "found instead" in fault.what
    assert "/srv/one (system service hermes-one)" in fault.what


def test_the_memory_of_the_home(tmp_path: Path) -> None:
    assert saved_home(tmp_path) is None
    home = tmp_path / "h\udc80 \n"
    home.mkdir()
    (tmp_path / "link").symlink_to(home)
    remember_home(tmp_path, (tmp_path / "link").resolve())
    assert saved_home(tmp_path) == home
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o600


@dataclass(frozen=True)
class Machine:
    """A machine whose users, home folders and units are those of a folder, and the site that is backed up there."""

    host: FakeHost
    site: Site
    prefix: list[str]

    def call(self, *words: str) -> tuple[int, Mapping[str, Any]]:
        code, said = self.text(*words, "--json")
        return code, json.loads(said)

    def text(self, *words: str) -> tuple[int, str]:
        mounts = "".join(f"mount --bind '{self.host.at(it)}' {it} && " for it in ("/etc/passwd", "/home", UNITS))
        shell = f'{mounts} exec "$@"'
        argv = [*self.prefix, "sh", "-c", shell, "sh", *PROGRAM, "agent", *words]
        environment = {**os.environ, "HOME": "/home/empty"}
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
        return done.returncode, done.stdout

    def run(self, *words: str, home: str = DEFAULT_HOME) -> tuple[int, Mapping[str, Any]]:
        folder = self.site.root / "config"
        folder.mkdir(exist_ok=True)
        (folder / "vps1.json").write_text(dump(self.site.config(self.site.usual(), home=home)))
        return self.call("run", "nightly", "--config", str(folder), *words)

    def notes(self) -> list[str]:
        rows = [json.loads(line) for line in (self.site.folder / "events.jsonl").read_text().splitlines()]
        return [it["text"] for it in rows if it["event"] == "note"]


@pytest.fixture
def machine(tmp_path: Path, site: Site) -> Machine:
    prefix = where_mounting_works()
    if not Path(UNITS).is_dir():
        pytest.skip("systemd is not installed, so its units cannot be overlaid")
    host = FakeHost(tmp_path / "machine")
    host.at(UNITS).mkdir(parents=True)
    host.user("root", 0, "/home/empty")
    host.user("alice", 0)  # in the namespace everything is root's
    return Machine(host, site, prefix)


def test_a_found_home_is_saved_and_stays_the_one(machine: Machine) -> None:
    code, said = machine.run()
    assert (code, said["error"]["name"]) == (5, "HB-HOME-MISSING")
    assert "containers of Docker and Podman" in said["error"]["what"]

    make_home(machine.host.at("/home/alice/.hermes"))
    words = "home found: /home/alice/.hermes, home folder of alice"
    code, said = machine.run("--dry-run")
    assert (code, said["warnings"]) == (0, [f"run: {words}"])
    code, said = machine.run()
    assert (code, said["state"], said["warnings"]) == (0, "done", [f"run: {words}"])
    assert len(machine.site.snapshots()) > 1
    code, said = machine.run()
    assert (code, said["warnings"]) == (0, [])
    assert words in machine.notes()

    make_home(machine.host.at("/home/two"))
    machine.host.unit(f"{UNITS}/hermes-two.service", "Environment=HERMES_HOME=/home/two")
    code, said = machine.run()
    assert code == 0
    assert said["warnings"] == ["run: not saved, for they are not declared: /home/two (system service hermes-two)"]

    machine.host.at("/home/alice/.hermes").rename(machine.host.at("/home/alice/gone"))
    code, said = machine.run()
    assert (code, said["error"]["name"]) == (5, "HB-HOME-MISSING")
    assert said["error"]["where"] == "/home/alice/.hermes"


def test_several_homes_are_listed_and_none_is_saved(machine: Machine) -> None:
    make_home(machine.host.at("/home/alice/.hermes"))
    make_home(machine.host.at("/home/alice/.hermes/profiles/work"))
    make_home(machine.host.at("/home/two"))
    machine.host.unit(f"{UNITS}/hermes-two.service", "Environment=HERMES_HOME=/home/two")
    machine.host.unit(f"{UNITS}/hermes-w.service", "Environment=HERMES_HOME=/home/alice/.hermes/profiles/work")
    code, said = machine.run()
    assert (code, said["error"]["name"]) == (3, "HB-HOME-AMBIGUOUS")
    two = "/home/two (system service hermes-two)"
    assert said["error"]["what"] == f"2 homes are here: /home/alice/.hermes (home folder of alice), {two}"
    assert machine.site.snapshots() == []
    code, said = machine.call("homes")
    assert code == 0
    assert [(it["path"], it["user"], it["within"]) for it in said["homes"]] == [
        ("/home/alice/.hermes", "root", None),
        ("/home/alice/.hermes/profiles/work", "root", "/home/alice/.hermes"),
        ("/home/two", "root", None),
    ]
    code, text = machine.text("homes")
    assert (code, text.splitlines()[2:]) == (0, [
        "/home/alice/.hermes/profiles/work",
        "    system service hermes-w; owner root; a profile, in the backup of /home/alice/.hermes",
        "/home/two",
        "    system service hermes-two; owner root",
    ])  # fmt: skip
    code, said = machine.run(home="/home/two")
    assert (code, said["warnings"]) == (0, [])


def test_a_declared_home_that_is_missing_is_not_replaced(machine: Machine) -> None:
    make_home(machine.host.at("/home/alice/.hermes"))
    code, said = machine.run(home="/home/alice/.hermes2")
    assert (code, said["error"]["name"]) == (5, "HB-HOME-MISSING")
    assert said["warnings"] == []
