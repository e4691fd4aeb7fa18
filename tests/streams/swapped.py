"""Makes a private folder while somebody else, to whom the folder above belongs, puts another in its place.

Usage: swapped.py PARENT EVENT WHAT. EVENT is the moment, an audit event of Python (sys.audit, "Audit events table")
right before the system call: "open" of the folder that was just made, or "fcntl.flock" of the open one. WHAT takes its
place: "same" is nothing else, "strange" is another user's, "lent" one that others may write to, "full" one with
something in it, "plain" another private one, "link" a link to one. "swept" and "locked" put nothing there: another
process of this user sweeps it, or has locked it to do so; "all locked" locks each that is made. Prints where the folder
is, or what was refused.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from hermes_backup.streams.folders import private_folder, sweep

parent, moment, what = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
done = False


def put_another(event: str, arguments: tuple[object, ...]) -> None:
    global done  # noqa: PLW0603 - a hook is a plain function for the whole process
    if done or event != moment or (event == "open" and not str(arguments[0]).startswith(f"{parent}/mine-")):
        return
    (made,) = parent.glob("mine-*")
    done = True
    if what == "same":
        return
    if what == "swept":
        sweep(parent, "mine-")
        return
    if what in ("locked", "all locked"):
        fcntl.flock(os.open(made, os.O_RDONLY), fcntl.LOCK_EX)
        done = what == "locked"
        return
    made.rename(parent / "taken")
    other = parent / "other" if what == "link" else made
    other.mkdir(mode=0o700)
    if what == "strange":
        os.chown(other, 65534, 65534)
    elif what == "lent":
        other.chmod(0o777)
    elif what == "full":
        (other / "theirs").touch()
    elif what == "link":
        made.symlink_to(other)


sys.addaudithook(put_another)
try:
    with private_folder(parent, "mine-") as folder:
        print(f"made {folder.name} {done}")
except OSError as error:
    print(f"refused: {error.strerror}")
