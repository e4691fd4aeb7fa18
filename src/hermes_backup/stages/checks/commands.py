"""What the user wants to see done with a restored home: commands, run where they can do no harm."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from hermes_backup.errors import COMMAND_FAILED, Fault
from hermes_backup.home.printable import printable
from hermes_backup.stages.checks.sandbox import Sandbox
from hermes_backup.stages.things import Finding

_LINES = 5
NO_SANDBOX = "this machine gives no sandbox without a network, and nothing is run outside of one"


def commands(argvs: Sequence[Sequence[str]], root: Path, box: Sandbox | None, seconds: float) -> Iterator[Finding]:
    """Run each command in the home; without a sandbox none is run. What they say stays here."""
    for number, argv in enumerate(argvs, 1):
        what = f"command {number}"
        if box is None:
            yield Finding(what, "unproven", NO_SANDBOX)
            continue
        shown = printable(" ".join(argv))
        try:
            done = box.run(argv, root, seconds)
        except subprocess.TimeoutExpired:
            yield Finding(what, "failed", f"not done in {seconds:.0f} s", (shown,), COMMAND_FAILED.name)
            continue
        except (Fault, OSError) as error:
            yield Finding(what, "failed", "it cannot be run", (shown, printable(str(error))), COMMAND_FAILED.name)
            continue
        said = [printable(it) for it in (done.stdout.decode("utf-8", "replace") + done.stderr).splitlines()][-_LINES:]
        if done.returncode == 0:
            yield Finding(what, "ok", f"ended with 0 ({box.how})", (shown,))
        else:
            yield Finding(what, "failed", f"ended with {done.returncode}", (shown, *said), COMMAND_FAILED.name)
