"""Services that use a home which is brought back: stopped, started again, and what becomes of the way back.

There is no systemd where these tests run, so ``systemctl`` is a script that keeps a unit's state in a file; that a
process belongs to the unit is the kernel's own word, by a control group that is really there.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from hermes_backup.errors import Fault
from hermes_backup.pipeline.replacing import NOTE
from tests.pipeline.forge import Witness
from tests.pipeline.ground import needs_root
from tests.pipeline.handing import asides, picture, sent, spoil
from tests.site import Site

pytestmark = needs_root
Picture = dict[str, tuple[int, str]]
_UNIT = f"hbt-gateway-{os.getpid()}.service"  # two workers have two control groups
_LEFT_OUT = ("cache/tmp-1.json", "models_cache.json")
_HIERARCHIES = tuple(map(Path, ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup")))
_SYSTEMCTL = """#!/bin/sh
here="$(dirname "$0")"
echo "$1" >> "$here/calls"
case "$1" in
is-active) if [ -e "$here/active" ]; then echo active; else echo inactive; exit 3; fi ;;
start)
    [ -e "$here/fails-to-start" ] && { echo 'it fails' >&2; exit 1; }
    touch "$here/active" "$here/started"
    [ -e "$here/on-start" ] && sh "$here/on-start" && rm "$here/on-start" ;;
stop)
    [ -e "$here/stuck" ] && [ -e "$here/started" ] && { echo 'it hangs' >&2; exit 1; }
    [ -e "$here/unloads" ] && [ ! -e "$here/active" ] && { echo 'it is not loaded' >&2; exit 5; }
    [ -e "$here/pid" ] && kill "$(cat "$here/pid")"
    rm -f "$here/active" "$here/pid"
    [ -e "$here/on-stop" ] && sh "$here/on-stop" && rm "$here/on-stop" ;;
show) [ -e "$here/flaps" ] && cat /proc/sys/kernel/random/uuid || echo steady ;;
esac
exit 0
"""


@dataclass(frozen=True)
class Gateway:
    """A service that has the home's database open, as systemctl's script sees it."""

    folder: Path

    def will(self, *what: str) -> None:
        for it in what:
            (self.folder / it).touch()

    def does(self, when: str, script: str) -> None:
        """Let it do something the next time that it starts or stops."""
        (self.folder / when).write_text(script)

    @property
    def is_active(self) -> bool:
        return (self.folder / "active").exists()

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().split()


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group, named as systemd names that of a service."""
    root = next((it for it in _HIERARCHIES if (it / "cgroup.procs").exists() and os.access(it, os.W_OK)), None)
    if root is None:
        pytest.skip("control groups cannot be made here")
    folder = root / "system.slice" / _UNIT
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    for it in (folder, folder.parent):
        with suppress(OSError):  # on a machine with systemd others are in it
            it.rmdir()


