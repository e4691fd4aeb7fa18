#!/usr/bin/python
"""Stop a run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hermes_backup_stop
short_description: Stop a run of hermes-backup
description:
  - Asks the service or the processes of a run to end and clean up, and waits for it. They are found by the run's id.
options:
  job:
    description:
      - JSON with C(run_id), C(host), C(pipeline), C(config), C(unit).
    type: str
    required: true
  patience:
    description: Seconds until a process that does not end is killed.
    type: float
    default: 30
author: hermes-backup
"""

EXAMPLES = r"""
- name: Stop
  hermes_backup_stop:
    job: "{{ lookup('ansible.builtin.file', path) }}"
"""

RETURN = r"""
stopped:
  description: The processes that were asked to end.
  type: list
  elements: int
  returned: always
killed:
  description: Those of them that had to be killed.
  type: list
  elements: int
  returned: always
status:
  description: The last status of the run.
  type: dict
  returned: when there is one
"""

import contextlib
import json
import os
import signal
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.hermes_backup_host import agents_of, read_status, started_at, status_file
from ansible.module_utils.hermes_backup_units import started_by, systemctl, unit_of, unit_state

PAUSE = 0.05


def send(pid, number, group=False):
    """Send a signal; a process that is gone already needs none."""
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if group else os.kill)(pid, number)


def stop_unit(job):
    """Stop the service if this run of the controller started it; return its own id."""
    unit = unit_of(job)
    try:
        with open(started_by(unit or ""), encoding="utf-8") as file:
            ours = file.read() == job["run_id"]
    except OSError:
        ours = False
    if not ours:
        return None
    run_id = unit_state(unit)[1]
    systemctl("stop", "--", unit)  # waits for it to clean up, as long as the unit allows
    return run_id


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "job": {"type": "str", "required": True, "no_log": True},
            "patience": {"type": "float", "default": 30},
        }
    )
    job = json.loads(module.params["job"])
    run_id = stop_unit(job) or job["run_id"]
    stopped = {pid: started_at(pid) for pid in agents_of(job["run_id"])}
    for pid in stopped:
        send(pid, signal.SIGTERM)
    until = time.monotonic() + module.params["patience"]
    left = stopped
    while left and time.monotonic() < until:
        time.sleep(PAUSE)
        left = {pid: ticks for pid, ticks in left.items() if ticks is not None and started_at(pid) == ticks}
    for pid in left:
        send(pid, signal.SIGKILL, group=os.getpgid(pid) == pid)
    status = read_status(status_file(job["state"], job["host"], job["pipeline"]), run_id)
    module.exit_json(changed=bool(stopped), stopped=sorted(stopped), killed=sorted(left), status=status)


if __name__ == "__main__":
    main()
