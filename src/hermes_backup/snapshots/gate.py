"""The one gate for text that reaches rclone-python, which hands it to a shell.

A file named ``$(touch x)`` was executed that way. So nothing passes but flags of a known form and addresses
made of letters, digits and ``_ . / @ + = -``. Refused is all that a shell, rclone's own syntax
(``:backend,option=value:path`` can name a command to run) or a file system could read more into.
"""

from __future__ import annotations

import re

from hermes_backup.errors import REMOTE_NAME, Fault

_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_.@+=-]+"
_PATH = rf"{_SEGMENT}(?:/{_SEGMENT})*/?"
_NAMED_REMOTE = rf"[A-Za-z0-9_][A-Za-z0-9_.@+-]*:(?:/?{_PATH})?"
_ADDRESS = re.compile(rf"(?:{_NAMED_REMOTE}|/(?:{_PATH})?)", re.ASCII)
_FLAG = re.compile(r"--[a-z0-9]+(?:-[a-z0-9]+)*(?:=[A-Za-z0-9_./@+=-]+)?", re.ASCII)
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]+(?=@)")
_LONGEST = 4096
_SHOWN = 120


def address(text: str) -> str:
    """Return an rclone address, ``REMOTE:PATH`` or an absolute path, when it is plain.

    Raises:
        Fault: REMOTE_NAME.
    """
    return _passed(text, _ADDRESS, "the address of a remote")


def place(text: str) -> str:
    """Return the address of a place where snapshots lie, gated and in one spelling: without a slash at its end.

    Raises:
        Fault: REMOTE_NAME.
    """
    return address(text).rstrip("/") or "/"


def flag(text: str) -> str:
    """Return an rclone flag, ``--name`` or ``--name=value``, when it is plain.

    Raises:
        Fault: REMOTE_NAME.
    """
    return _passed(text, _FLAG, "a flag for rclone")


def join(remote: str, path: str) -> str:
    """Return the address of a path inside a remote, gated.

    Raises:
        Fault: REMOTE_NAME.
    """
    between = "" if remote.endswith((":", "/")) else "/"
    return address(f"{remote}{between}{path}")


def shown(text: str) -> str:
    """Return what may be told of any text given as a remote: its name or type, without options and credentials."""
    name, options, _ = text.partition(",")
    return _CREDENTIALS.sub("…", name[:_SHOWN]) + (",…" if options else "")


def _passed(text: str, allowed: re.Pattern[str], what: str) -> str:
    if len(text) > _LONGEST or allowed.fullmatch(text) is None:
        raise Fault(REMOTE_NAME, f"{shown(text)!r} cannot be {what}")
    return text
