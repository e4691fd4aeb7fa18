#!/usr/bin/python
"""Install a release of the agent, and switch to it when it is whole."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hermes_backup_install
short_description: Install a release of the agent of hermes-backup
description:
  - Makes an environment for the release, installs its packages, and then lets the link C(current) lead to it.
  - A release that is there and whole is left alone. Of the older ones the last in use stays, and any that runs.
options:
  folder:
    description: Where releases lie.
    type: path
    required: true
  release:
    description: The release's name; without I(wheels) the version that the package index is asked for.
    type: str
    required: true
  python:
    description: The Python that the environment is made with.
    type: path
    required: true
  wheels:
    description: Its packages lie in I(folder), in a tar of the release's name; it goes when they are installed.
    type: bool
    default: true
author: hermes-backup
"""

EXAMPLES = r"""
- name: Install the agent
  hermes_backup_install:
    folder: /opt/hermes-backup
    release: 157cf853b659e19c
    python: /usr/bin/python3
"""

RETURN = r"""
release:
  description: The release in use.
  type: str
  returned: success
"""

import fcntl
import glob
import os
import shutil
import subprocess
import tarfile
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.hermes_backup_host import COMPLETE, PROGRAM, releases

NEEDED = ("hermes-backup[notify]", "hermes-backup[notify]==%s")


def run(module, argv):
    """Run a command to its end."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        said = done.stdout.decode("utf-8", "replace").strip()[-600:]
        error = {"name": "HB-DEPLOY-FAILED", "what": "%s: %s" % (os.path.basename(argv[0]), said)}
        module.fail_json(msg=error["what"], error=error)


def unpack(tar, folder):
    """Put the wheels of a tar into a folder: files, by their bare names."""
    with tarfile.open(tar) as archive:
        for entry in archive:
            if entry.isfile() and entry.name == os.path.basename(entry.name) and entry.name.endswith(".whl"):
                with open(os.path.join(folder, entry.name), "wb") as wheel:
                    shutil.copyfileobj(archive.extractfile(entry), wheel)


def install(module, folder, release, python, wheels):
    """Make the release; its mark of completeness comes last."""
    place = os.path.join(folder, release)
    run(module, [python, "-m", "venv", "--clear"] + (["--without-pip"] if wheels else []) + [place])
    own = os.path.join(place, "bin", "python")
    if wheels:
        with tempfile.TemporaryDirectory(dir=folder) as packages:
            unpack(place + ".tar", packages)
            pip = glob.glob(os.path.join(packages, "pip-*.whl"))
            options = ["--no-index", "--find-links", packages, NEEDED[0]]
            run(module, [own, os.path.join(pip[0], "pip"), "install", "--quiet"] + options)
    else:
        run(module, [own, "-m", "pip", "install", "--quiet", NEEDED[1] % release])
    run(module, [os.path.join(place, PROGRAM), "--version"])
    with open(os.path.join(place, COMPLETE), "w"):
        pass


def alone(folder):
    """Wait until no other deployment is at work in the folder; return what holds the lock."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def forget(path):
    """Remove a file that another home's deployment may have removed."""
    if os.path.exists(path):
        os.unlink(path)


def runs(place):
    """Tell whether a process runs a release: the first words of its command line say which."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                words = file.read().split(b"\0")[:2]
        except OSError:
            continue
        if any(it.startswith(os.fsencode(place) + b"/") for it in words):
            return True
    return False


def switch(folder, release):
    """Let ``current`` lead to the release, in one step."""
    beside = os.path.join(folder, ".current-%d" % os.getpid())
    os.symlink(release, beside)
    os.replace(beside, os.path.join(folder, "current"))


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "python": {"type": "path", "required": True},
            "wheels": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    folder, release = module.params["folder"], module.params["release"]
    if module.check_mode and not os.path.isdir(folder):
        module.exit_json(changed=True, release=release)
    lock = alone(folder)  # homes on one machine are deployed at the same time
    there, before = releases(folder)
    changed = release not in there or before != release
    if changed and not module.check_mode:
        os.umask(0o022)
        if release not in there:
            install(module, folder, release, module.params["python"], module.params["wheels"])
        switch(folder, release)
        for old in there:
            if old not in (release, before) and not runs(os.path.join(folder, old)):
                shutil.rmtree(os.path.join(folder, old))
    if not module.check_mode:
        forget(os.path.join(folder, release + ".tar"))
    os.close(lock)
    module.exit_json(changed=changed, release=release)


if __name__ == "__main__":
    main()
