"""Before anything is pruned, the newest snapshot comes back whole from its place: what a server tells is no proof."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import pytest

from hermes_backup.errors import Fault
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.prune_journal import PruneJournal
from hermes_backup.snapshots.retention import Rules
from hermes_backup.stages.expire import Thinned
from tests.pipeline.forge import FOLDER, pinned
from tests.pipeline.ground import Ground, ground
from tests.pipeline.lying import LyingFront, lying_front
from tests.servers import S3Server
from tests.site import Site
from tests.thinning import thin

__all__ = ["ground"]
_PRUNE = {"prune": {"keep_last": 1}}


@pytest.fixture
def front(s3_server: S3Server) -> Iterator[LyingFront]:
    with lying_front(s3_server) as made:
        yield made


def held(folder: Path) -> list[int]:
    """The numbers of the finished snapshots in a folder."""
    return sorted(int(it.name[:6]) for it in folder.glob("*.manifest.asc"))


@pytest.mark.parametrize("lie", ["cut", "changed"])
def test_a_server_that_lies_about_checksums_too_loses_no_good_snapshot(
    ground: Ground, front: LyingFront, lie: Literal["cut", "changed"]
) -> None:
    site = ground.site
    remote = f"liar:{front.server.bucket}/{site.root.name}"
    objects = front.server.root / front.server.bucket / site.root.name / FOLDER
    stages = [*site.usual()[:-1], {"push": {"to": [remote]}}, _PRUNE]
    assert site.run(stages, rclone_config=front.section).exit_code == 0
    front.lie = lie
    status = site.run(stages, rclone_config=front.section)
    assert status.error is not None, "the push passes, for the server says what was sent"
    assert (status.exit_code, status.error.name, status.stage) == (9, "HB-DATA-DAMAGED", "prune")
    assert status.error.where == remote
    assert status.error.what.startswith(f"{status.snapshot}, the newest here, does not come back whole: ")
    assert "Back up again" in status.error.mend
    assert held(objects) == [1, 2], "the last good one stays"
    ground.check_clean()
    front.lie = ""
    assert site.run(stages, rclone_config=front.section).exit_code == 0
    assert held(objects) == [3], "a whole one takes over"


def test_the_newest_is_read_back_once_and_only_where_something_goes(ground: Ground, front: LyingFront) -> None:
    site = ground.site
    remote = f"liar:{front.server.bucket}/{site.root.name}"
    stages = [*site.usual()[:-1], {"push": {"to": [remote]}}, {"prune": {"keep_last": 2}}]
    for _ in range(2):
        assert site.run(stages, rclone_config=front.section).exit_code == 0
    assert front.read() == []
    status = site.run(stages, rclone_config=front.section)
    assert status.exit_code == 0
    assert front.read() == [f"{status.snapshot}.tar.zst.gpg"]


def thinned(site: Site, *, dry_run: bool = False) -> Thinned:
    with pinned(site) as pin:
        place, now = FolderPlace(site.store), datetime.now(timezone.utc)
        journal = PruneJournal(site.root / "prune.json")
        return thin(place, ("vps1", "nightly"), Rules(keep_last=1), pin, now, journal, dry_run=dry_run)


@pytest.mark.parametrize("part", ["*.tar.*", "*.index.*"])
def test_a_folder_of_this_machine_is_read_back_too(site: Site, part: str) -> None:
    for _ in range(2):
        assert site.run().exit_code == 0
    (path,) = (site.store / FOLDER).glob(f"000002-{part}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Fault, match=r" 000002-.*, the newest here, does not come back whole: .*SHA-256") as caught:
        thinned(site)
    assert (caught.value.kind.name, caught.value.where) == ("HB-DATA-DAMAGED", str(site.store))
    assert held(site.store / FOLDER) == [1, 2]
    assert [it.keep for it in thinned(site, dry_run=True).decisions] == [False, True], "a dry run reads no data"
