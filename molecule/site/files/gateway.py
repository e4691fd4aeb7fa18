#!/usr/bin/python3
"""A gateway as Hermes has one: it appends to its database all day, and closes it when it is told to end."""

import os
import pathlib
import signal
import sqlite3
import sys
import time

home = pathlib.Path(sys.argv[1])
(home / "memories").mkdir(parents=True, exist_ok=True)
(home / "SOUL.md").write_text("I am.\n")
(home / "memories" / "MEMORY.md").write_text("# memory\n")
if not (home / "picture.png").exists():
    (home / "picture.png").write_bytes(os.urandom(3_000_000))
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
database = sqlite3.connect(home / "state.db", isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, content TEXT)")
try:
    while True:
        database.execute("INSERT INTO messages (content) VALUES (?)", ("hello " * 50,))
        time.sleep(0.1)
finally:
    database.close()
