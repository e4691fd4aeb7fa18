"""Runs that are killed when their full snapshot is out, and is not kept yet for the deltas that would follow it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.pipeline.forge import faults, verified
from tests.pipeline.ground import Ground, ground
from tests.pipeline.test_delta import (
    back_up,
    base_folder,
    came_back,
    comes_full,
    grow,
    manifest,
    nearly_all_new,
    noisy,
    stages,
)

__all__ = ["ground"]
site = pytest.fixture(noisy)
DYING = str(Path(__file__).with_name("dying.py"))
NONE = "no full one is remembered"


@pytest.mark.parametrize(
    ("event", "path", "said"),
    [
        ("shutil.rmtree", "", "a later full one than 000001"),
        ("os.mkdir", "", NONE),
        ("os.rename", "/*.tar.zst", NONE),
        ("os.rename", "/base.json", NONE),
    ],
    ids=["before the old one goes", "when it is gone", "before the new one comes", "before it is told of"],
)
def test_after_a_full_one_that_was_not_kept_comes_another(ground: Ground, event: str, path: str, said: str) -> None:
    site = ground.site
    back_up(site)
    nearly_all_new(site)
    dying = [sys.executable, DYING, event, f"{base_folder(site)}{path}"]
    ended = ground.end(ground.start(stages(site), under=dying))
    assert ended.code == -9, ended
    assert manifest(site, "000002").kind == "full"
    came_back(site, "killed")
    grow(noisy(site))
    comes_full(site, said)
    assert not faults(verified(site))
    ground.check_clean()
