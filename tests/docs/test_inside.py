"""What docs/inside.md says is done here, word for word."""

from __future__ import annotations

import os
import signal
import subprocess
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
    words = ["bash", "-c", f"exec {block('mount', PAGE)}"]
    child = subprocess.Popen(words, cwd=tmp_path, env=desk, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert "until Ctrl-C" in child.stdout.readline()
    assert (tmp_path / "snapshot" / "memories" / "MEMORY.md").read_text() == memory.read_text()
    child.send_signal(signal.SIGTERM)
    assert child.communicate(timeout=120) == ("", None)
    assert child.returncode == 0
    assert not os.path.lexists(tmp_path / "snapshot")
