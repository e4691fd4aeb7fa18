"""The commands where the newest snapshot is damaged, deleted or not given: none takes an older one unasked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_inside import make_desk
from tests.cli.test_snapshots import Desk
from tests.keys import Recipient
from tests.servers import ColdFront, S3Server, write_config


@pytest.fixture
def desk(tmp_path: Path, recipient: Recipient) -> Desk:
    return make_desk(tmp_path, recipient)


def cut(desk: Desk, number: int) -> None:
    data = next(desk.remote.glob(f"{number:06d}-*.tar.zst.gpg"))
    os.truncate(data, data.stat().st_size - 1)


def test_no_command_takes_an_older_one_for_a_newest_that_is_damaged(desk: Desk) -> None:
    desk.backup()
    (desk.root / "home" / "SOUL.md").write_text("newer\n")
    desk.backup()
    cut(desk, 2)
    for words in (
        ("restore", "prod", "vps1", "--to", "x"),
        ("restore", "prod", "vps1", "--in-place"),
        ("cat", "prod", "vps1", "latest", "SOUL.md"),
        ("diff", "prod", "vps1", "1"),
        ("mount", "prod", "vps1", "x"),
    ):
        done = desk.call(*words)
        assert done.returncode == 9, (words, done.stdout, done.stderr)
        assert ("HB-DATA-DAMAGED" in done.stderr, "000002-" in done.stderr, done.stdout) == (True, True, "")
        assert "name it instead of latest: 000001-" in done.stderr
    assert not (desk.root / "x").exists()
    assert (desk.root / "home" / "SOUL.md").read_text() == "newer\n"
    assert desk.call("cat", "prod", "vps1", "1", "SOUL.md").stdout == "I am the test.\n"
    done = desk.call("cat", "prod", "vps1", "0 days ago", "SOUL.md")
    assert (done.returncode, done.stdout) == (0, "I am the test.\n"), done.stderr
    assert "warning: fetch:" in done.stderr
    assert "000002-" in done.stderr


def test_a_newest_that_was_deleted_is_told_by_who_knows_of_it(desk: Desk) -> None:
    desk.backup(2)
    for file in desk.remote.glob("000002-*"):
        file.unlink()
    told = desk.json("list", "prod")
    assert [it["snapshot"][:7] for it in told["snapshots"]] == ["000001-"]
    assert [it["name"] for it in told["warnings"]] == ["HB-ROLLBACK"]
    assert "000002-" in told["warnings"][0]["what"]
    (place,) = desk.json("verify", "prod", code=9)["places"]
    assert [(it["name"], "the ledger of this machine" in it["what"]) for it in place["chain"]] == [
        ("HB-ROLLBACK", True)
    ]
    told = desk.json("status", "prod", code=10)
    assert [(it["name"], it["grave"]) for it in told["concerns"] if it["name"] == "HB-ROLLBACK"] == [
        ("HB-ROLLBACK", True)
    ]
    desk.backup()
    assert desk.json("list", "prod")["warnings"] == []


def test_a_newest_whose_manifest_was_taken_away_is_no_push_under_way(desk: Desk) -> None:
    """It is a minute old, but this machine knows that it was finished."""
    desk.backup(2)
    for file in desk.remote.glob("000002-*.manifest.asc"):
        file.unlink()
    (place,) = desk.json("verify", "prod", code=9)["places"]
    assert [it["name"] for it in place["chain"]] == ["HB-ROLLBACK"]


@pytest.fixture
def cold(desk: Desk, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[ColdFront]:
    """The desk's remote is a bucket, through a front that may refuse objects."""
    operator = desk.root / "operator" / ".config" / "rclone"
    operator.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(desk.root / "operator"))
    with ColdFront(s3_server) as front:
        write_config(operator / "rclone.conf", front.section)
        remote = f"r2:{s3_server.bucket}/{desk.root.name}"
        variables = desk.root / "inventory" / "prod" / "group_vars" / "all.yml"
        text = variables.read_text().replace(f"[{desk.root}/remote]", f"['{remote}']")
        section = "".join(f"  {line}\n" for line in front.section.splitlines())
        variables.write_text(f"hermes_backup_rclone_config: |\n{section}{text}")
        yield front


def test_one_cold_manifest_stops_only_what_needs_it(desk: Desk, cold: ColdFront) -> None:
    desk.declare("prune: {keep_last: 1}")
    text = (variables := desk.root / "inventory" / "prod" / "group_vars" / "all.yml").read_text()
    variables.write_text(text.replace("      - prune: {keep_last: 1}\n", ""))
    desk.backup(3)
    variables.write_text(text)
    cold.cold = ("/000001-",)
    told = desk.json("list", "prod")
    assert [it["state"] for it in told["snapshots"]] == ["unreadable", "complete", "complete"]
    assert unread(told["warnings"])
    back = desk.json("restore", "prod", "vps1", "--to", "back")
    assert (back["snapshot"][:7], "000001-" in " ".join(back["warnings"])) == ("000003-", True)
    (place,) = desk.json("verify", "prod", code=9)["places"]
    assert [it["error"] and it["error"]["name"] for it in place["snapshots"]] == ["HB-SNAPSHOT-UNREADABLE", None, None]
    found = desk.json("find", "prod", "vps1", "SOUL.md", code=5)
    assert [[it[:7] for it in one["snapshots"]] for one in found["found"]] == [["000002-", "000003-"]]
    assert unread(found["errors"])
    assert unread(desk.json("history", "prod", "vps1", "SOUL.md", code=5)["errors"])
    pruned = desk.json("prune", "prod", code=5)
    assert [it[:7] for it in pruned["places"][0]["deleted"]] == ["000002-"]
    assert unread(pruned["errors"])
    assert [it["snapshot"][:7] for it in desk.json("list", "prod")["snapshots"]] == ["000001-", "000003-"]
    cold.cold = ("/000003-",)
    done = desk.call("restore", "prod", "vps1", "--to", "x")
    assert (done.returncode, "HB-SNAPSHOT-UNREADABLE" in done.stderr) == (5, True), done.stderr
    assert "name it instead of latest: 000001-" in done.stderr
    assert not (desk.root / "x").exists()


def unread(errors: list[dict[str, Any]]) -> bool:
    """Whether these are one, and it names the manifest that is not given, and what the remote said."""
    (error,) = errors
    said = error["where"] + error["what"]
    return error["name"] == "HB-SNAPSHOT-UNREADABLE" and "000001-" in said and "GLACIER" in said
