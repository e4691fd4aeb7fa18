"""What systemd says of units; nothing where a host has none. Seen alike with systemd 252 and 257."""

from __future__ import annotations

import calendar
import os
import re
import subprocess
import time

APP = "hermes-backup"
BUSY = ("activating", "active", "deactivating", "reloading")
PROPERTIES = (
    "Id", "ActiveState", "Result", "InvocationID", "InactiveExitTimestamp",
    "NextElapseUSecRealtime", "NextElapseUSecMonotonic",
)  # fmt: skip
PATIENCE = 20
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(y|month|w|d|h|min|s|ms|us)\b")
_SECONDS = {
    "y": 31557600, "month": 2629800, "w": 604800, "d": 86400, "h": 3600, "min": 60, "s": 1, "ms": 1e-3, "us": 1e-6,
}  # fmt: skip


def is_booted():
    """Tell whether systemd runs this host (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def output_of(command):
    """Return what a program prints, its times in UTC, and what it complains of; nothing where it does not run."""
    environment = dict(os.environ, LC_ALL="C.UTF-8", TZ="UTC", SYSTEMD_COLORS="0", SYSTEMD_PAGER="")
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    return done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace").strip()


def systemctl(*words):
    """Run systemctl, however long it takes; return whether it went well, and what it said."""
    done = subprocess.run(
        ["systemctl"] + list(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.returncode == 0, done.stdout.decode("utf-8", "replace").strip()


def unit_of(job):
    """Return the service that runs a job's pipeline, if it is installed here."""
    if not is_booted() or not os.path.exists("/etc/systemd/system/%s@.service" % job["unit"]):
        return None
    return "%s@%s.service" % (job["unit"], job["pipeline"])


def unit_state(unit):
    """Return whether a service is at work, and the id of its last run."""
    shown = show([unit]).get(unit, {})
    return shown.get("ActiveState") in BUSY, shown.get("InvocationID", "")


def started_by(unit):
    """Return the file that says which run of a controller started a service."""
    return os.path.join("/run", APP, unit + ".started-by")


def journal(run_id, lines, output="cat", also=()):
    """Return the last lines that a run of a service said, and what journalctl complains of.

    ``also`` are more matches (journalctl(1)), such as those for what systemd itself said of the run.
    """
    command = ["journalctl", "--quiet", "--no-pager", "--no-hostname", "--output=" + output, "--lines=%d" % lines]
    said, complaint = output_of(command + ["_SYSTEMD_INVOCATION_ID=" + run_id] + list(also))
    return said.splitlines(), complaint


def show(units):
    """Return the properties of each unit by its name."""
    if not units or not is_booted():
        return {}
    return parse(output_of(["systemctl", "show", "--no-pager", "--property=" + ",".join(PROPERTIES), "--", *units])[0])


def parse(text):
    """Read what ``systemctl show`` prints of several units: a block each."""
    blocks = [dict(line.split("=", 1) for line in it.splitlines() if "=" in line) for it in text.split("\n\n")]
    return {it["Id"]: it for it in blocks if it.get("Id")}


def moment(text):
    """Return the seconds since 1970 of a time such as ``Sun 2026-11-22 03:30:05 UTC``; None for no time."""
    words = text.split()
    try:
        return float(calendar.timegm(time.strptime(" ".join(words[1:3]), "%Y-%m-%d %H:%M:%S")))
    except ValueError:
        return None


def span(text):
    """Return the seconds of a span such as ``3h 53min 59.6s``; None for ``0`` and ``infinity``, which say never."""
    found = _SPAN.findall(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in found) if found else None


def next_elapse(timer, now, uptime):
    """Return when a timer elapses next, in seconds since 1970; None when it does not."""
    since_boot = span(timer.get("NextElapseUSecMonotonic", ""))
    ways = [moment(timer.get("NextElapseUSecRealtime", "")), None if since_boot is None else now - uptime + since_boot]
    return min((it for it in ways if it is not None), default=None)


def iso(seconds):
    """Return a time as ISO 8601 has it; None for none."""
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
