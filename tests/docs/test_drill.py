"""The runbook of the drill is done as it is written."""

from __future__ import annotations

from pathlib import Path

from tests.docs.test_docs import ROOT, block, desk, shell

__all__ = ["desk"]
PAGE = (ROOT / "docs" / "drill.md").read_text(encoding="utf-8")


def test_the_runbook_works_as_it_is_written(desk: dict[str, str], tmp_path: Path) -> None:
    made = "hermes-backup init prod\n$EDITOR inventory/prod/group_vars/all.yml\nhermes-backup run prod\n"
    shell(made, tmp_path, desk)
    said = shell(block("drill", PAGE), tmp_path, desk)
    assert said.count("1 passed") == 3
    assert "the next is due in" in said
    assert "OnCalendar=*-01,04,07,10-05 04:00" in said
    (tmp_path / "auditor").mkdir(mode=0o700)
    auditor = {**desk, "REMOTE": f"{tmp_path}/remote", "GNUPGHOME": f"{tmp_path}/auditor"}
    report = shell(block("evidence", PAGE), tmp_path, auditor)
    assert '"result": "passed"' in report
