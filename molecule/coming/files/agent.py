#!/usr/bin/python3
"""An agent that writes a message ten times a second into its home's database: agent.py HOME SAID.

On the host's own disk it says, a line of JSON each, what it finds of every host, and each message once it is committed.
It closes the database when it is told to end.
"""

import json
import pathlib
import signal
import socket
import sqlite3
import sys
import time

path, said, host = pathlib.Path(sys.argv[1], "state.db"), pathlib.Path(sys.argv[2]), socket.gethostname()


def say(**words):
    with said.open("a") as file:
        file.write(json.dumps({**words, "at": time.time()}) + "\n")


signal.signal(signal.SIGTERM, lambda *_: sys.exit())
was_there = path.exists()
database = sqlite3.connect(path, isolation_level=None)
integrity = [it for (it,) in database.execute("PRAGMA integrity_check")] if was_there else ["no database"]
database.execute("PRAGMA journal_mode=WAL")
database.execute("CREATE TABLE IF NOT EXISTS messages (host TEXT, number INTEGER)")
found = {}
for name, number in database.execute("SELECT host, number FROM messages ORDER BY rowid"):
    found.setdefault(name, []).append(number)
say(found=found, integrity=integrity)
number = max(found.get(host, [0]))
try:
    while True:
        number += 1
        database.execute("INSERT INTO messages VALUES (?, ?)", (host, number))
        say(acknowledged=number)
        time.sleep(0.1)
finally:
    database.close()
