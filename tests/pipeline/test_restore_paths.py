"""Some files of a snapshot, by path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.pipeline.forge import bring_back, refused
from tests.site import Site

ODD = ["skills/-v", "skills/a\nb", "skills/[ab]*", "skills/\\x41 \\n", "skills/--files-from=x"]


def names(folder: Path) -> set[str]:
    return {str(it.relative_to(folder)) for it in folder.rglob("*") if not it.is_dir() or not any(it.iterdir())}


def test_a_file_and_a_folder(site: Site) -> None:
    (site.home / "skills" / "fetch").mkdir(parents=True)
    (site.home / "skills" / "fetch" / "SKILL.md").write_text("fetch it")
    (site.home / "skills" / "fetcher.md").write_text("another")
    (site.home / "skills" / "fetch" / "run.sh").write_text("#!/bin/sh\n")
    (site.home / "skills" / "fetch" / "run.sh").chmod(0o750)
    site.run()
    done = bring_back(site, only=["SOUL.md", "skills/fetch/"])
    assert names(done.target) == {"SOUL.md", "skills/fetch/SKILL.md", "skills/fetch/run.sh"}
    assert (done.target / "skills/fetch/run.sh").stat().st_mode & 0o777 == 0o750
    assert done.files == 3


def test_a_database_alone_is_checked(site: Site) -> None:
    site.run()
    done = bring_back(site, only=["state.db"])
    assert names(done.target) == {"state.db"}
    assert [it.what for it in done.report.findings] == ["state.db"]


@pytest.mark.parametrize("name", ODD)
def test_a_name_that_tar_could_read_otherwise(site: Site, name: str) -> None:
    (site.home / "skills").mkdir(exist_ok=True)
    for it in [*ODD, "skills/a", "skills/A"]:
        (site.home / it).write_text(it)
    site.run()
    done = bring_back(site, only=[name])
    assert names(done.target) == {name}
    assert (done.target / name).read_text() == name


def test_a_hard_link_whose_other_name_is_not_wanted(site: Site) -> None:
    (site.home / "hooks").mkdir()
    (site.home / "hooks" / "first").write_text("both")
    (site.home / "skills" / "deep").mkdir(parents=True)
    os.link(site.home / "hooks" / "first", site.home / "skills" / "deep" / "second")
    site.run()
    done = bring_back(site, only=["skills/deep/second"])
    assert names(done.target) == {"skills/deep/second"}
    assert (done.target / "skills/deep/second").read_text() == "both"


def test_what_is_not_there_is_named_with_what_is_like_it(site: Site) -> None:
    site.run()
    fault = refused(site, "HB-PATH-MISSING", 3, only=["memories/SOUL.md"])
    assert "SOUL.md" in fault.mend


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x"])
def test_a_path_that_leaves_the_home_is_in_no_snapshot(site: Site, path: str) -> None:
    site.run()
    refused(site, "HB-PATH-MISSING", 3, only=[path])
