"""Snapshots that are squashfs images: they hold what a tar holds, come back, and are believed no more than a tar."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.pipeline.agent import Options
from hermes_backup.pipeline.model import Pipeline, parse_pipeline
from hermes_backup.streams.coder import from_bytes, join
from hermes_backup.streams.gpg import Decrypt
from hermes_backup.streams.members import Member
from tests.pipeline.forge import (
    Forge,
    Witness,
    bring_back,
    entry,
    folder_entry,
    link_entry,
    members_of,
    refused,
    tar_of,
)
from tests.pipeline.test_restore import described, furnish
from tests.site import Site, fill, messages_in

AS_ROOT = os.geteuid() == 0
CHECK, DAMAGED, REFUSED = "HB-RESTORE-CHECK", "HB-DATA-DAMAGED", "HB-RESTORE-REFUSED"


def squashfs(site: Site, *more: Any, **compression: Any) -> list[Any]:
    archive: dict[str, Any] = {"format": "squashfs"}
    return site.usual(*more, archive={**archive, "compression": compression} if compression else archive)


def image_of(site: Site) -> bytes:
    """The newest image of the store, decrypted."""
    data = max((site.store / "vps1" / "nightly").glob("*.sqsh.gpg")).read_bytes()
    return b"".join(join(from_bytes(data), [Decrypt(site.recipient.gnupghome)]))


def in_milliseconds(rows: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    """Times to the millisecond: the list of files has them as floating numbers."""
    return {name: (*row[:2], row[2] // 10**6, *row[3:]) for name, row in rows.items()}


def test_everything_comes_back(site: Site) -> None:
    furnish(site.home)
    os.setxattr(site.home / "SOUL.md", "user.origin", bytes(range(256)))
    before = in_milliseconds(described(site.home))
    status = site.run(squashfs(site))
    assert status.state == "done", status.error
    follower = Witness()
    done = bring_back(site, follower=follower)
    after = in_milliseconds(described(done.target))
    state, expected = after.pop("state.db"), before.pop("state.db")
    assert {it: row for it, row in before.items() if it.split("/")[0] != "logs"} == after
    assert state[:2] == expected[:2]
    assert (done.target / "soul-again").stat().st_ino == (done.target / "SOUL.md").stat().st_ino
    assert (done.target / "holes").stat().st_blocks < 1000
    assert done.target.stat().st_mode & 0o777 == 0o700
    assert messages_in(done.target / "state.db") == 200
    assert follower.warnings == ["the link points outside the home: outward"]
    assert not list(site.root.glob(".hermes-restore-*"))


@pytest.mark.parametrize("algorithm", ["zstd", "lz4", "gzip", "xz", "none"])
def test_every_compression_comes_back(site: Site, algorithm: str) -> None:
    status = site.run(squashfs(site, algorithm=algorithm))
    assert status.state == "done", status.error
    assert [it.rpartition(".")[0].partition(".")[2] for it in site.snapshots() if ".sqsh" in it] == ["sqsh"]
    assert (bring_back(site).target / "SOUL.md").read_text() == "I am the test.\n"


def test_the_level_is_the_one_that_is_declared(site: Site, tmp_path: Path) -> None:
    assert site.run(squashfs(site, algorithm="zstd", level=7)).state == "done"
    (tmp_path / "image").write_bytes(image_of(site))
    said = subprocess.run(
        ["unsquashfs", "-stat", tmp_path / "image"], capture_output=True, text=True, check=True
    ).stdout
    assert "compression-level 7" in said


def test_xz_is_for_squashfs_alone() -> None:
    stages = ["sqlite", {"archive": {"compression": {"algorithm": "xz"}}}, {"store": {"path": "/s"}}]
    made = parse_pipeline("p", {"stages": stages})
    assert not isinstance(made, Pipeline)
    assert "xz goes with format squashfs alone" in made[0].what


def test_the_same_home_gives_the_same_bytes(site: Site) -> None:
    assert site.run(squashfs(site)).state == "done"
    first = image_of(site)
    time.sleep(1.1)  # the image's own times are whole seconds
    assert site.run(squashfs(site)).state == "done"
    assert len(site.snapshots()) == 7
    assert image_of(site) == first


def test_if_changed_skips_what_did_not_change(site: Site) -> None:
    quick = Options("t", if_changed=True)
    assert site.run(squashfs(site), options=quick).state == "done"
    assert site.run(squashfs(site), options=quick).state == "unchanged"
    (site.home / "SOUL.md").write_text("I am another.\n")
    assert site.run(squashfs(site), options=quick).state == "done"
    assert (bring_back(site).target / "SOUL.md").read_text() == "I am another.\n"


def test_some_files_come_back_alone(site: Site) -> None:
    os.link(site.home / "SOUL.md", site.home / "soul-again")
    assert site.run(squashfs(site)).state == "done"
    done = bring_back(site, only=["skills", "soul-again"])
    found = sorted(str(it.relative_to(done.target)) for it in done.target.rglob("*"))
    assert found == ["skills", "skills/report", "skills/report/run.sh", "soul-again"]
    assert (done.target / "soul-again").read_text() == "I am the test.\n"


def test_acls_are_told_to_be_lost(site: Site) -> None:
    subprocess.run(["setfacl", "-m", "u:4321:rwx", site.home / ".env"], check=True)
    status = site.run(squashfs(site))
    assert status.state == "done"
    assert status.warnings == ("archive: squashfs keeps no ACLs, and some files have them",)


def test_nothing_plain_is_left(site: Site) -> None:
    fill(site.home / "state.db", 5000)
    assert site.run(squashfs(site)).state == "done"
    for path in (it for top in (site.store, site.root / "state") for it in top.rglob("*") if it.is_file()):
        assert not path.read_bytes().startswith(b"hsqs"), path
    assert not list(site.folder.glob("run-*"))


def test_a_full_disk_is_told_and_nothing_is_published(site: Site) -> None:
    """The image does not fit beside the run's other files."""
    (site.home / "noise").write_bytes(os.urandom(3 << 20))
    site.folder.mkdir(parents=True)
    size = "size=2m"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", site.folder], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("this user cannot mount")
    try:
        status = site.run(squashfs(site))
        assert status.error is not None
        assert (status.state, status.error.name) == ("failed", "HB-DISK-FULL")
        assert site.snapshots() == []
    finally:
        subprocess.run(["umount", site.folder], check=True)
    assert site.run(squashfs(site)).state == "done"


