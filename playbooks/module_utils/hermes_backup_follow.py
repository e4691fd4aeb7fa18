"""How modules of hermes-backup wait for a run that goes on."""

from __future__ import annotations

import time

from ansible.module_utils.hermes_backup_host import read_status, started_at, tail, told_error
from ansible.module_utils.hermes_backup_units import journal, unit_state

PAUSE = 0.1
BAD = ("failed", "interrupted")
LAST_LINES = 15


def at_work(run):
    """Return whether the run goes on."""
    if run["unit"]:
        busy, run_id = unit_state(run["unit"])
        return busy and run_id == run["run_id"]
    return run["started_at"] and started_at(run["pid"]) == run["started_at"]


def last_words(run):
    """Return the end of what the run said to people."""
    return "\n".join(journal(run["run_id"], LAST_LINES)[0]) if run["unit"] else ""


def lost(run):
    """Say why the agent went without a status."""
    said = last_words(run) if run["unit"] else tail(run["log"])
    error = told_error(said)
    if error is not None:
        return error
    what = f"the agent broke: {said}" if said else "the agent ended without a word, as a killed process does"
    return {"name": "HB-STAGE-FAILED", "what": what, "where": run["unit"] or run["log"]}


def follow(run, path, wait):
    """Return how far the run of a status file is, at its end or after so many seconds: a module's result."""
    until = time.monotonic() + wait
    while True:
        alive = at_work(run)
        status = read_status(path, run["run_id"])  # after the look at the process: its last word counts
        if status is not None and status["state"] != "running":
            bad = status["state"] in BAD
            what = (status.get("error") or {}).get("what", status["state"]) if bad else ""
            said = last_words(run) if bad else ""
            return {"finished": True, "status": status, "failed": bad, "msg": what, "log_tail": said}
        if not alive:
            error = lost(run)
            return {"finished": True, "status": status, "failed": True, "msg": error.get("what", ""), "error": error}
        if time.monotonic() >= until:
            return {"finished": False, "status": status}
        time.sleep(PAUSE)
