#!/opt/hermes/bin/python
"""An agent that writes messages through hermes-agent's own SessionDB, until it is ended: agent.py GENERATION.

Prints JSON, a line each: what it finds of every generation, and each of its messages once it is committed. SIGTERM
ends it where it stands: it closes nothing.
"""

import json
import os
import pathlib
import sqlite3
import sys
import time

os.environ["HERMES_DISABLE_LAZY_INSTALLS"] = "1"
from hermes_state import SessionDB

PAUSE = 0.05


def say(**words):
    print(json.dumps(words), flush=True)


generation = sys.argv[1]
path = pathlib.Path(os.environ["HERMES_HOME"], "state.db")
integrity = "no database"
if path.exists():
    with sqlite3.connect(path) as database:  # as it was brought, before hermes-agent may mend it
        integrity = ", ".join(it for (it,) in database.execute("PRAGMA integrity_check"))
    database.close()
sessions = SessionDB(path)
found = {
    it: [int(one["content"]) for one in sessions.get_messages(it)] for it in "123" if sessions.get_session(it)
}
say(found=found, integrity=integrity, at=time.time())
sessions.create_session(generation, "cli", model="test/model")
number = 0
while True:
    number += 1
    sessions.append_message(generation, "user", str(number))
    say(acknowledged=number, at=time.time())
    time.sleep(PAUSE)
