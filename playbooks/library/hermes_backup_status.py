#!/usr/bin/python
"""Say how far a run is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hermes_backup_status
short_description: Say how far a run of hermes-backup is
description:
  - Reads the status file of a run. Returns at its end, or after C(wait) seconds.
  - Fails when the run failed, and when its process is gone without a last word.
options:
  path:
    description: The status file.
    type: path
    required: true
  run_id:
    description: Which run.
    type: str
    required: true
  pid:
    description: The agent's process, unless it is a service.
    type: int
    default: 0
  started_at:
    description: When it started, in the kernel's ticks, so that no other process is taken for it.
    type: int
    default: 0
  log:
    description: What the agent prints.
    type: str
    default: ""
  unit:
    description: The service of systemd that does the run; empty for a process of its own.
    type: str
    default: ""
  wait:
    description: How many seconds to wait for the end at most.
    type: float
    default: 0
author: hermes-backup
"""

EXAMPLES = r"""
- name: Follow
  hermes_backup_status:
    path: "{{ hermes_backup_started.status }}"
    run_id: "{{ hermes_run.id }}"
    pid: "{{ hermes_backup_started.pid }}"
    started_at: "{{ hermes_backup_started.started_at }}"
    log: "{{ hermes_backup_started.log }}"
"""

RETURN = r"""
finished:
  description: The run is over.
  type: bool
  returned: always
status:
  description: The status as the agent wrote it last.
  type: dict
  returned: when there is one
log_tail:
  description: The last lines of its journal, where a service failed.
  type: str
  returned: when the run failed
error:
  description: Why there is no last status.
  type: dict
  returned: when the agent is gone without one
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.hermes_backup_host import journal, read_status, started_at, tail, told_error, unit_state

PAUSE = 0.1
BAD = ("failed", "interrupted")


def at_work(given):
    """Return whether the run goes on."""
    if given["unit"]:
        busy, run_id = unit_state(given["unit"])
        return busy and run_id == given["run_id"]
    return given["started_at"] and started_at(given["pid"]) == given["started_at"]


def last_words(given):
    """Return the end of what the run said to people."""
    return journal(given["run_id"]) if given["unit"] else ""


def lost(given):
    """Say why the agent went without a status."""
    said = journal(given["run_id"]) if given["unit"] else tail(given["log"])
    error = told_error(said)
    if error is not None:
        return error
    what = f"the agent broke: {said}" if said else "the agent ended without a word, as a killed process does"
    return {"name": "HB-STAGE-FAILED", "what": what, "where": given["unit"] or given["log"]}


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "run_id": {"type": "str", "required": True},
            "pid": {"type": "int", "default": 0},
            "started_at": {"type": "int", "default": 0},
            "log": {"type": "str", "default": ""},
            "unit": {"type": "str", "default": ""},
            "wait": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    given = module.params
    until = time.monotonic() + given["wait"]
    while True:
        alive = at_work(given)
        status = read_status(given["path"], given["run_id"])  # after the look at the process: its last word counts
        if status is not None and status["state"] != "running":
            bad = status["state"] in BAD
            what = (status.get("error") or {}).get("what", status["state"])
            said = last_words(given) if bad else ""
            module.exit_json(
                changed=False, finished=True, status=status, failed=bad, msg=what if bad else "", log_tail=said
            )
        if not alive:
            error = lost(given)
            module.fail_json(msg=error.get("what", ""), finished=True, status=status, error=error)
        if time.monotonic() >= until:
            module.exit_json(changed=False, finished=False, status=status)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
