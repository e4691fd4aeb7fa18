"""hermes-agent itself opens what a drill brought back: its own code, without a network, and never its gateway."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import pytest

from hermes_backup.stages.check import Check
from hermes_backup.stages.checks.sandbox import sandbox
from tests.hermes.environment import hermes, hermes_python
from tests.keys import Recipient
from tests.pipeline.checking import checked
from tests.pipeline.forge import Forge, entry, tar_of
from tests.pipeline.test_check_full import counted, database
from tests.site import Site

AUTO = Check(hermes="auto")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with hermes-agent on PATH, and with a sandbox."""
    if sandbox(tmp_path) is None:
        pytest.skip("this machine gives no sandbox")
    monkeypatch.setenv("PATH", f"{hermes_python().parent}:/usr/bin:/bin")


@pytest.mark.parametrize("indexes", ["keep", "auto"])
def test_it_counts_what_the_manifest_counts(
    installed: None, tmp_path: Path, recipient: Recipient, indexes: str
) -> None:
    site = Site(tmp_path, recipient)
    done = subprocess.run(
        hermes("build_home.py", site.home, "--sessions", "3", "--messages", "5"), capture_output=True, check=True
    )
    assert json.loads(done.stdout)
    assert site.run([{"sqlite": {"search_indexes": indexes}}, *site.usual()[1:]]).state == "done"
    full = Check(depth="full", hermes="required")
    found = checked(site, full)
    assert found["hermes-agent"].evidence.startswith("opens it: 3 sessions, 15 messages (")
    searched = (
        ("search in messages_fts", "search in messages_fts_trigram") if indexes == "keep" else ("search indexes",)
    )
    assert all(found[f"state.db: {it}"].ok for it in searched)
    assert found["state.db: newest message"].verdict == "ok", found["state.db: newest message"]
    assert [it for it in found.values() if it.verdict == "failed"] == []

    def lose(root: Path) -> None:
        code = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
            "c.execute('DELETE FROM messages WHERE id = (SELECT max(id) FROM messages)'); c.commit(); c.close()"
        )
        subprocess.run([str(hermes_python()), "-c", code, str(root / "state.db")], check=True)

    found = checked(site, Check(counts="none", hermes="auto"), spoil=lose)
    assert found["hermes-agent"].verdict == "failed"
    assert found["hermes-agent"].evidence == "it counts 14 messages, not 15"


def test_it_is_reached_also_where_the_sandbox_hides_what_lies_there(
    forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment in /tmp, which bubblewrap hides: it starts, and finds no sessions in what is no home of its."""
    if sandbox(tmp_path) is None:
        pytest.skip("this machine gives no sandbox")
    real = hermes_python()
    with tempfile.TemporaryDirectory(dir="/tmp") as made_for_it:
        folder = Path(made_for_it)
        if real.is_relative_to("/tmp"):  # one environment there does not see the packages of another
            folder = real.parent.parent
        else:
            subprocess.run([str(real), "-m", "venv", "--without-pip", folder], check=True)
            (packages,) = folder.glob("lib/*/site-packages")
            (packages / "agent.pth").write_text(f"{next(real.parent.parent.glob('lib/*/site-packages'))}\n")
            (folder / "bin" / "hermes").write_text(f"#!{folder}/bin/python\n")
            (folder / "bin" / "hermes").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}/bin:/usr/bin:/bin")
        (tmp_path / "x").mkdir()
        made = database(tmp_path / "x" / "made.db")
        forge.publish(tar_of(entry("state.db", made)), databases=counted(tmp_path / "x" / "made.db"))
        found = checked(forge.site, AUTO, key=forge.key.public())["hermes-agent"]
    assert "sqlite3" in str(found.named), found


def test_a_home_of_another_version_is_not_proven_and_fails_where_it_must_be(
    installed: None, forge: Forge, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    database(tmp_path / "x" / "made.db")
    forge.publish(tar_of(entry("state.db", (tmp_path / "x" / "made.db").read_bytes())),
                  databases=counted(tmp_path / "x" / "made.db"))  # fmt: skip
    found = checked(forge.site, AUTO, key=forge.key.public())["hermes-agent"]
    assert (found.verdict, found.evidence) == ("unproven", "it cannot open the home; it may be of another version")
    found = checked(forge.site, Check(hermes="required"), key=forge.key.public())["hermes-agent"]
    assert found.verdict == "failed"


def test_where_it_is_not_installed(forge: Forge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    forge.publish(tar_of(entry("SOUL.md", b"me")))
    assert checked(forge.site, AUTO, key=forge.key.public())["hermes-agent"].evidence == "it is not installed here"
