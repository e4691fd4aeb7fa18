"""Hold a Hermes home open through hermes-agent's own classes, and append days to it; run by the Python that has it.

Usage: gateway.py HOME. Reads names of files, one a line; each line of such a file is a message. Says ``done`` when the
home is open, and after each file.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    home = Path(sys.argv[1]).absolute()
    os.environ["HERMES_HOME"] = str(home)  # before the first import: hermes-agent reads it then
    os.environ["HERMES_DISABLE_LAZY_INSTALLS"] = "1"
    from hermes_cli.config import ensure_hermes_home, load_config, save_config  # type: ignore[import-not-found]
    from hermes_state import SessionDB  # type: ignore[import-not-found]

    ensure_hermes_home()
    if not (home / "config.yaml").exists():
        save_config({**load_config(), "model": {"default": "test/model", "provider": "openrouter"}})
    database = SessionDB(home / "state.db")
    known: set[str] = set()
    print("done", flush=True)
    for line in sys.stdin:
        for row in Path(line.rstrip("\n")).read_text(encoding="utf-8").splitlines():
            session, role, text, tool, when, tokens = json.loads(row)
            if session not in known:
                database.create_session(session, "telegram", model="test/model")
                known.add(session)
            database.append_message(session, role, text, tool_name=tool, token_count=tokens, timestamp=when)
        print("done", flush=True)
    database.close()


if __name__ == "__main__":
    main()
