"""Append messages to a home's state.db through SessionDB until our input closes; run by the Python with hermes-agent.

Usage: append_messages.py HOME_DIR [--pause SECONDS]. Prints a line for every message that was acknowledged: how
many this process has appended so far. Each is committed by then.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--pause", type=float, default=0.0)
    given = parser.parse_args()
    home = given.home.absolute()
    os.environ["HERMES_HOME"] = str(home)  # before the first import: hermes-agent reads it then
    os.environ["HERMES_DISABLE_LAZY_INSTALLS"] = "1"
    from hermes_state import SessionDB

    database = SessionDB(home / "state.db")
    session = f"appended-{os.getpid()}"
    database.create_session(session, "cli", model="test/model")
    count = 0
    while not select.select([sys.stdin], [], [], given.pause)[0]:
        database.append_message(session, "user", f"appended message {count} while a backup runs")
        count += 1
        print(count, flush=True)
    database.close()


if __name__ == "__main__":
    main()
