"""What came out is compared with what the manifest promises: rows, databases, files that must be there."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.errors import Fault
from hermes_backup.pipeline.executor import execute
from hermes_backup.pipeline.model import parse_stage
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.manifest import Database
from hermes_backup.stages.check import Check
from hermes_backup.stages.context import Context, Teardown
from hermes_backup.stages.decrypt import Decrypt
from hermes_backup.stages.extract import Extract
from hermes_backup.stages.fetch import fetched
from hermes_backup.stages.ledger import Ledger
from hermes_backup.stages.things import Report
from hermes_backup.streams.folders import private_folder
from hermes_backup.streams.keys import Keyring
from tests.pipeline.forge import Forge, Witness, bring_back, entry, pinned, refused, tar_of
from tests.site import Site, fill


def database(path: Path, *changes: str) -> bytes:
    """A database without a log beside it."""
    fill(path, 20)
    connection = sqlite3.connect(path)
    for change in changes:
        connection.execute(change)
    connection.commit()
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    return path.read_bytes()


def promise(tables: dict[str, int], path: str = "state.db") -> tuple[Database, ...]:
    return (Database(path=path, page_size=4096, pages=3, tables=tables),)


def test_what_agrees_is_brought_back_with_evidence(forge: Forge, tmp_path: Path) -> None:
    forge.publish(tar_of(entry("state.db", database(tmp_path / "a.db"))), databases=promise({"messages": 20}))
    done = bring_back(forge.site, key=forge.key.public())
    assert [(it.what, it.ok, it.evidence) for it in done.report.findings] == [
        ("state.db", True, "whole, 20 rows in 1 tables")
    ]


@pytest.mark.parametrize(
    ("changes", "tables", "said"),
    [
        (("DELETE FROM messages WHERE id = 7",), {"messages": 20}, "state.db: messages 19 rows, not 20"),
        (("INSERT INTO messages (content) VALUES ('x')",), {"messages": 20}, "state.db: messages 21 rows, not 20"),
        (("DROP TABLE messages",), {"messages": 20}, "state.db: messages None rows, not 20"),
        (("CREATE TABLE more (x)",), {"messages": 20}, "state.db: more 0 rows, not None"),
    ],
)
def test_rows_that_are_missing_or_too_many(
    changes: tuple[str, ...], tables: dict[str, int], said: str, forge: Forge, tmp_path: Path
) -> None:
    forge.publish(tar_of(entry("state.db", database(tmp_path / "a.db", *changes))), databases=promise(tables))
    assert said in refused(forge.site, "HB-RESTORE-CHECK", key=forge.key.public()).what


def test_a_database_that_is_missing_damaged_or_has_a_log_beside_it(forge: Forge, tmp_path: Path) -> None:
    whole = database(tmp_path / "a.db")
    damaged = whole[:4096] + b"\x55" * 4096 + whole[8192:]
    for number, (entries, said) in enumerate(
        [
            ([entry("other.db", whole)], "state.db: missing"),
            ([entry("state.db", damaged)], "damaged"),
            ([entry("state.db", whole[:5000])], "damaged"),
            ([entry("state.db", b"")], "empty"),
            ([entry("state.db", b"not a database" * 100)], "header"),
            ([entry("state.db", whole), entry("state.db-wal", b"left over")], "-wal"),
            ([entry("state.db", whole), entry("state.db-journal", b"left over")], "-journal"),
        ],
        1,
    ):
        forge.publish(tar_of(*entries), number=number, databases=promise({"messages": 20}))
        assert said in refused(forge.site, "HB-RESTORE-CHECK", key=forge.key.public()).what


def checked(site: Site, check: Check, follower: Witness) -> Report:
    """Run the stages of a drill."""
    (site.root / "drill").mkdir(exist_ok=True)
    with private_folder(site.root / "drill", "drill-") as folder, pinned(site) as pin:
        context = Context(
            host="vps1", pipeline="nightly", now=datetime.now(timezone.utc), folder=folder, ledger=Ledger(folder),
            keyring=Keyring(None), gnupghome=site.recipient.gnupghome, host_key=None, pinned=pin, rclone_config=None,
            own_controller=False, if_changed=False, settings="", listener=follower, teardown=Teardown(),
        )  # fmt: skip
        snapshot = fetched(FolderPlace(site.store), "latest", context)
        report: Report = execute((Decrypt(), Extract(), check), snapshot, context, follower)
        return report


def test_what_must_be_present_is_looked_for(site: Site) -> None:
    (site.home / "BARE.md").touch()
    (site.home / "broken").symlink_to("nowhere")
    site.run()
    report = checked(
        site, Check(depth="quick", present=("SOUL.md", "memories/MEMORY.md", "empty", "current")), Witness()
    )
    assert [it.evidence for it in report.findings] == [*["present"] * 4, "whole, 200 rows in 1 tables"]
    with pytest.raises(Fault) as caught:
        checked(
            site, Check(depth="quick", present=("SOUL.md", "memories/USER.md", "logs", "BARE.md", "broken")), Witness()
        )
    assert (caught.value.kind.name, int(caught.value.kind.exit_code)) == ("HB-RESTORE-CHECK", 9)
    assert caught.value.what == (
        "memories/USER.md: missing; logs: missing; BARE.md: an empty file; broken: a link to nowhere"
    )
    assert list((site.root / "drill").iterdir()) == []


@pytest.mark.parametrize("name", ["/etc/hostname", "../outside", "a/../../b", ""])
def test_presence_is_asked_of_the_home_only(name: str) -> None:
    made: Any = parse_stage({"check": {"present": [name]}})
    assert "is not a path inside the home" in made[0].what
