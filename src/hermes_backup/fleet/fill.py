"""The variables of every host of an inventory, filled in by Ansible in a process of its own.

Nothing is connected to, so no playbook is needed: that took three times the processor time (measured).
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from hermes_backup.errors import CONFIG_INVALID, INTERRUPTED, Fault
from hermes_backup.fleet.answers import read_answers
from hermes_backup.fleet.inventory import data_folder
from hermes_backup.fleet.play import environment, interruptible, private_file, private_folder, require_ansible
from hermes_backup.pipeline.locate import shown
from hermes_backup.streams.process import spawn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hermes_backup.fleet.answers import Answer

_LINES = 6


def fill(sources: Sequence[Path], variables: Mapping[str, Any]) -> tuple[Answer, ...]:
    """Fill in what inventory sources say, the weakest first, and ``variables``, which override everything.

    Raises:
        Fault: CONFIG_INVALID when Ansible refuses the sources, or they name no host; FLEET_MISSING; INTERRUPTED.
    """
    require_ansible()
    interrupted = False

    with private_folder() as folder:
        made = folder / "hosts"
        for it in (made, folder / "tmp"):
            it.mkdir(mode=0o700)
        run = {"folder": str(made), "root": os.geteuid() == 0}
        private_file(folder / "variables", json.dumps({**variables, "hermes_run": run}))
        program = str(data_folder("playbooks") / "fill_variables.py")
        words = [word for it in sources for word in ("-i", str(it))]
        argv = [sys.executable, "-I", program, str(made), *words, "-e", f"@{folder / 'variables'}"]
        child = spawn(argv, stage="inventory", env=environment(folder))

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            child.end()

        with interruptible(interrupt):
            status = child.wait()
        answers = () if status else read_answers(made)
    if interrupted:
        raise Fault(INTERRUPTED, "stopped while the inventory was read")
    if not answers:
        raise Fault(CONFIG_INVALID, _refusal(status, child.errors()), where=shown(sources[-1]))
    return answers


def _refusal(status: int, output: str) -> str:
    if not status:
        return "the inventory names no hosts"
    lines = [line for line in output.splitlines() if line.strip()]
    return "Ansible refuses the inventory: " + (" ".join(lines[:_LINES]) or "it said nothing")
