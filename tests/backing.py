"""Backups as ``hermes-backup run`` leaves them, for tests of what comes after: made without Ansible.

A run through Ansible takes eight seconds of processor time, one by the agent in this process a quarter of a second.
Tests of runs call the program.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from hermes_backup.fleet.inventory import Inventory, find_inventory
from hermes_backup.fleet.pins import pin
from hermes_backup.fleet.render import render
from hermes_backup.pipeline.agent import Options, run_pipeline
from hermes_backup.pipeline.config import HostConfig, dump, load
from hermes_backup.pipeline.status import Status
from hermes_backup.streams.private import write_private

_ROOT = "/root-of-the-test"
_rendered: dict[str, dict[str, str]] = {}
"""By the text of an inventory, what each host's configuration is; folders of tests differ in nothing but their root.

Not for an inventory that is a program, nor with variables for Ansible in the environment."""


def back_up(root: Path, inventory: Path, *hosts: str) -> dict[str, Status]:
    """Run ``nightly`` of these hosts of an inventory, or of all: all of them this machine; and pin their keys."""
    found = find_inventory(str(inventory))
    before = os.umask(0o077)
    try:
        declared = _configs(root, found)
        made = {name: _run(declared[name], root / "config") for name in hosts or declared}
    finally:
        os.umask(before)
    for host, status in made.items():
        pin(found.pins, host, status.public_key or "")
    return made


def _run(config: HostConfig, folder: Path) -> Status:
    folder.mkdir(exist_ok=True)
    write_private(folder / f"{config.host}.json", dump(config).encode())
    status = run_pipeline(config, "nightly", Options(secrets.token_hex(16)))
    assert status.state == "done", status.error
    return status


def _configs(root: Path, inventory: Inventory) -> dict[str, HostConfig]:
    files = sorted(it for it in inventory.folder.rglob("*") if it.is_file() and inventory.pins not in it.parents)
    text = "\n".join(f"{it.relative_to(inventory.folder)}: {it.read_text()}" for it in files)
    text = text.replace(str(root), _ROOT)
    if text not in _rendered:
        fleet = render(inventory)
        fleet.demand_sound()
        _rendered[text] = {it.name: dump(it.sound).replace(str(root), _ROOT) for it in fleet.hosts}
    return {name: load(it.replace(_ROOT, str(root)), name) for name, it in _rendered[text].items()}
