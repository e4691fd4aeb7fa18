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

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.hermes_backup_follow import follow


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
    module.exit_json(changed=False, **follow(given, given["path"], given["wait"]))


if __name__ == "__main__":
    main()
