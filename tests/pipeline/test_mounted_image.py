"""An image that is mounted from where it lies is not pruned, and goes when it is free."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.home.in_use import in_use
from tests.site import Site

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounts are root's")


def stages(site: Site, **archive: Any) -> list[Any]:
    """A pipeline of plain images, of which the newest alone is to be kept."""
    image = {"archive": {"format": "squashfs", **archive}}
    store = {"store": {"path": str(site.store)}}
    return ["sqlite", image, store, {"prune": {"keep_last": 1}}]


def saved(site: Site, text: str) -> None:
    """Write something, and take a snapshot."""
    (site.home / "SOUL.md").write_text(text)
    status = site.run(stages(site))
    assert status.state == "done", status.error


def images(site: Site) -> list[str]:
    """The numbers of the snapshots whose image lies there."""
    return [it[:6] for it in site.snapshots() if it.endswith(".sqsh")]


def oldest(site: Site) -> Path:
    """The oldest image."""
    return min((site.store / "vps1" / "nightly").glob("*.sqsh"))


@contextmanager
def mounted(argv: list[str | Path], point: Path) -> Iterator[None]:
    """Mount an image by hand."""
    point.mkdir(exist_ok=True)
    subprocess.run([*argv, point], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--", point], check=True)


def events(site: Site) -> str:
    return (site.folder / "events.jsonl").read_text()


@AS_ROOT
@pytest.mark.parametrize("program", ["mount", "squashfuse"])
def test_an_image_stays_while_it_is_mounted(site: Site, tmp_path: Path, program: str) -> None:
    saved(site, "first\n")
    loop: list[str | Path] = ["mount", "-t", "squashfs", "-o", "loop,ro"]
    argv = [*(loop if program == "mount" else [program]), oldest(site)]
    with mounted(argv, tmp_path / "by-hand"):
        saved(site, "second\n")
        saved(site, "third\n")
        assert images(site) == ["000001", "000003"]
        assert "000001" in next(it for it in events(site).splitlines() if "stays, for it is mounted" in it)
        assert (tmp_path / "by-hand" / "SOUL.md").read_text() == "first\n"
        assert "000001" in "".join(site.snapshots())
    saved(site, "fourth\n")
    assert images(site) == ["000004"]
    assert "mounted" not in events(site)


@AS_ROOT
def test_another_name_of_a_mounted_image_is_that_image(site: Site, tmp_path: Path) -> None:
    saved(site, "first\n")
    os.link(oldest(site), tmp_path / "another-name")
    with mounted(["mount", "-t", "squashfs", "-o", "loop,ro", tmp_path / "another-name"], tmp_path / "by-hand"):
        saved(site, "second\n")
        assert images(site) == ["000001", "000002"]


@AS_ROOT
def test_an_image_mounted_where_its_path_leads_nowhere_is_known_by_its_name(site: Site, tmp_path: Path) -> None:
    saved(site, "first\n")
    image = oldest(site)
    (tmp_path / "elsewhere").mkdir()
    os.link(image, tmp_path / "elsewhere" / image.name)
    with mounted(
        ["mount", "-t", "squashfs", "-o", "loop,ro", tmp_path / "elsewhere" / image.name], tmp_path / "by-hand"
    ):
        (tmp_path / "elsewhere" / image.name).unlink()
        assert in_use([image]) == {image}


def test_a_file_that_a_process_reads_is_in_use(tmp_path: Path) -> None:
    for name in ("read", "free"):
        (tmp_path / name).write_text(name)
    argv = ["sh", "-c", 'exec 5<"$1"; echo ready; read -r line', "sh", str(tmp_path / "read")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"ready\n"
        assert in_use([tmp_path / "read", tmp_path / "free", tmp_path / "gone"]) == {tmp_path / "read"}
        reader.communicate()
    assert in_use([tmp_path / "read"]) == frozenset()
    assert in_use([]) == frozenset()
