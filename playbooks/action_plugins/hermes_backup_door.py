"""Write down how a host is reached: the very command line that Ansible's own ssh connection would run there.

What streams over it is larger than Ansible's modules can take, and must not lie on a disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The task ``hermes_backup_door: {folder: …, command: […]}``."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset({"folder", "command"})

    def run(self, tmp=None, task_vars=None):
        """Write ``<folder>/<hash of the host's name>.door.json``, mode 0600."""
        del tmp
        connection, command = self._connection, self._task.args["command"]
        words = [str(it) for it in command]
        if connection.become is not None:
            if connection.become.get_option("become_pass"):
                return {"failed": True, "msg": "becoming root takes a password there, so nothing can be streamed"}
            words = [str(connection.become.build_become_command(_quoted(words), self._shell()))]
        if connection.transport == "local":
            argv = ["/bin/sh", "-c", " ".join(words)] if connection.become is not None else words
        elif connection.transport == "ssh":
            if connection.get_option("password"):
                return {"failed": True, "msg": "ssh asks for a password there, so nothing can be streamed: use a key"}
            program, text = connection.get_option("ssh_executable"), words[0] if len(words) == 1 else _quoted(words)
            built = connection._build_command(program, "ssh", "-T", connection.host, text)  # noqa: SLF001 - no public door
            argv = [os.fsdecode(it) if isinstance(it, bytes) else str(it) for it in built]
        else:
            return {"failed": True, "msg": f"nothing can be streamed over the connection {connection.transport}"}
        name = hashlib.sha256(str(task_vars["inventory_hostname"]).encode("utf-8", "surrogateescape")).hexdigest()
        file = os.path.join(self._task.args["folder"], name + ".door.json")
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            json.dump(argv, out)
        return {"changed": False}

    def _shell(self):
        return self._connection._shell  # noqa: SLF001 - what the become plugin is given by Ansible itself


def _quoted(words):
    return " ".join(shlex.quote(it) for it in words)
