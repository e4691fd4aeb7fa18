"""Fill in the ``hermes_backup_*`` variables of every host by Ansible's own libraries, and say where each value stands.

It is run by its path, in a process of its own: Ansible reads its settings from the environment and the current folder
when it is imported. A playbook does the same in three times the processor time (measured).

Usage: fill_variables.py FOLDER [OPTION of ansible-inventory]...

Writes ``FOLDER/<hash of the host's name>.json`` for each host, mode 0600, since values may be secrets. Each variable is
filled in by itself, so that one bad template hides no other.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from pathlib import Path

from ansible._internal._datatag._tags import Origin, SourceWasEncrypted, VaultedValue
from ansible.cli import CLI
from ansible.cli.inventory import InventoryCLI
from ansible.errors import AnsibleError
from ansible.parsing.vault import EncryptedString, b_HEADER, is_encrypted
from ansible.playbook.play import Play
from ansible.template import Templar

PREFIX = "hermes_backup_"
_NOT_OURS = ("hostvars", "groups", "vars", "ansible_facts", "hermes_run")
_PLAY = {"name": "Fill in", "hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.meta": "noop"}]}


class Variables(InventoryCLI):
    """``ansible-inventory``, which reads inventories, vaults and settings, and then fills in instead of listing."""

    def run(self):
        """Write what each host's variables are."""
        CLI.run(self)
        loader, inventory, manager = self._play_prereqs()
        play = Play.load(_PLAY, variable_manager=manager, loader=loader)
        ((task,),) = (block for block in play.get_tasks())
        for host in inventory.get_hosts("all"):
            known = manager.get_vars(play=play, host=host, task=task)
            _write(_Host(Templar(loader=loader, variables=known), known).answer())


class _Host:
    """A host's variables, and what fills them in."""

    def __init__(self, templar, known):
        self._templar = templar
        self._known = known

    def answer(self):
        known = self._known
        raw = {name: value for name, value in known.items() if name.startswith(PREFIX)}
        values, errors = {}, []
        for name, value in raw.items():
            try:
                values[name] = self._templar.template(value)
            except AnsibleError:
                values[name] = self._leaf_by_leaf(value, (name,), errors)
        return {
            "host": known["inventory_hostname"],
            "groups": known["group_names"],
            "connection": self._text(known.get("ansible_connection", "ssh")),
            "become": self._text(known.get("ansible_become", False)).lower() in ("true", "yes", "on", "1"),
            "address": self._text(known.get("ansible_host", known["inventory_hostname"])),
            "port": self._text(known.get("ansible_port", "")),
            "values": values,
            "errors": errors,
            "spots": [*_spots(values, ())],
            "variables": {name: _spot(value) for name, value in raw.items()},
            "secrets": sorted({str(it) for it in (*_secrets(values), *self._vaulted())}),
        }

    def _text(self, value):
        try:
            return str(self._templar.template(value))
        except AnsibleError:
            return ""

    def _leaf_by_leaf(self, value, path, errors):
        """Fill in what can be filled in, and note every template that cannot."""
        if isinstance(value, dict):
            return _like(value, {key: self._leaf_by_leaf(it, (*path, str(key)), errors) for key, it in value.items()})
        if isinstance(value, list):
            return _like(value, [self._leaf_by_leaf(it, (*path, at), errors) for at, it in enumerate(value)])
        try:
            return self._templar.template(value)
        except AnsibleError as error:
            what = getattr(error, "message", "") or str(error)
            errors.append({"path": list(path), "what": str(what), "spot": _spot(value)})
            return None

    def _vaulted(self):
        """Everything that lies in the vault, so that nothing that is printed shows it."""
        for name, value in self._known.items():
            if name not in _NOT_OURS and not name.startswith("ansible_"):
                for secret in _secrets(value):
                    yield secret
                    yield self._text(secret)  # a template that lies in a vault may make a secret of others


def _write(answer):
    name = hashlib.sha256(str(answer["host"]).encode("utf-8", "surrogateescape")).hexdigest()
    file = Path(FOLDER, name + ".json")
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        json.dump(_plain(answer), out)


def _secrets(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item)
    elif _is_vaulted(value):
        try:
            yield value if isinstance(value, str) else str(value)  # a text keeps its tags: it may be a template
        except AnsibleError:  # it cannot be decrypted, so it cannot be printed either
            return


def _is_vaulted(value):
    """Whether a value is vaulted by itself, or stands in a file that is: such a file's mapping alone is tagged so."""
    tags = (VaultedValue, SourceWasEncrypted)
    if isinstance(value, EncryptedString) or any(it.is_tagged_on(value) for it in tags):
        return True
    origin = Origin.get_tag(value)
    return origin is not None and bool(origin.path) and _is_encrypted(str(origin.path))


@functools.cache
def _is_encrypted(path):
    try:
        with open(path, "rb") as file:
            return is_encrypted(file.read(len(b_HEADER)))
    except OSError:  # what no file holds
        return False


def _spots(value, path):
    spot = _spot(value)
    if spot and path:
        yield [list(path), spot]
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _spots(item, (*path, str(key)))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _spots(item, (*path, at))


def _spot(value):
    origin = Origin.get_tag(value)
    if origin is None or not origin.path:
        return None
    return [str(origin.path), origin.line_num or 0, origin.col_num or 0]


def _like(value, copy):
    origin = Origin.get_tag(value)
    return copy if origin is None else origin.tag(copy)


def _plain(value):
    """Return a value without tags, as JSON knows it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value)


if __name__ == "__main__":
    FOLDER = sys.argv[1]
    Variables.cli_executor(["ansible-inventory", "--list", *sys.argv[2:]])
