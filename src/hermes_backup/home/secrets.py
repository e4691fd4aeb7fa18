"""Which files of a home hold secrets, as read off hermes-agent 0.19.0."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FILES = (
    ".env", "auth.json", ".anthropic_oauth.json", "google_token.json", "google_client_secret.json",
    "slack_tokens.json", "mem0.json", "honcho.json", "hindsight/config.json", "vault.key", "vault.json.enc",
)  # fmt: skip
_FOLDERS = (
    "mcp-tokens", "shared", "pairing", "platforms/pairing", "whatsapp/session", "platforms/whatsapp/session",
    "weixin/accounts",
)  # fmt: skip
_HERE_AND_IN_PROFILES = rb"((?:profiles/[^/]+/)?(?:%s))"
_FILE = re.compile(_HERE_AND_IN_PROFILES % "|".join(map(re.escape, _FILES)).encode(), re.DOTALL)
_FOLDER = re.compile(_HERE_AND_IN_PROFILES % "|".join(f"{re.escape(it)}/" for it in _FOLDERS).encode(), re.DOTALL)


def secrets(names: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return what holds secrets among the names of files, relative to the home; a folder of secrets once."""
    found = (_FILE.fullmatch(it) or _FOLDER.match(it) for it in names)
    return tuple(sorted({it[1] for it in found if it}))
