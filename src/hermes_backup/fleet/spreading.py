"""When each host of a fleet starts: its own minute within the delay that a schedule allows.

systemd's FixedRandomDelay= takes a host's delay from a hash, so two hosts that meet in a minute meet there every night
(systemd.timer(5)). The controller knows all hosts, so it gives each a minute of its own, where there are enough.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping

_TIME = re.compile(r"(?P<date>(?:\S+ )*?)(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?")
_DAY = 24 * 60


def minutes(hosts: Collection[str], window: int) -> Mapping[str, int]:
    """Give each host a minute from 0 to ``window`` - 1, its own as long as there are as many minutes as hosts.

    Which one comes from a hash of the name, so that a new host leaves most others where they are.
    """
    given: dict[str, int] = {}
    taken: set[int] = set()
    for host in sorted(hosts, key=lambda name: (_hash(name), name)):
        at = _hash(host) % max(window, 1)
        if len(taken) < window:
            while at in taken:
                at = (at + 1) % window
        taken.add(at)
        given[host] = at
    return given


def shifted(calendar: str, by: int) -> str | None:
    """Return a systemd calendar expression that many minutes later; None where its time of day is not a single one.

    One that would pass midnight is None, too, because its date would be another.
    """
    match = _TIME.fullmatch(calendar.strip())
    if match is None:
        return None
    at = int(match["hour"]) * 60 + int(match["minute"]) + by
    if at >= _DAY:
        return None
    return f"{match['date']}{at // 60:02d}:{at % 60:02d}:{match['second'] or '00'}"


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
