"""Who is told of a failed run, and what: through apprise, over HTTP, to a server of the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.cli.mount_latest import tell_passed
from hermes_backup.errors import Fault
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.notifying import addresses, message, notify
from hermes_backup.pipeline.roaming.attaching import Attached
from hermes_backup.pipeline.status import Status, Trouble
from hermes_backup.snapshots.names import SnapshotName
from tests.servers import free_port

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise 2.2 imports it
NOW = datetime(2026, 11, 21, 3, 31, 5, tzinfo=timezone.utc)


@pytest.fixture
def heard() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that takes notes: its address for apprise, and what it heard."""
    notes: list[dict[str, Any]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            notes.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"json://127.0.0.1:{server.server_port}", notes
        server.shutdown()
        thread.join()


def status(**more: Any) -> Status:
    return Status(
        **{"run_id": "r", "pid": 1, "host": "vps1", "pipeline": "nightly", "started": NOW, "updated": NOW, **more}
    )


def test_a_failed_run_is_told_with_its_cause_and_its_mend(heard: tuple[str, list[dict[str, Any]]]) -> None:
    address, notes = heard
    trouble = Trouble(name="HB-DISK-FULL", what="no room left", mend="Free some room.")
    notify([address], *message("vps1", "nightly", status(state="failed", stage="store", error=trouble)))
    (note,) = notes
    assert note["title"] == "hermes-backup: vps1/nightly failed"
    assert note["message"].splitlines() == [
        "at 2026-11-21 03:31:05 UTC, in stage store",
        "no room left [HB-DISK-FULL]",
        "Free some room.",
    ]


@pytest.mark.parametrize("last", [None, status(), status(state="done"), status(state="unchanged")])
def test_a_run_without_a_last_word_is_not_taken_for_the_one_before(last: Status | None) -> None:
    title, text = message("vps1", "nightly", last)
    assert title == "hermes-backup: vps1/nightly failed"
    assert "killed" in text
    assert "hermes-backup logs INVENTORY vps1" in text


def test_one_who_is_not_reached_is_an_error_that_does_not_repeat_the_address(
    heard: tuple[str, list[dict[str, Any]]],
) -> None:
    address, notes = heard
    for bad in (f"json://user:secret-9@127.0.0.1:{free_port()}", "secret-9"):
        with pytest.raises(Fault) as caught:
            notify([bad, address], "title", "text")
        assert caught.value.kind.name == "HB-NOTIFY-FAILED"
        assert "address 1 of" in caught.value.what
        assert "secret-9" not in str(caught.value)
    assert len(notes) == 2  # the other one was told all the same


def test_nobody_to_tell_is_no_error() -> None:
    notify([], "title", "text")


def test_a_home_that_began_with_an_older_snapshot_is_told(
    heard: tuple[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, notes = heard
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert addresses() == []
    (tmp_path / "notify").write_text(f"{address}\n")
    name = SnapshotName(1, NOW)
    config = HostConfig.model_construct(host="agent")
    tell_passed(config, "snapshot", Attached(tmp_path, "unpack", name, resumed=False))
    tell_passed(config, "snapshot", Attached(tmp_path, "unpack", name, resumed=False, passed=("000002 is damaged",)))
    (note,) = notes
    assert note["title"] == "hermes-backup: agent/snapshot began with an older snapshot"
    assert (f"brought from {name}" in note["message"], "000002 is damaged" in note["message"]) == (True, True)
