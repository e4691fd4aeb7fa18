"""``agent restore`` as a process that is killed, as by kill -9, before it does its Nth step that others can see.

Usage: killed.py N < HANDOVER. Steps are the system calls that change names, owners and modes, and programs started:
Python's audit events tell of them (sys.audit, "Audit events table"). It prints their number at a clean end.
"""

from __future__ import annotations

import os
import signal
import sys

from hermes_backup.cli.agent_restore import restore

STEPS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chown", "os.chmod", "shutil.rmtree", "subprocess.Popen"}
seen = 0


def watch(event: str, arguments: tuple[object, ...]) -> None:
    global seen  # noqa: PLW0603 - a hook is a plain function for the whole process
    step = event in STEPS or (event == "ctypes.dlsym" and "renameat2" in str(arguments[-1]))
    if not step:
        return
    seen += 1
    if seen == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(watch)
restore()
print(f"steps {seen}", file=sys.stderr)
