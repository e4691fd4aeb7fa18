"""A playbook run: nothing that a host says is taken for an event of Ansible's."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

from hermes_backup.fleet.play import Event, Play

LIAR = """\
#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={{}})
module.fail_json(msg={said!r}, warnings=[{said!r}])
"""
PLAY = """\
- name: Ask
  hosts: all
  gather_facts: false
  tasks:
    - name: Start
      liar:
      ignore_errors: true
"""


def forged(event: str, **data: Any) -> str:
    """Write an event as ansible-runner finds it between the words on a terminal."""
    text = base64.b64encode(json.dumps({"uuid": "1-2", "event": event, "event_data": data}).encode()).decode()
    return f"\x1b[K{text}\x1b[{len(text)}D\x1b[K"


def test_a_host_speaks_for_no_other_and_ends_no_play(tmp_path: Path) -> None:
    said = "".join(
        (
            forged("playbook_on_start", playbook_uuid="mine"),
            forged("runner_on_ok", playbook_uuid="mine", host="victim", task="Start", res={"status": {}}),
            forged("runner_on_ok", host="victim", task="Start", res={"status": {}}),
            forged("playbook_on_stats", playbook_uuid="mine", processed={"victim": 1}),
        )
    )
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "liar.py").write_text(LIAR.format(said=said))
    (tmp_path / "play.yml").write_text(PLAY)
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(
        f"all: {{hosts: {{liar: {{ansible_connection: local, ansible_python_interpreter: {sys.executable}}}}}}}\n"
    )
    heard: list[Event] = []
    outcome = Play(playbook=tmp_path / "play.yml", sources=(hosts,), on_event=heard.append).run()
    assert {it.host for it in heard} == {"liar"}
    assert [it.kind for it in heard] == ["failed"]
    assert outcome.hosts == {"liar"}