SOUL = entry("SOUL.md", b"I am not.\n")


def image(tmp_path: Path, make: Callable[[Path], None]) -> bytes:
    """An image of a folder, whatever ``make`` puts there beside SOUL.md."""
    tree = tmp_path / "tree"
    tree.mkdir(mode=0o755)
    (tree / "SOUL.md").write_bytes(SOUL[1])
    (tree / "SOUL.md").chmod(0o644)
    make(tree)
    file = tmp_path / "made.sqsh"
    subprocess.run(["mksquashfs", tree, file, "-quiet", "-no-progress", "-comp", "zstd"], check=True)
    shutil.rmtree(tree)
    return file.read_bytes()


def listed(*entries: Any) -> tuple[Member, ...]:
    return members_of(tar_of(*entries))


def test_holes_beyond_all_measure_are_refused_before_they_are_hashed(
    forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hermes_backup.home.holes.MOST_HOLES", 1 << 20)

    def make(tree: Path) -> None:
        with (tree / "hole").open("wb") as file:
            file.truncate(3 << 20)

    forge.publish(image(tmp_path, make), members=listed(SOUL, entry("hole", bytes(3 << 20))), image=True)
    refused(forge.site, "HB-RESTORE-REFUSED", key=forge.key.public(), match="'hole': it has 3145728 bytes of holes")


def test_what_does_not_fit_is_said_before_it_is_unpacked(
    forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk = bytes(1 << 20)

    def make(tree: Path) -> None:
        (tree / "bulk").write_bytes(bulk)

    data = image(tmp_path, make)
    forge.publish(data, members=listed(SOUL, entry("bulk", bulk)), image=True)
    needed = len(data) + len(SOUL[1]) + len(bulk)
    monkeypatch.setattr("hermes_backup.stages.room.free_in", lambda _: needed - 1)
    said = f"it needs {needed} bytes, {needed - 1} are free"
    refused(forge.site, "HB-DISK-FULL", code=5, key=forge.key.public(), match=said)


def nothing(tree: Path) -> None:
    del tree


def other_content(tree: Path) -> None:
    (tree / "SOUL.md").write_bytes(b"I am evil\n")


def one_more(tree: Path) -> None:
    (tree / "evil").write_text("x")


def another_name(tree: Path) -> None:
    (tree / "SOUL.md").rename(tree / "soul.md")


def a_link(tree: Path) -> None:
    (tree / "SOUL.md").unlink()
    (tree / "SOUL.md").symlink_to("/etc/passwd")


def a_device(tree: Path) -> None:
    (tree / "SOUL.md").unlink()
    os.mknod(tree / "SOUL.md", 0o020666, os.makedev(1, 3))


def another_mode(tree: Path) -> None:
    (tree / "SOUL.md").chmod(0o777)


def a_bomb(tree: Path) -> None:
    os.truncate(tree / "SOUL.md", 8 << 30)


def test_an_honest_image_of_ours_comes_back(forge: Forge, tmp_path: Path) -> None:
    forge.publish(image(tmp_path, nothing), members=listed(SOUL), image=True)
    done = bring_back(forge.site, key=forge.key.public())
    assert [it.name for it in done.target.iterdir()] == ["SOUL.md"]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (other_content, CHECK), (one_more, CHECK), (another_name, CHECK), (a_link, CHECK), (a_device, CHECK),
        (another_mode, CHECK), (a_bomb, DAMAGED),
    ],
)  # fmt: skip
@pytest.mark.skipif(not AS_ROOT, reason="only root makes devices")
def test_what_the_list_of_files_does_not_say_is_refused(
    make: Callable[[Path], None], name: str, forge: Forge, tmp_path: Path, canary: Path
) -> None:
    del canary
    forge.publish(image(tmp_path, make), members=listed(SOUL), image=True)
    refused(forge.site, name, key=forge.key.public())


