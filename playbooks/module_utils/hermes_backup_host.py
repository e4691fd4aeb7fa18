"""What the modules of hermes-backup know of a host: its folders, its processes, the status of a run."""

from __future__ import annotations

import json
import os
import re

APP = "hermes-backup"
PROGRAM = "bin/hermes-backup"
COMPLETE = ".complete"


def folder(given, for_root, for_others):
    """Return the folder that is given, else the default of the user who runs here."""
    return os.path.expanduser(given or (for_root if os.geteuid() == 0 else for_others))


def state_folder(given):
    """Return where this host keeps its state."""
    return folder(given, "/var/lib/" + APP, "~/.local/state/" + APP)


def releases(folder):
    """Return the releases of the agent that are whole, and the one in use."""
    link = os.path.join(folder, "current")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    there = [it for it in names if it != "current" and os.path.exists(os.path.join(folder, it, COMPLETE))]
    return there, os.readlink(link) if os.path.islink(link) else ""


def status_file(state, host, pipeline):
    """Return the status file of a pipeline."""
    return os.path.join(state_folder(state), host, pipeline, "status.json")


def read_status(path, run_id):
    """Return the status of this run; None while there is none, or only that of another run."""
    try:
        with open(path, encoding="utf-8") as file:
            status = json.load(file)
    except (OSError, ValueError):
        return None
    return status if status.get("run_id") == run_id else None


def started_at(pid):
    """Return when a process started, in the kernel's ticks; None when it is gone, or dead and not yet buried."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def agents_of(run_id):
    """Return the processes that do a run: its id is their own argument."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        wanted = [b"--run-id", os.fsencode(run_id)]
        if b"agent" in words and wanted in [words[at : at + 2] for at in range(len(words))]:
            found.append(int(name))
    return found


def tail(path, size=1500):
    """Return the end of a log."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - size))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""


def told_error(text):
    """Return the fault that the agent printed as JSON before it had a status; None when it printed none."""
    for match in re.finditer(r"^\{", text, re.MULTILINE):
        try:
            data, _ = json.JSONDecoder().raw_decode(text[match.start() :])
        except ValueError:
            continue
        if isinstance(data.get("error"), dict):
            return data["error"]
    return None
