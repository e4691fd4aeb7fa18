"""Some files of a home brought back in place, while the rest of it stays, and its agent at work."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermes_backup.errors import Fault
from tests.pipeline.ground import needs_root
from tests.pipeline.handing import held_open, picture, sent, spoil
from tests.site import Site, fill, messages_in


def test_some_files_and_each_old_one_is_kept_beside_its_successor(site: Site) -> None:
    site.run()
    before = picture(site.home)
    spoil(site)
    (site.home / "skills" / "report" / "run.sh").write_text("spoilt")
    done, _ = sent(site, ["SOUL.md", "memories/MEMORY.md", "skills/report/"]).put()
    now = picture(site.home)
    for name in ("SOUL.md", "memories/MEMORY.md", "skills/report/run.sh"):
        assert now[name] == before[name]
    kept = {it.rpartition(".before-")[0] for it in now if ".before-" in it and "/" not in it.rpartition(".before-")[2]}
    assert kept == {"SOUL.md", "skills/report"}
    assert "skills/new.md" in now
    assert len(done.aside) == 2


def test_a_path_below_another_is_that_one(site: Site) -> None:
    site.run()
    (site.home / "skills" / "report" / "run.sh").write_text("spoilt")
    done, _ = sent(site, ["skills/report", "skills", "skills/report/run.sh"]).put()
    assert len(done.aside) == 1
    assert (site.home / "skills" / "report" / "run.sh").read_text() == "#!/bin/sh\necho report\n"


def test_a_database_alone_leaves_no_log_of_the_old_one_beside_it(site: Site) -> None:
    site.run()
    (site.home / "state.db-wal").write_bytes(b"of the old one")
    (site.home / "state.db-shm").write_bytes(b"of the old one")
    done, _ = sent(site, ["state.db"]).put()
    assert not [it.name for it in site.home.glob("state.db-*")]
    (aside,) = done.aside
    assert Path(f"{aside}-wal").read_bytes() == b"of the old one"


def test_a_missing_folder_above_a_file_is_made(site: Site) -> None:
    site.run()
    subprocess.run(["rm", "-rf", site.home / "skills"], check=True)
    sent(site, ["skills/report/run.sh"]).put()
    assert stat.S_IMODE((site.home / "skills" / "report" / "run.sh").stat().st_mode) == 0o755


def test_no_link_in_the_home_leads_a_file_out_of_it(site: Site) -> None:
    site.run()
    outside = site.root / "outside"
    (outside / "report").mkdir(parents=True)
    subprocess.run(["rm", "-rf", site.home / "skills"], check=True)
    (site.home / "skills").symlink_to(outside)
    with pytest.raises(Fault) as caught:
        sent(site, ["skills/report/run.sh"]).put()
    assert caught.value.kind.name == "HB-RESTORE-REFUSED"
    assert list((outside / "report").iterdir()) == []


def test_a_file_that_is_no_database_needs_nobody_to_stop(site: Site) -> None:
    site.run()
    spoil(site)
    with held_open(site.home / "state.db"):
        sent(site, ["SOUL.md"]).put()
    assert (site.home / "SOUL.md").read_text() == "I am the test.\n"


@contextmanager
def mounted(*words: str | Path) -> Iterator[None]:
    """Mount something for as long as the block lasts; its place is the last word."""
    subprocess.run(["mount", *words], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", words[-1]], check=True)


@needs_root
def test_in_a_home_that_is_a_mount_point(site: Site) -> None:
    site.run()
    before = picture(site.home)
    spoil(site)
    with mounted("--bind", site.home, site.home):
        (site.home / ".hermes-restore-abcdef01").mkdir()  # as a killed one leaves it
        done, _ = sent(site, ["SOUL.md", "memories/MEMORY.md"]).put()
    now = picture(site.home)
    assert [now[it] for it in ("SOUL.md", "memories/MEMORY.md")] == [
        before[it] for it in ("SOUL.md", "memories/MEMORY.md")
    ]
    assert [Path(it).read_text() for it in done.aside] == ["I am another.\n"]
    assert not [it for it in now if ".hermes-restore" in it]


@needs_root
def test_on_a_mount_in_the_home(site: Site) -> None:
    site.run()
    with mounted("-t", "tmpfs", "none", site.home / "memories"):
        (site.home / "memories" / "MEMORY.md").write_text("something else")
        done, _ = sent(site, ["memories/MEMORY.md"]).put()
        assert (site.home / "memories" / "MEMORY.md").read_text().startswith("The owner likes tea.")
        assert sorted(site.home / "memories" / it for it in os.listdir(site.home / "memories")) == sorted(
            [site.home / "memories" / "MEMORY.md", *map(Path, done.aside)]
        )


@needs_root
@pytest.mark.parametrize(
    ("only", "said"),
    [
        (["memories"], r"/home/memories is a mount point"),
        (["skills/report"], r"/home/skills/report/deep is a mount point"),
        (["memories/MEMORY.md", "SOUL.md"], r"SOUL\.md and memories/MEMORY\.md lie on different file systems"),
    ],
)
def test_what_cannot_be_renamed_is_told_before_anything_is_changed(site: Site, only: list[str], said: str) -> None:
    (site.home / "skills" / "report" / "deep").mkdir()
    site.run()
    sending = sent(site, only)
    spoil(site)
    deep = mounted("-t", "tmpfs", "none", site.home / "skills" / "report" / "deep")
    with deep, mounted("-t", "tmpfs", "none", site.home / "memories"):
        spoilt = picture(site.home)
        with pytest.raises(Fault, match=said) as caught:
            sending.put()
        assert picture(site.home) == spoilt
    assert (caught.value.kind.name, int(caught.value.kind.exit_code)) == ("HB-HOME-MOUNTED", 3)


@pytest.mark.parametrize("only", ["skills/report", "skills/report/index.db"])
def test_a_database_that_only_the_live_home_has_is_not_taken_from_who_has_it_open(site: Site, only: str) -> None:
    live = site.home / "skills" / "report" / "index.db"
    live.write_text("no database yet")
    site.run()
    live.unlink()
    fill(live, 5)
    with held_open(live) as holder, pytest.raises(Fault, match=rf"sleep \({holder}\) has .*index\.db open") as caught:
        sent(site, [only]).put()
    assert caught.value.kind.name == "HB-HOME-HELD"
    sent(site, [only]).put()
    assert live.read_text() == "no database yet"


@pytest.mark.parametrize(
    ("name", "only", "logs"),
    [
        ("state.db", "state.db", False),
        ("profiles/other/kanban.db", "profiles", False),
        ("skills/report/index.db", "skills/report", True),
    ],
)
def test_a_damaged_database_is_not_taken_from_who_has_it_open(site: Site, name: str, only: str, logs: bool) -> None:
    live = site.home / name
    live.parent.mkdir(parents=True, exist_ok=True)
    live.unlink(missing_ok=True)
    live.write_bytes(b"\0" * 8192)
    site.run(site.usual()[1:])
    if logs:
        live.with_name(f"{live.name}-wal").write_bytes(b"a log")
    with held_open(live) as holder, pytest.raises(Fault, match=rf"sleep \({holder}\) has .*\.db open"):
        sent(site, [only]).put()
    assert not list(site.home.rglob("*.before-*"))


def test_nor_is_a_database_put_there_that_was_archived_as_it_lay(site: Site) -> None:
    live = site.home / "skills" / "report" / "index.db"
    fill(live, 5)
    site.run(site.usual()[1:])  # no stage says that it is one
    live.write_text("no database any more")
    with held_open(live), pytest.raises(Fault, match=r"index\.db open"):
        sent(site, ["skills/report"]).put()
    sent(site, ["skills/report"]).put()
    assert messages_in(live) == 5


def test_a_name_that_must_be_escaped_to_be_shown(site: Site) -> None:
    odd = site.home / "skills" / "a\nb"
    odd.mkdir()
    fill(odd / "index.db", 5)
    site.run()
    (odd / "new.md").write_text("new")
    (odd / "index.db").unlink()
    assert sent(site, ["skills/a\nb"], purpose="compare").compared().removed == ("skills/a\\nb/new.md",)
    with held_open(site.home / "state.db"), pytest.raises(Fault, match=r"state\.db open"):
        sent(site, ["skills/a\nb"]).put()


def test_what_the_backup_could_not_take_whole_is_told(site: Site) -> None:
    (site.home / "kanban.db").touch()
    assert site.run().state == "partial"
    told = [("kanban.db", "the database has no bytes")]
    for only, expected in (((), told), (["kanban.db"], told), (["SOUL.md"], [])):
        assert [(it.path, it.reason) for it in sent(site, only, purpose="compare").compared().partial] == expected
        done, _ = sent(site, only).put()
        assert [(it.path, it.reason) for it in done.partial] == expected
