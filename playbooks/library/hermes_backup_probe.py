#!/usr/bin/python
"""Say what a host is, as far as a deployment must know."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hermes_backup_probe
short_description: Say what a host is, before the agent of hermes-backup is deployed
description:
  - Looks for Python, missing programs, systemd and releases of the agent that are there. Changes nothing.
options:
  folder:
    description: Where releases of the agent lie.
    type: path
    default: /opt/hermes-backup
  also:
    description: Programs that this host's pipelines need besides, each with the Debian package that brings it.
    type: dict
    default: {}
author: hermes-backup
"""

EXAMPLES = r"""
- name: Probe
  hermes_backup_probe:
"""

RETURN = r"""
python:
  description: The newest Python that the agent can run on, C(version) and C(path); none where there is none.
  type: dict
  returned: success
machine:
  description: The kind of machine, as the kernel calls it.
  type: str
  returned: success
missing:
  description: Debian's packages of programs that are missing.
  type: list
  elements: str
  returned: success
releases:
  description: Releases of the agent that are there and whole.
  type: list
  elements: str
  returned: success
root:
  description: The module runs as root.
  type: bool
  returned: success
systemd:
  description: systemd is the init of this host.
  type: bool
  returned: success
"""

import os
import platform
import shutil
import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.hermes_backup_host import releases

PROGRAMS = {"gpg": "gnupg", "gpg-agent": "gpg-agent", "tar": "tar", "setpriv": "util-linux"}
CANDIDATES = ("python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10")
VERSION = "import sys, venv; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 10))"


def find_python():
    """Return the first Python that can make an environment for the agent."""
    for name in CANDIDATES:
        path = shutil.which(name)
        if path is None:
            continue
        done = subprocess.run([path, "-c", VERSION], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if done.returncode == 0:
            return {"path": path, "version": done.stdout.decode().strip()}
    return None


def main():
    """Run the module."""
    folder = {"type": "path", "default": "/opt/hermes-backup"}
    also = {"type": "dict", "default": {}}
    module = AnsibleModule(argument_spec={"folder": folder, "also": also}, supports_check_mode=True)
    programs = dict(PROGRAMS, **module.params["also"])
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    missing = sorted({package for name, package in programs.items() if shutil.which(name, path=path) is None})
    module.exit_json(
        changed=False,
        python=find_python(),
        machine=platform.machine(),
        missing=missing,
        releases=releases(module.params["folder"])[0],
        root=os.geteuid() == 0,
        systemd=os.path.isdir("/run/systemd/system"),
    )


if __name__ == "__main__":
    main()
