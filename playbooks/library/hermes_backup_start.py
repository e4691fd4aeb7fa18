#!/usr/bin/python
"""Start a pipeline on a host and leave it running."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hermes_backup_start
short_description: Start a pipeline of hermes-backup, detached
description:
  - Where the host has a service of systemd for the pipeline, starts that, as it is deployed.
  - Elsewhere starts the agent in a session of its own; where no deployment is expected, with the configuration that
    the job brings.
  - Returns at the run's end, or after C(wait) seconds. Fails when the run failed in this time.
options:
  job:
    description:
      - JSON with C(run_id), C(host), C(pipeline), C(agent), C(config_dir), C(state), C(arguments), C(unit),
        C(digest) of what is declared, C(as_deployed) where that need not be what is deployed, and C(config) where the
        host runs without a deployment.
    type: str
    required: true
  wait:
    description: How many seconds to wait for the end at most.
    type: float
    default: 0
author: hermes-backup
"""

EXAMPLES = r"""
- name: Start
  hermes_backup_start:
    job: "{{ lookup('ansible.builtin.file', path) }}"
"""

RETURN = r"""
pid:
  description: The agent's process.
  type: int
  returned: success
started_at:
  description: When it started, in the kernel's ticks.
  type: int
  returned: success
status_file:
  description: Path of the status file.
  type: str
  returned: success
log:
  description: Path of what the agent prints; empty for a service, whose journal has it.
  type: str
  returned: success
unit:
  description: The service that was started; empty where there is none.
  type: str
  returned: success
run_id:
  description: The run's id, for a service systemd's.
  type: str
  returned: success
joined:
  description: The service was at work already.
  type: bool
  returned: success
finished:
  description: The run is over.
  type: bool
  returned: success
status:
  description: The status as the agent wrote it last.
  type: dict
  returned: when there is one
outdated:
  description: What is deployed is not what is declared, so nothing was started.
  type: bool
  returned: always
"""

import glob
import json
import os
import shutil
import subprocess
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.hermes_backup_follow import follow
from ansible.module_utils.hermes_backup_host import folder, started_at, state_folder, status_file
from ansible.module_utils.hermes_backup_units import started_by, systemctl, unit_of, unit_state

KEPT_LOGS = 10
KEPT_VARIABLES = ("HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "SSH_AUTH_SOCK")
PLACES = ("~/.local/bin", "/usr/local/bin", "/opt/hermes-backup/current/bin")
PATIENCE = 20.0


def find_agent(given):
    """Return the program's path, or None."""
    if given:
        path = os.path.expanduser(given)
        return path if os.path.isabs(path) and os.path.isfile(path) and os.access(path, os.X_OK) else None
    search = os.pathsep.join([os.environ.get("PATH", os.defpath)] + [os.path.expanduser(it) for it in PLACES])
    return shutil.which("hermes-backup", path=search)


def write_private(path, text):
    """Replace a file by one of mode 0600."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".new-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(beside, path)


def environment():
    """Return what the agent gets of this environment: nothing that changes what its tools do."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    kept.setdefault("HOME", os.path.expanduser("~"))
    path = os.environ.get("PATH", os.defpath)
    kept.update(PATH=os.pathsep.join([path, "/usr/local/bin", "/usr/sbin", "/sbin"]), LANG="C.UTF-8", LC_ALL="C.UTF-8")
    return kept


def start(agent, job, config_dir, log):
    """Start the agent in its own session, without anything of ours that it could hold or wait for."""
    command = [agent, "agent", "run", job["pipeline"], "--host", job["host"], "--config", config_dir]
    command += ["--run-id", job["run_id"], "--json"] + job["arguments"]
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            env=environment(),
            start_new_session=True,
        )
    finally:
        os.close(out)


def forget_old_logs(beside):
    """Keep the last logs only."""
    logs = sorted(glob.glob(os.path.join(glob.escape(os.path.dirname(beside)), "agent-*.log")), key=os.path.getmtime)
    for path in logs[:-KEPT_LOGS]:
        os.unlink(path)


def deployed(job, config_dir):
    """Return the digest of what is deployed."""
    try:
        with open(os.path.join(config_dir, job["host"] + ".deployed"), encoding="utf-8") as file:
            return json.load(file).get("digest", "")
    except (OSError, ValueError):
        return ""


def start_unit(module, job, unit):
    """Start the service, or join the run that is under way."""
    busy, run_id = unit_state(unit)
    if not busy:
        before = run_id
        write_private(started_by(unit), job["run_id"])
        well, said = systemctl("start", "--no-block", "--", unit)
        if not well:
            module.fail_json(msg=said, outdated=False, error={"name": "HB-STAGE-FAILED", "what": said})
        until = time.monotonic() + PATIENCE
        while run_id in ("", before) and time.monotonic() < until:
            time.sleep(0.05)
            run_id = unit_state(unit)[1]
        if run_id in ("", before):
            what = "systemd did not start %s within %d s" % (unit, PATIENCE)
            module.fail_json(msg=what, outdated=False, error={"name": "HB-STAGE-FAILED", "what": what})
    status = status_file(job["state"], job["host"], job["pipeline"])
    tell(module, {"unit": unit, "run_id": run_id, "pid": 0, "started_at": 0, "log": ""}, status, busy)


def tell(module, run, path, joined):
    """Say what was started, and how far it is."""
    so_far = follow(run, path, module.params["wait"])
    module.exit_json(changed=not joined, outdated=False, joined=joined, status_file=path, **run, **so_far)


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "job": {"type": "str", "required": True, "no_log": True},
            "wait": {"type": "float", "default": 0},
        }
    )
    job = json.loads(module.params["job"])
    os.umask(0o077)
    config_dir = folder(job["config_dir"], "/etc/hermes-backup", "~/.config/hermes-backup")
    unit = unit_of(job)
    there = deployed(job, config_dir)
    if (unit is not None or job["config"] is None) and not job["as_deployed"] and there != job["digest"]:
        module.exit_json(changed=False, outdated=True)
    if unit is not None and not job["arguments"]:
        start_unit(module, job, unit)
    agent = find_agent(job["agent"])
    if agent is None or (job["config"] is None and not there):
        what = f"no program at {job['agent']}" if job["agent"] else "hermes-backup is not installed"
        module.fail_json(msg=what, error={"name": "HB-AGENT-MISSING", "what": what})
    status = status_file(job["state"], job["host"], job["pipeline"])
    log = os.path.join(os.path.dirname(status), f"agent-{job['run_id']}.log")
    try:
        if unit is None and job["config"] is not None:
            config = dict(job["config"], state=state_folder(job["state"]))
            write_private(os.path.join(config_dir, job["host"] + ".json"), json.dumps(config))
        os.makedirs(os.path.dirname(status), mode=0o700, exist_ok=True)
        process = start(agent, job, config_dir, log)
        forget_old_logs(log)
    except OSError as error:
        what = f"{error.strerror}: {error.filename}"
        module.fail_json(msg=what, error={"name": "HB-STAGE-FAILED", "what": what})
    run = {
        "unit": "",
        "run_id": job["run_id"],
        "pid": process.pid,
        "started_at": started_at(process.pid) or 0,
        "log": log,
    }
    tell(module, run, status, joined=False)


if __name__ == "__main__":
    main()
