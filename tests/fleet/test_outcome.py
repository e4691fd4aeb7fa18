"""What a run says afterwards: exit codes, rows, amounts, chosen hosts, pins."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hermes_backup.errors import (
    COMMAND_FAILED,
    HOST_UNREACHABLE,
    INTERRUPTED,
    LOCKED,
    STAGE_FAILED,
    ExitCode,
    Fault,
    Kind,
)
from hermes_backup.fleet.outcome import HostRun, broken, exit_code, fault_from
from hermes_backup.fleet.pins import fingerprint, pin
from hermes_backup.fleet.view import Row, line, live, summary
from hermes_backup.pipeline.amounts import harmless, show_seconds, show_size
from hermes_backup.pipeline.status import PartialFile, Status
from tests.keys import KeyMaker

START = datetime(2026, 11, 21, 3, 30, tzinfo=timezone.utc)


def status(seconds: float = 10, **more: Any) -> Status:
    known = {"run_id": "r", "pid": 1, "host": "vps1", "pipeline": "nightly", "started": START}
    return Status(**{**known, "updated": START + timedelta(seconds=seconds), **more})


def run(code: int = 0, kind: Kind | None = None) -> HostRun:
    return HostRun("vps1", status(exit_code=code), None if kind is None else Fault(kind, "x"))


@pytest.mark.parametrize(
    ("runs", "interrupted", "code"),
    [
        ([run(0)], False, 0),
        ([run(4)], False, 4),
        ([run(5, COMMAND_FAILED)], False, 5),
        ([run(7, LOCKED)], False, 7),
        ([HostRun("a", None, Fault(HOST_UNREACHABLE, "x"))], False, 6),
        ([HostRun("a", None)], False, 6),
        ([run(0), run(0)], False, 0),
        ([run(0), run(4)], False, 4),
        ([run(0), run(5, STAGE_FAILED)], False, 6),
        ([run(7, LOCKED), run(7, LOCKED)], False, 6),
        ([run(0), run(0)], True, 130),
        ([run(130, INTERRUPTED)], True, 130),
    ],
)
def test_exit_codes(runs: Sequence[HostRun], interrupted: bool, code: int) -> None:
    assert exit_code(runs, interrupted=interrupted) == code


def test_faults_by_name() -> None:
    fault = fault_from("vps1", {"name": "HB-LOCKED", "what": "w", "where": "push"})
    assert (fault.kind, fault.where, fault.mend) == (LOCKED, "vps1: push", LOCKED.mend)
    assert fault_from("vps1", {"name": "HB-FROM-THE-FUTURE", "what": "w"}).kind is STAGE_FAILED
    assert broken("vps1", {"msg": "", "module_stderr": "sudo: no"}).what == "sudo: no"
    assert broken("vps1", {}).kind.exit_code == ExitCode.HOSTS


def text(what: Any, width: int) -> list[str]:
    out = StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False).print(what)
    return out.getvalue().splitlines()


RUNS = (
    HostRun(
        "vps1",
        status(
            74,
            state="done",
            exit_code=0,
            snapshot="000123-20261121T033000Z",
            files=12345,
            bytes=10**9,
            stored=212 * 10**6,
            places=("/var/backups/hermes", "r2:hermes-backups"),
        ),
    ),
    HostRun(
        "a-host-with-a-very-long-name.example.org",
        status(
            4000,
            state="partial",
            exit_code=4,
            snapshot="000007-20261121T033000Z",
            files=1,
            partial=tuple(PartialFile(path=f"f{it}", reason="changed") for it in range(8)),
            warnings=("w1",),
        ),
    ),
    HostRun("db", None, Fault(HOST_UNREACHABLE, "no\x1b[31m answer", where="db")),
    HostRun("old", None, Fault(INTERRUPTED, "stopped", where="old")),
)


@pytest.mark.parametrize("width", [80, 140])
def test_the_summary_fits_and_shortens_no_number(width: int) -> None:
    lines = text(summary(RUNS, width), width)
    assert max(map(len, lines)) <= width
    said = "\n".join(lines)
    for word in ("000123-20261121T033000Z", "12,345", "1.0 GB", "212 MB", "1:14", "1:06:40", "interrupted"):
        assert word in said
    for place in ("/var/backups/hermes", "r2:hermes-backups"):
        assert place in said
    assert "is partial, 8 files:" in said
    assert "    f4: changed" in said
    assert "    and 3 more" in said
    assert "f5" not in said
    assert "HB-HOST-UNREACHABLE" in said
    assert "\x1b" not in said


@pytest.mark.parametrize("width", [80, 140])
def test_the_live_table_tells_rate_and_time_left(width: int) -> None:
    row = Row("vps1")
    for second in range(5):
        row = row.with_status(status(second, stage="archive", done=second * 10**7, total=10**8))
    lines = text(live((row, Row("db")), 4.0, width), width)
    assert max(map(len, lines)) <= width
    for word in ("archive", "40 MB / 100 MB", "10 MB/s", "6.0 s"):
        assert word in lines[1]
    assert "starting" in lines[2]
    assert lines[3].strip() == "elapsed 4.0 s"


def test_a_rate_begins_anew_with_each_stage() -> None:
    row = Row("a").with_status(status(0, stage="sqlite", done=5)).with_status(status(1, stage="sqlite", done=10))
    assert row.rate == 5
    row = row.with_status(status(2, stage="archive", done=10))
    assert (row.rate, row.left) == (0, None)


def test_a_line_for_where_there_is_no_terminal() -> None:
    assert line("a", status(stage="push")) == "a: push"
    assert line("a", status(stage="push", state="done")) == "a: done"


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345, "12 kB"), (10**9, "1.0 GB"), (45 * 10**15, "45 PB")],
)
def test_sizes(count: int, said: str) -> None:
    assert show_size(count) == said


@pytest.mark.parametrize(("seconds", "said"), [(0.84, "0.8 s"), (42, "42 s"), (187, "3:07"), (7387, "2:03:07")])
def test_times(seconds: float, said: str) -> None:
    assert show_seconds(seconds) == said


def test_foreign_text_cannot_steer_the_terminal() -> None:
    assert harmless("a\x1b[2Jb\nc\x07") == "a\\x1b[2Jb\nc\\x07"


def test_a_key_is_pinned_once(tmp_path: Path, key_maker: KeyMaker) -> None:
    first, second = (key_maker.make("ed25519", "sign", "never") for _ in range(2))
    folder = tmp_path / "keys" / "hosts"
    assert pin(folder, "vps1", first.public)
    assert not pin(folder, "vps1", first.public)
    assert stat.S_IMODE((folder / "vps1.asc").stat().st_mode) == 0o644
    assert fingerprint((folder / "vps1.asc").read_text()) == first.fingerprint
    with pytest.raises(Fault) as caught:
        pin(folder, "vps1", second.public)
    assert caught.value.kind.name == "HB-HOST-KEY-CHANGED"
    assert first.fingerprint in caught.value.what
    assert second.fingerprint in caught.value.what
    (folder / "vps1.asc").write_text("\n" + first.public + "a comment\n")
    assert not pin(folder, "vps1", first.public)


def test_what_is_no_key_is_not_pinned(tmp_path: Path, key_maker: KeyMaker) -> None:
    with pytest.raises(Fault) as caught:
        pin(tmp_path, "vps1", "nothing")
    assert caught.value.kind.name == "HB-KEY-INVALID"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "vps1.asc").write_text("nothing")
    with pytest.raises(Fault) as caught:
        pin(tmp_path, "vps1", key_maker.make("ed25519", "sign", "never").public)
    assert caught.value.kind.name == "HB-KEY-INVALID"
