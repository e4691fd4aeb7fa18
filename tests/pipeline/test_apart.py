"""Nothing that a backup writes lies in the home that it saves, and no place gets a snapshot twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.pipeline.apart import inside
from hermes_backup.pipeline.config import parse_config
from hermes_backup.stages.archive import Archive
from hermes_backup.stages.push import Push
from hermes_backup.stages.store import Store
from tests.site import Site, site

__all__ = ["site"]
segments = st.lists(st.sampled_from(["a", "b", "..", "."]), min_size=1, max_size=5)


def said(home: str, state: str, *stages: dict[str, Any]) -> list[str]:
    data = {"host": "vps1", "home": home, "state": state, "pipelines": {"nightly": {"stages": ["archive", *stages]}}}
    made = parse_config(data)
    return [f"{'.'.join(map(str, it.path))}: {it.what}" for it in made] if isinstance(made, tuple) else []


@pytest.mark.parametrize(
    ("home", "state", "stage", "where"),
    [
        ("/h", "/s", {"store": {"path": "/h/store"}}, "pipelines.nightly.stages.1: store lies in the home"),
        ("/h/", "/s", {"store": {"path": "/x/../h"}}, "pipelines.nightly.stages.1: store lies in the home"),
        ("/h", "/s", {"push": {"to": ["r:x", "/h/a/b"], "unencrypted": True}}, "pipelines.nightly.stages.1: push lies"),
        ("/h", "/h/s", {"store": {"path": "/x"}}, "state: state lies in the home that is saved: /h/s"),
        ("/", "/s", {"store": {"path": "/x"}}, "state: state lies in the home that is saved: /s"),
    ],
)
def test_what_lies_in_the_home_is_refused(home: str, state: str, stage: dict[str, Any], where: str) -> None:
    assert said(home, state, stage)[0].startswith(where)


def test_what_lies_beside_it_is_not(site: Site) -> None:
    assert said("/h", "/hs", {"store": {"path": "/h2/x"}}, {"push": {"to": ["r:/h/x"], "unencrypted": True}}) == []
    assert site.run().state == "done"


@given(segments, segments)
def test_names_are_compared_as_a_file_system_reads_them(home: list[str], store: list[str]) -> None:
    place = "/" + "/".join(store)
    root = Path("/" + "/".join(home))
    found = list(inside(str(root), "/elsewhere", (Archive(), Store(path=Path(place)))))
    plain = [Path(it).resolve() for it in (place, root)]
    assert (plain[0].is_relative_to(plain[1])) == any(it.position == 1 for it in found)


@pytest.mark.parametrize("what", ["store", "remote", "state"])
def test_a_link_does_not_hide_it(site: Site, what: str) -> None:
    (site.home / "inner").mkdir()
    link = site.root / "link"
    link.symlink_to(site.home / "inner")
    stages = site.usual({"push": {"to": [str(link / "remote")]}}) if what == "remote" else None
    if what == "store":
        stages = [*site.usual()[:-1], {"store": {"path": str(link / "store")}}]
    status = site.run(stages, **({"state": str(link / "state")} if what == "state" else {}))
    assert status.error is not None
    assert (status.error.name, status.exit_code) == ("HB-CONFIG-INVALID", 3)
    assert "lies in the home that is saved" in status.error.what
    assert not (site.home / "inner" / what / "vps1" / "nightly").exists() or what == "state"
    assert site.snapshots() == []


@pytest.mark.parametrize("remotes", [["/x"], ["r:a", "/x/"], ["/y/../x"]])
def test_no_place_gets_a_snapshot_twice(remotes: list[str]) -> None:
    stages = [{"store": {"path": "/x"}}, {"push": {"to": remotes, "unencrypted": True}}]
    if remotes == ["/y/../x"]:
        assert "cannot be the address" in said("/h", "/s", *stages)[0]
        return
    assert said("/h", "/s", *stages) == ["pipelines.nightly.stages.2: /x gets the snapshot from a stage before, too"]


def test_one_remote_in_two_spellings_is_one() -> None:
    assert Push(to=("/x", "/x/", "r:a/", "r:a", "r:", "/")).to == ("/x", "r:a", "r:", "/")
