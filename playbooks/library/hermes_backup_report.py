#!/usr/bin/python
"""Say how the backups of a host are, as far as the host knows it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hermes_backup_report
short_description: Say how the backups of a host are
description:
  - Reads the status of each pipeline's last run, when systemd starts it next, and what was deployed. Changes nothing.
options:
  job:
    description:
      - JSON with C(host), C(pipelines), C(state), C(config_dir), C(unit).
    type: str
    required: true
author: hermes-backup
"""

EXAMPLES = r"""
- name: Ask
  hermes_backup_report:
    job: "{{ lookup('ansible.builtin.file', path) }}"
"""

RETURN = r"""
runs:
  description: By pipeline, its last status, whether that run's process lives, its next run, and how its unit ended.
  type: dict
  returned: always
deployed:
  description: What the last deployment left, or null.
  type: dict
  returned: always
systemd:
  description: Whether systemd runs this host.
  type: bool
  returned: always
"""

import json
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.hermes_backup_host import folder, status_file
from ansible.module_utils.hermes_backup_units import is_booted, iso, moment, next_elapse, show

SHOWN = 5
LISTS = ("partial", "warnings", "plan")


def read(path):
    """Return the JSON of a file, and why there is none: both are None and empty where there is no file."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file), ""
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"{error.strerror}: {path}"
    except ValueError:
        return None, f"not JSON: {path}"


def is_agent(pid):
    """Tell whether a process lives and is an agent, not another one that got its number."""
    try:
        with open(f"/proc/{int(pid)}/cmdline", "rb") as file:
            return b"agent" in file.read().split(b"\0")
    except (OSError, TypeError, ValueError):
        return False


def last_run(path):
    """Return the last status of a pipeline, its long lists cut to their beginning."""
    status, problem = read(path)
    if not isinstance(status, dict):
        return {"status": None, "alive": False, "counts": {}, "problem": problem}
    counts = {name: len(status.get(name) or ()) for name in LISTS}
    short = dict(status, **{name: list(status.get(name) or ())[:SHOWN] for name in LISTS})
    alive = status.get("state") == "running" and is_agent(status.get("pid"))
    return {"status": short, "alive": alive, "counts": counts, "problem": problem}


def last_deployment(path):
    """Return what a deployment left, with its time; nothing of what it left where that cannot be read."""
    left, problem = read(path)
    if left is None and not problem:
        return None
    if not isinstance(left, dict):
        return {}
    return dict({"at": iso(os.path.getmtime(path))}, **left)


def main():
    """Run the module."""
    module = AnsibleModule(argument_spec={"job": {"type": "str", "required": True}}, supports_check_mode=True)
    job = json.loads(module.params["job"])
    units = {name: f"{job['unit']}@{name}" for name in job["pipelines"]}
    shown = show([unit + kind for unit in units.values() for kind in (".timer", ".service")])
    now, uptime = time.time(), time.clock_gettime(time.CLOCK_MONOTONIC)
    runs = {}
    for name, unit in units.items():
        service = shown.get(unit + ".service", {})
        runs[name] = dict(
            last_run(status_file(job["state"], job["host"], name)),
            next=iso(next_elapse(shown.get(unit + ".timer", {}), now, uptime)),
            unit={
                "result": service.get("Result", ""),
                "active": service.get("ActiveState", ""),
                "invocation": service.get("InvocationID", ""),
                "began": iso(moment(service.get("InactiveExitTimestamp", ""))),
            },
        )
    config = folder(job["config_dir"], "/etc/hermes-backup", "~/.config/hermes-backup")
    deployed = last_deployment(os.path.join(config, job["host"] + ".deployed"))
    module.exit_json(changed=False, runs=runs, deployed=deployed, systemd=is_booted())


if __name__ == "__main__":
    main()
