"""Work of the trusted machine that goes on by itself: a service and a timer of systemd for one of our commands."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.errors import CONFIG_INVALID, SCHEDULE_FAILED, Fault
from hermes_backup.fleet.inventory import Inventory
from hermes_backup.pipeline.unlocking import CREDENTIAL
from hermes_backup.streams.private import write_private
from hermes_backup.streams.process import Argument, run

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_KEPT = (  # where things are, nothing secret
    "GNUPGHOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME",
    "ANSIBLE_CONFIG", "ANSIBLE_VAULT_PASSWORD_FILE", "ANSIBLE_VAULT_IDENTITY_LIST",
)  # fmt: skip
_STAGE = "schedule"
_SERVICE = """\
# Written by hermes-backup schedule; another call replaces it.
[Unit]
Description=hermes-backup {command} {inventory}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={folder}
{environment}{credential}ExecStart={program} {command} {path}
TimeoutStartSec=1d
Nice=10
IOSchedulingClass=idle
UMask=0077
NoNewPrivileges=true
"""
_TIMER = """\
# Written by hermes-backup schedule; another call replaces it.
[Unit]
Description=hermes-backup {command} {inventory}

[Timer]
OnCalendar={calendar}
Persistent=true
RandomizedDelaySec=15min
FixedRandomDelay=true

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True)
class Scheduled:
    """Units for this machine: root's are the system's, another user's its own.

    Attributes:
        name: of both units, without suffix.
        folder: where they lie.
        files: their texts by file name.
        user: they belong to the user's own manager.
    """

    name: str
    folder: Path
    files: Mapping[str, str]
    user: bool


def scheduled(inventory: Inventory, command: str, calendar: str, passphrase: Path | None = None) -> Scheduled:
    """Return the units that run a command for an inventory; ``passphrase`` is a file that systemd hands to it.

    Raises:
        Fault: CONFIG_INVALID for a calendar that systemd does not know, or a name or path that no unit can hold.
    """
    if _NAME.fullmatch(inventory.name) is None:
        raise Fault(CONFIG_INVALID, f"the inventory's name {inventory.name!r} cannot name a unit of systemd")
    _check(calendar)
    user = os.geteuid() != 0
    folder = Path.home() / ".config/systemd/user" if user else Path("/etc/systemd/system")
    kept = {name: os.environ[name] for name in _KEPT if os.environ.get(name)}
    about = {
        "command": command,
        "inventory": inventory.name,
        "calendar": calendar,
        "folder": _quoted(str(Path.cwd()), quotes=False),
        "program": _quoted(str(Path(sys.executable).parent / "hermes-backup")),
        "path": _quoted(str(inventory.hosts_file.absolute())),
        "credential": "",
        "environment": "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in kept.items()),
    }
    if passphrase is not None:
        about["credential"] = f"LoadCredential={CREDENTIAL}:{_quoted(str(passphrase.absolute()), quotes=False)}\n"
    name = f"hermes-backup-{command}-{inventory.name}"
    files = {f"{name}.service": _SERVICE.format(**about), f"{name}.timer": _TIMER.format(**about)}
    return Scheduled(name, folder, files, user)


@dataclass(frozen=True)
class Installed:
    """What came of it: whether anything was ``changed``, and when the timer elapses next, as systemd says it."""

    changed: bool
    following: str


def install(units: Scheduled) -> Installed:
    """Write the units and start the timer; they go if that fails.

    Raises:
        Fault: SCHEDULE_FAILED.
    """
    changed = any(_text_of(units.folder / name) != text for name, text in units.files.items())
    try:
        units.folder.mkdir(parents=True, exist_ok=True)
        for name, text in units.files.items():
            write_private(units.folder / name, text.encode())
    except OSError as error:
        raise Fault(SCHEDULE_FAILED, f"{error.strerror}: {error.filename}") from None
    try:
        _systemctl(units, "daemon-reload")
        _systemctl(units, "enable", "--now", "--", f"{units.name}.timer")
    except Fault:
        _unlink(units)
        raise
    shown = _systemctl(units, "show", "--property=NextElapseUSecRealtime", "--value", "--", f"{units.name}.timer")
    return Installed(changed, shown)


def withdraw(units: Scheduled) -> bool:
    """Stop the timer and remove the units; return whether there was anything.

    Raises:
        Fault: SCHEDULE_FAILED.
    """
    there = any((units.folder / name).exists() for name in units.files)
    if there:
        _systemctl(units, "disable", "--now", "--", f"{units.name}.timer")
        _unlink(units)
        _systemctl(units, "daemon-reload")
    return there


def _text_of(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _unlink(units: Scheduled) -> None:
    for name in units.files:
        (units.folder / name).unlink(missing_ok=True)


def _check(calendar: str) -> None:
    done = run(["systemd-analyze", "calendar", "--", calendar], stage=_STAGE)
    if done.returncode != 0 or not calendar.isprintable():
        said = done.stderr.strip().splitlines()[:1]
        raise Fault(CONFIG_INVALID, f"no schedule: {' '.join(said) or calendar!r}", mend="See man systemd.time.")


def _systemctl(units: Scheduled, *words: str) -> str:
    argv: list[Argument] = ["systemctl", *(["--user"] if units.user else []), *words]
    done = run(argv, stage=_STAGE)
    if done.returncode != 0:
        raise Fault(SCHEDULE_FAILED, f"systemctl {words[0]}: {done.stderr.strip()}")
    return done.stdout.decode("utf-8", "replace").strip()


def _quoted(text: str, *, quotes: bool = True) -> str:
    """Write a word as systemd.syntax(7) wants it in a command line, where % and $ would be replaced."""
    if not text.isprintable():
        raise Fault(CONFIG_INVALID, f"{text!r} cannot stand in a unit of systemd")
    plain = text.replace("%", "%%")
    if not quotes:
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"'