@pytest.fixture
def gateway(site: Site, group: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A home that was backed up and spoilt since, and a gateway that is at work on it."""
    (site.home / "cache" / "images").mkdir(parents=True)
    (site.home / "cache" / "images" / "a.png").write_text("an image")
    site.run()
    spoil(site)
    for name in _LEFT_OUT:
        (site.home / name).write_text("what no backup holds")
    folder = site.root / "units"
    folder.mkdir()
    (folder / "systemctl").write_text(_SYSTEMCTL)
    (folder / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    join = f"echo $$ > '{group}/cgroup.procs' && echo in && exec sleep 60"
    with (site.home / "state.db").open("rb") as file:
        process = subprocess.Popen(["sh", "-c", join], stdin=file, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"in\n"
    (folder / "pid").write_text(str(process.pid))
    (folder / "active").touch()
    yield Gateway(folder)
    process.kill()
    process.communicate()


def without(old: Picture, *names: str) -> Picture:
    return {name: it for name, it in old.items() if name not in names}


def test_it_is_stopped_and_runs_again(site: Site, gateway: Gateway) -> None:
    done, _ = sent(site).put()
    assert (done.stopped, done.started, gateway.is_active) == ((_UNIT,), (_UNIT,), True)
    assert (site.home / "SOUL.md").read_text() == "I am the test.\n"


@pytest.mark.parametrize("faults", [("flaps",), ("fails-to-start",), ("fails-to-start", "unloads")])
def test_one_that_does_not_stay_up_gets_the_old_home_back(
    site: Site, gateway: Gateway, faults: tuple[str, ...]
) -> None:
    old = picture(site.home)
    gateway.will(*faults)
    with pytest.raises(Fault) as caught:
        sent(site).put()
    assert caught.value.kind.name == "HB-SERVICE-FAILED"
    assert (picture(site.home), asides(site)) == (old, [])
    assert (site.home / "logs" / "agent.log").exists()
    assert gateway.calls[-1] == "start"


def test_from_one_that_cannot_be_stopped_again_no_home_is_taken(site: Site, gateway: Gateway) -> None:
    old = picture(site.home)
    gateway.will("flaps", "stuck")
    sending, witness = sent(site), Witness()
    with pytest.raises(Fault, match=f"{_UNIT} cannot be stopped, so what was restored stays in its place") as caught:
        sending.put(witness)
    assert caught.value.kind.name == "HB-SERVICE-FAILED"
    (aside,) = asides(site)
    assert str(aside) in caught.value.what
    assert picture(aside) == without(old, *_LEFT_OUT)
    assert (site.home / "SOUL.md").read_text() == "I am the test.\n"
    assert (site.home / "logs" / "agent.log").exists()
    assert any("it hangs" in it for it in witness.warnings)
    assert gateway.is_active
    assert not (site.root / "state" / "vps1" / NOTE).exists()


def test_one_that_cannot_be_stopped_at_all_keeps_its_home(site: Site, gateway: Gateway) -> None:
    old = picture(site.home)
    gateway.will("started", "stuck")
    with pytest.raises(Fault, match=rf"cannot stop {re.escape(_UNIT)}: it hangs"):
        sent(site).put()
    assert (picture(site.home), asides(site), gateway.is_active) == (old, [], True)


def test_what_the_service_removes_while_it_stops_is_not_missed(site: Site, gateway: Gateway) -> None:
    gateway.does("on-stop", f"cd '{site.home}' && rm cache/tmp-1.json && mv models_cache.json other_cache.json")
    done, witness = sent(site).put()
    assert (done.started, witness.warnings) == ((_UNIT,), [])
    assert (site.home / "other_cache.json").read_text() == "what no backup holds"
    assert not (site.home / "models_cache.json").exists()


def test_nor_what_it_removes_before_the_way_back(site: Site, gateway: Gateway) -> None:
    old = picture(site.home)
    gateway.will("flaps")
    gateway.does("on-start", f"rm -r '{site.home}/models_cache.json' '{site.home}/cache'")
    sending, witness = sent(site), Witness()
    with pytest.raises(Fault, match="did not stay up") as caught:
        sending.put(witness)
    assert (caught.value.kind.name, witness.warnings) == ("HB-SERVICE-FAILED", [])
    assert picture(site.home) == without(old, *_LEFT_OUT)
    assert (asides(site), gateway.is_active, gateway.calls[-1]) == ([], True, "start")
    assert not (site.root / "state" / "vps1" / NOTE).exists()


def test_what_cannot_be_carried_back_is_kept_and_all_else_goes_back(site: Site, gateway: Gateway) -> None:
    old = picture(site.home)
    gateway.will("flaps")
    gateway.does("on-start", f"cd '{site.home}' && mv cache moved && ln -s moved cache")
    sending, witness = sent(site), Witness()
    with pytest.raises(Fault, match="did not stay up"):
        sending.put(witness)
    assert picture(site.home) == without(old, "cache/tmp-1.json")
    (kept,) = asides(site)
    assert (kept / "moved" / "tmp-1.json").read_text() == "what no backup holds"
    assert (kept / "SOUL.md").read_text() == "I am the test.\n"
    assert any("cache in the home is no plain folder" in it for it in witness.warnings)
    assert f"what was restored is kept as {kept}, for what could not be carried back" in witness.warnings
    assert gateway.is_active
    assert not (site.root / "state" / "vps1" / NOTE).exists()


@pytest.mark.parametrize("name", ["home", "home-wal"])
def test_where_the_old_home_cannot_go_back_it_is_named_and_the_service_runs(
    site: Site, gateway: Gateway, name: str
) -> None:
    busy = site.root / name  # the home itself, or what must go with it
    old = picture(site.home)
    gateway.will("flaps")
    gateway.does(
        "on-start", f"[ -e '{busy}' ] || touch '{busy}'; mount --bind '{busy}' '{busy}'"
    )  # a mount point cannot be renamed
    sending, witness = sent(site), Witness()
    try:
        with pytest.raises(Fault, match="did not stay up on the new home; not put back: ") as caught:
            sending.put(witness)
    finally:
        subprocess.run(["umount", busy], check=True)
    (aside,) = asides(site)
    assert str(aside) in caught.value.what
    assert picture(aside) == without(old, *_LEFT_OUT)
    assert all((site.home / it).exists() for it in ("SOUL.md", "logs/agent.log", *_LEFT_OUT))
    assert f"{site.home} cannot be put back: Device or resource busy" in witness.warnings
    assert not [it for it in (*witness.warnings, caught.value.what) if "/proc/" in it]
    assert gateway.is_active
    assert not (site.root / "state" / "vps1" / NOTE).exists()
