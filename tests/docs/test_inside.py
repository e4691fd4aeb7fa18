"""What docs/inside.md says is done here, word for word."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.docs.test_docs import ROOT, block, desk, shell

__all__ = ["desk"]
PAGE = (ROOT / "docs" / "inside.md").read_text(encoding="utf-8")
BEGIN = """
hermes-backup init prod
$EDITOR inventory/prod/group_vars/all.yml
hermes-backup run prod
printf 'The owner has moved to Porto.\\n' >> .hermes/memories/MEMORY.md
hermes-backup run prod
"""


def test_the_page_works_as_it_is_written(desk: dict[str, str], tmp_path: Path) -> None:
    memory = tmp_path / ".hermes" / "memories" / "MEMORY.md"
    before = memory.read_text()
    shell(BEGIN, tmp_path, desk)
    said = shell(block("inside", PAGE), tmp_path, desk)
    for words in (
        "skills/weather",
        "1-2",
        "changed",
        "+The owner has moved to Porto.",
        "~ memories/MEMORY.md (content)",
    ):
        assert words in said
    assert said.endswith((tmp_path / ".hermes" / "SOUL.md").read_text())
    shell(block("one file back", PAGE), tmp_path, desk)
    assert (tmp_path / "as-it-was" / "memories" / "MEMORY.md").read_text() == before
    child = subprocess.Popen(["bash", "-c", f"exec {block('mount', PAGE)}"], cwd=tmp_path, env=desk)
    shown = tmp_path / "snapshot" / "memories" / "MEMORY.md"
    end = time.monotonic() + 60
    while not shown.exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert shown.read_text() == memory.read_text()
    os.kill(child.pid, signal.SIGTERM)
    assert child.wait(30) == 0
    assert not os.path.lexists(tmp_path / "snapshot")
