#!/usr/bin/python
"""Return what the last run of a pipeline said."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hermes_backup_logs
short_description: Return what the last run of a pipeline of hermes-backup said
description:
  - Of a run that a unit of systemd did, the journal; of others, the events that the agent wrote down and what it
    printed. The last run is the one that began last, also when it broke before the agent could say anything.
options:
  job:
    description:
      - JSON with C(host), C(pipeline), C(state), C(unit), C(lines).
    type: str
    required: true
author: hermes-backup
"""

EXAMPLES = r"""
- name: Read
  hermes_backup_logs:
    job: "{{ lookup('ansible.builtin.file', path) }}"
"""

RETURN = r"""
run_id:
  description: Which run.
  type: str
  returned: success
source:
  description: The unit, or the file.
  type: str
  returned: success
silent:
  description: Runs that began later and left nothing.
  type: list
  elements: str
  returned: success
lines:
  description: What it said, oldest first.
  type: list
  elements: str
  returned: success
"""

import calendar
import glob
import json
import os
import re
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.hermes_backup_host import status_file
from ansible.module_utils.hermes_backup_units import is_booted, journal, moment, show

INVOCATION = re.compile(r"[0-9a-f]{32}")
LOG = re.compile(r"agent-(.+)\.log")
LONGEST = 4 * 1024 * 1024


def began_of(run_id):
    """Return when a run began by the time in its id; None for an id without one."""
    try:
        return float(calendar.timegm(time.strptime(run_id[:16], "%Y%m%dT%H%M%SZ")))
    except ValueError:
        return None


def by_status(folder):
    """Return the run that wrote the status: when it began, and its id."""
    try:
        with open(os.path.join(folder, "status.json"), encoding="utf-8") as file:
            status = json.load(file)
        return [(moment("- " + status["started"].replace("T", " ")[:19]) or 0.0, str(status["run_id"]))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def by_logs(folder):
    """Return the runs that the controller started."""
    for path in glob.glob(os.path.join(glob.escape(folder), "agent-*.log")):
        run_id = LOG.fullmatch(os.path.basename(path)).group(1)
        yield began_of(run_id) or os.path.getmtime(path), run_id


def by_unit(unit):
    """Return the run that systemd started last; the unit may have broken before the agent could say anything."""
    service = show([unit + ".service"]).get(unit + ".service", {})
    began = moment(service.get("InactiveExitTimestamp", ""))
    return [(began, service["InvocationID"])] if began is not None and service.get("InvocationID") else []


def by_systemd(run_id, lines):
    """Return what a run of the unit said, and systemd about it."""
    if not is_booted() or not INVOCATION.fullmatch(run_id):
        return [], ""
    return journal(run_id, lines, "short-iso", ["+", "INVOCATION_ID=" + run_id, "_PID=1"])


def ending(path):
    """Return the end of a file, none for no file."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - LONGEST))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def told(line):
    """Write an event as people read it."""
    try:
        row = json.loads(line)
        at, kind = str(row.pop("time"))[:19].replace("T", " "), str(row.pop("event"))
        error = row.pop("error", None)
        if error:
            row["error"] = f"{error['what']} [{error['name']}]"
    except (ValueError, KeyError, AttributeError, TypeError):
        return line
    if "exit_code" in row:
        row["exit_code"] = f"exit code {row['exit_code']}"
    words = [", ".join(map(str, it)) if isinstance(it, list) else str(it) for it in row.values() if it is not None]
    return ": ".join([at + " " + kind, *words])


def printed(text):
    """Return what an agent printed, but not the JSON at its end: of that, only an error that came before any status."""
    for match in re.finditer(r"^\{$", text, re.MULTILINE):
        try:
            data, end = json.JSONDecoder().raw_decode(text[match.start() :])
        except ValueError:
            continue
        error = data.get("error") or {}
        said = [] if "run_id" in data else [f"{error.get('what')} [{error.get('name')}]", str(error.get("mend"))]
        if error or "run_id" in data:
            return (text[: match.start()] + "\n".join(said) + text[match.start() + end :]).splitlines()
    return text.splitlines()


def files(folder, run_id, wrote_status):
    """Return what a run left in files."""
    events = ending(os.path.join(folder, "events.jsonl")).splitlines() if wrote_status else []
    log = printed(ending(os.path.join(folder, "agent-" + run_id + ".log")))
    return [told(it) for it in events] + [it for it in log if it.strip()]


def main():
    """Run the module."""
    module = AnsibleModule(argument_spec={"job": {"type": "str", "required": True}}, supports_check_mode=True)
    job = json.loads(module.params["job"])
    folder = os.path.dirname(status_file(job["state"], job["host"], job["pipeline"]))
    unit = job["unit"] + "@" + job["pipeline"]
    wrote = by_status(folder)
    complaint, silent = "", []
    for _, run_id in sorted([*wrote, *by_logs(folder), *by_unit(unit)], reverse=True):
        said, why = by_systemd(run_id, job["lines"])
        complaint = complaint or why
        if said:
            module.exit_json(changed=False, run_id=run_id, source=unit + ".service", silent=silent, lines=said)
        said = files(folder, run_id, run_id in [it for _, it in wrote])
        if said:
            module.exit_json(changed=False, run_id=run_id, source=folder, silent=silent, lines=said[-job["lines"] :])
        silent += [run_id] if run_id not in silent else []
    what = "no run of {} has left a log: neither {}.service in the journal nor a file in {}".format(
        job["pipeline"], unit, folder
    )
    what += "; journalctl says: " + complaint if complaint else ""
    module.fail_json(msg=what, error={"name": "HB-LOG-MISSING", "what": what})


if __name__ == "__main__":
    main()
