"""A new inventory: the files that an operator starts from, with the lines to edit marked."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.errors import CONFIG_INVALID, TARGET_NOT_EMPTY, Fault, from_system
from hermes_backup.fleet.checks import PLACEHOLDER
from hermes_backup.pipeline.locate import shown
from hermes_backup.snapshots.names import HOST_RE, check_host

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_ADDRESS = re.compile(
    r"(?:(?P<user>[A-Za-z_][A-Za-z0-9_.-]*)@)?(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*)(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)


@dataclass(frozen=True)
class Address:
    """Where a host is reached; its name in the inventory is its host part."""

    host: str
    user: str = ""
    port: int = 0


def parse_address(text: str) -> Address:
    """Read ``[USER@]HOST[:PORT]``.

    Raises:
        Fault: CONFIG_INVALID.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise Fault(CONFIG_INVALID, f"{text!r} is no address", where="--host", mend="Write it as [USER@]HOST[:PORT].")
    check_host(match["host"])
    return Address(match["host"], match["user"] or "", int(match["port"] or 0))


def make_inventory(folder: Path, hosts: Sequence[Address]) -> tuple[Path, ...]:
    """Write a new inventory; without hosts it holds this machine. The folder is private: it may hold secrets.

    Raises:
        Fault: TARGET_NOT_EMPTY when there is something at its place already; DISK_FULL or STAGE_FAILED when it cannot
            be written, and then nothing is left at its place.
    """
    if os.path.lexists(folder):
        raise Fault(TARGET_NOT_EMPTY, "exists already, and is left as it is", where=shown(folder))
    texts = {"hosts.yml": _hosts(hosts), "group_vars/all.yml": _VARIABLES, "keys/README": _KEYS}
    try:
        folder.mkdir(parents=True, mode=0o700)
        _fill(folder, texts)
    except OSError as error:
        raise from_system(error, shown(folder)) from None
    return tuple(folder / name for name in texts)


def _fill(folder: Path, texts: Mapping[str, str]) -> None:
    try:
        folder.chmod(0o700)
        for name, text in texts.items():
            file = folder / name
            file.parent.mkdir(exist_ok=True, mode=0o700)
            file.write_text(text, encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _hosts(hosts: Sequence[Address]) -> str:
    lines = [_HOSTS]
    for it in hosts:
        lines += [f"    {json.dumps(it.host)}:", f"      ansible_host: {json.dumps(it.host)}"]
        lines += [f"      ansible_user: {json.dumps(it.user)}"] if it.user else []
        lines += [f"      ansible_port: {it.port}"] if it.port else []
    if not hosts:
        lines += [f"    {json.dumps(_this_machine())}:", *_LOCAL]
    return "\n".join(lines) + "\n"


def _this_machine() -> str:
    name = socket.gethostname()
    return name if HOST_RE.fullmatch(name) else "localhost"


_HOSTS = """\
---
# The hosts whose Hermes homes are backed up: any Ansible inventory will do, with groups if you like.
# A host's name here names the folder of its snapshots, so do not rename it later.
all:
  hosts:"""
_LOCAL = (
    "      ansible_connection: local",
    '      ansible_python_interpreter: "{{ ansible_playbook_python }}"',
)
_VARIABLES = f"""\
---
# Settings for all hosts; group_vars/GROUP.yml and host_vars/HOST.yml override them, as always with Ansible.
# `hermes-backup show` prints everything that is in force, `hermes-backup validate` checks it.

# Two lines to edit.
# 1. Who can decrypt: full fingerprints, whose public keys lie in keys/*.asc. Keep a second key offline.
hermes_backup_recipients: ["{PLACEHOLDER}"]
# 2. Where snapshots go: rclone paths such as r2:hermes-backups, or absolute paths.
hermes_backup_remotes: ["{PLACEHOLDER}:hermes-backups"]

# The Hermes home on the hosts.
# hermes_backup_home: ~/.hermes

# The rclone.conf of the hosts, with credentials that can only write. Encrypt it: ansible-vault encrypt_string.
# hermes_backup_rclone_config: |
#   [r2]
#   type = s3

# What else to leave out: gitignore patterns, rooted at the home.
# hermes_backup_exclude_extra: ["/workspace/*/build/"]

# Pipelines of your own replace the default ones: nightly, snapshot and drill. hermes-backup show prints those.
# hermes_backup_pipelines:
#   nightly:
#     schedule: {{on_calendar: "*-*-* 03:30:00", randomized_delay: 15m}}
#     stages:
#       - sqlite:
#       - archive: {{format: tar, compression: {{algorithm: zstd, level: 3}}}}
#       - encrypt: {{recipients: "{{{{ hermes_backup_recipients }}}}"}}
#       - push: {{to: "{{{{ hermes_backup_remotes }}}}"}}
"""
_KEYS = """\
The recipients' public keys, one armored file each, named *.asc:

    gpg --quick-generate-key "Hermes Backup <you@example.org>" default default 3y
    gpg --list-keys --with-colons "Hermes Backup" | awk -F: '$1 == "fpr" {print $10; exit}'
    gpg --armor --export FINGERPRINT > keys/operator.asc

"default default" makes a key that can sign and a subkey that can encrypt; a key that can only sign is refused.
hosts/ holds the hosts' own signing keys, pinned at each host's first run. Private keys never belong here.
"""
