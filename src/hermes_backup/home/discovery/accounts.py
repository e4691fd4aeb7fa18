"""The users of a host, as ``/etc/passwd`` and ``/etc/subuid`` name them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hermes_backup.home.discovery.claim import Account, Host
from hermes_backup.home.discovery.files import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PASSWD_FIELDS = 7
_SUBUID_FIELDS = 3


def host_at(root: Path) -> Host:
    """Return the host whose file system is at a root, with its users in the order of the file."""
    bare = Host(root)
    lent = list(_lent(text_of(bare.at("/etc/subuid"))))
    return Host(root, tuple(_accounts(text_of(bare.at("/etc/passwd")), lent)))


def _accounts(text: str, lent: list[tuple[str, range]]) -> Iterator[Account]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) != _PASSWD_FIELDS:
            continue
        name, _, uid, _, _, home, _ = fields
        if name and _is_number(uid) and home.startswith("/"):
            yield Account(name, int(uid), home, tuple(numbers for whose, numbers in lent if whose in {name, uid}))


def _lent(text: str) -> Iterator[tuple[str, range]]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == _SUBUID_FIELDS and _is_number(fields[1]) and _is_number(fields[2]):
            start, count = int(fields[1]), int(fields[2])
            yield fields[0], range(start, start + count)


def _is_number(text: str) -> bool:
    return re.fullmatch("[0-9]{1,10}", text) is not None  # 32 bits