@pytest.mark.parametrize(
    "entries",
    [
        [SOUL, entry("../canary/evil", b"x")],
        [SOUL, link_entry("d", "/etc"), entry("d/evil", b"x")],
        [SOUL, folder_entry("a/..")],
    ],
)
def test_a_list_that_would_leave_the_folder_is_refused(
    entries: list[Any], forge: Forge, tmp_path: Path, canary: Path
) -> None:
    del canary
    forge.publish(image(tmp_path, nothing), members=listed(*entries), image=True)
    refused(forge.site, REFUSED, key=forge.key.public())


@pytest.mark.parametrize("data", [b"", b"no image at all" * 100, b"hsqs" + b"\0" * 4092])
def test_what_is_no_image_is_refused(data: bytes, forge: Forge) -> None:
    forge.publish(data, members=listed(SOUL), image=True)
    fault = refused(forge.site, CHECK if data.startswith(b"hsqs") else DAMAGED, key=forge.key.public())
    assert fault.where


def test_a_cut_image_is_refused(forge: Forge, tmp_path: Path) -> None:
    whole = image(tmp_path, lambda tree: (tree / "SOUL.md").write_bytes(os.urandom(300_000)) and None)
    forge.publish(whole[: len(whole) // 2], members=listed(SOUL), image=True)
    refused(forge.site, DAMAGED, key=forge.key.public())
