"""What the modules read of systemd and of a run's files, on recorded words of systemd 252 and 257."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fleet.test_modules import PLAYBOOKS, call

SHOWN = """\
NextElapseUSecRealtime=Sun 2026-11-22 03:30:05 UTC
NextElapseUSecMonotonic=0
Result=success
Id=hb@night.timer
ActiveState=active
InactiveExitTimestamp=Sat 2026-11-21 12:32:15 UTC
InvocationID=dac6b249d50947ad8c59c5db80d63a8b

NextElapseUSecRealtime=
NextElapseUSecMonotonic=3h 53min 59.611972s
Result=success
Id=hb@often.timer
ActiveState=active
InactiveExitTimestamp=Sat 2026-11-21 12:32:15 UTC
InvocationID=1f0fc85b1cc04ac0a2b6f40f528815b5

NextElapseUSecRealtime=
NextElapseUSecMonotonic=infinity
Result=success
Id=hb@none.timer
ActiveState=inactive
InactiveExitTimestamp=
InvocationID=

Result=exit-code
Id=hbc@x.service
ActiveState=failed
InactiveExitTimestamp=Sat 2026-11-21 12:32:15 UTC
InvocationID=ed54de24bc7b4bf18bda6da115860d66
"""
NOW = 1795264335.0
"""Sat 2026-11-21 12:32:15 UTC"""


@pytest.fixture(scope="module")
def units() -> Any:
    spec = importlib.util.spec_from_file_location("units", PLAYBOOKS / "module_utils" / "hermes_backup_units.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_unit_has_its_own_block(units: Any) -> None:
    shown = units.parse(SHOWN)
    assert list(shown) == ["hb@night.timer", "hb@often.timer", "hb@none.timer", "hbc@x.service"]
    assert (shown["hbc@x.service"]["Result"], shown["hbc@x.service"]["ActiveState"]) == ("exit-code", "failed")
    assert units.parse("") == {}
    assert units.parse("Failed to connect to bus: No such file or directory\n") == {}


def test_when_a_timer_elapses_next(units: Any) -> None:
    shown = units.parse(SHOWN)
    uptime = 14040.0

    def following(name: str) -> Any:
        return units.iso(units.next_elapse(shown.get(name, {}), NOW, uptime))

    assert following("hb@night.timer") == "2026-11-22T03:30:05Z"
    assert following("hb@often.timer") == "2026-11-21T12:32:14Z"
    assert following("hb@none.timer") is None
    assert following("hb@gone.timer") is None
    both = {**shown["hb@night.timer"], "NextElapseUSecMonotonic": "1d 3h 54min"}
    assert units.next_elapse(both, NOW, uptime) == units.moment("Sun 2026-11-22 03:30:05 UTC")
    assert units.next_elapse({**both, "NextElapseUSecMonotonic": "3h 54min 1s"}, NOW, uptime) == NOW + 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", None),
        ("infinity", None),
        ("", None),
        ("1us", 1e-6),
        ("5ms", 0.005),
        ("2min", 120),
        ("1month", 2629800),
        ("1y 2w 3d", 31557600 + 14 * 86400 + 3 * 86400),
    ],
)
def test_spans(units: Any, text: str, seconds: float | None) -> None:
    assert units.span(text) == seconds


@given(st.integers(0, 4_000_000_000))
def test_a_time_comes_back_as_it_was_written(seconds: int) -> None:
    spec = importlib.util.spec_from_file_location("units", PLAYBOOKS / "module_utils" / "hermes_backup_units.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.iso(seconds)
    assert module.moment(f"Sat {text[:10]} {text[11:19]} UTC") == seconds


@pytest.mark.parametrize("text", ["", "n/a", "Sat", "Sat 2026-13-45 99:00:00 UTC"])
def test_what_is_no_time(units: Any, text: str) -> None:
    assert units.moment(text) is None


def test_a_program_that_is_not_there_says_nothing(units: Any) -> None:
    said, complaint = units.output_of(["/nonexistent"])
    assert (said, "No such file" in complaint) == ("", True)


@pytest.mark.parametrize(
    "name", ["library/hermes_backup_report", "library/hermes_backup_logs", "module_utils/hermes_backup_units"]
)
def test_the_modules_are_plain_old_python(name: str) -> None:
    text = (PLAYBOOKS / f"{name}.py").read_text()
    ast.parse(text, feature_version=(3, 8))
    assert "removeprefix" not in text
    assert "import hermes_backup\n" not in text


class Folder:
    """The state of a pipeline as agents leave it, made by hand."""

    def __init__(self, root: Path) -> None:
        self.state = root
        self.path = root / "vps1" / "nightly"
        self.path.mkdir(parents=True)

    def status(self, run_id: str, started: str) -> None:
        (self.path / "status.json").write_text(json.dumps({"run_id": run_id, "started": started}))
        (self.path / "events.jsonl").write_text(
            json.dumps(
                {"time": started, "event": "finished", "state": "failed", "error": {"what": "w", "name": "HB-X"}}
            )
        )

    def logs(self, lines: int = 10) -> dict[str, Any]:
        where = {"host": "vps1", "pipeline": "nightly", "state": str(self.state), "unit": "no-such-unit"}
        return call("hermes_backup_logs", job=json.dumps({**where, "lines": lines}))


def test_of_several_runs_the_one_that_began_last(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.status("20261121T033000Z-aaaa", "2026-11-21T03:30:01Z")
    (folder.path / "agent-20261120T033000Z-bbbb.log").write_text("older\n")
    answer = folder.logs()
    assert (answer["run_id"], answer["silent"]) == ("20261121T033000Z-aaaa", [])
    assert answer["lines"] == ["2026-11-21 03:30:01 finished: failed: w [HB-X]"]
    later = folder.path / "agent-20261121T050000Z-cccc.log"
    later.write_text('warning\n{\n "error": {"name": "HB-LOCKED", "what": "busy", "mend": "Wait."}\n}\n')
    assert folder.logs()["lines"] == ["warning", "busy [HB-LOCKED]", "Wait."]
    later.write_text("")
    answer = folder.logs()
    assert (answer["run_id"], answer["silent"]) == ("20261121T033000Z-aaaa", ["20261121T050000Z-cccc"])


def test_what_is_broken_is_shown_as_it_is(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    (folder.path / "status.json").write_text("[]")
    assert folder.logs()["error"]["name"] == "HB-LOG-MISSING"
    folder.status("20261121T033000Z-aaaa", "2026-11-21T03:30:01Z")
    (folder.path / "events.jsonl").write_bytes(b'{"event": 7}\n\xff\n{"time": 1, "event": "e", "error": "text"}\nend')
    assert folder.logs(3)["lines"] == ["\ufffd", '{"time": 1, "event": "e", "error": "text"}', "end"]
