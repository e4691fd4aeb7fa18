"""Until when a host's backups can be encrypted: the recipient's key that ends first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.errors import KEY_EXPIRES, KEY_MISSING, Fault
from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.stages.encrypt import Encrypt
from hermes_backup.streams.keys import WARN_BEFORE, Key, judge

if TYPE_CHECKING:
    from datetime import datetime

    from hermes_backup.pipeline.config import HostConfig


@dataclass(frozen=True)
class KeyEnd:
    """A recipient's key: when it ends, if ever, and what is wrong with it, or will be soon."""

    fingerprint: str
    until: datetime | None
    fault: Fault | None = None


def key_ends(config: HostConfig, keys: Mapping[str, Key], now: datetime) -> tuple[KeyEnd, ...]:
    """Return every recipient of a host's pipelines, those that trouble first, then by their end."""
    stages = [it for name in config.pipelines for it in pipeline_of(config, name).stages]
    wanted = dict.fromkeys(it for stage in stages if isinstance(stage, Encrypt) for it in stage.recipients)
    ends = [_end(it, keys.get(it), now) for it in wanted]
    never = max((it.until for it in ends if it.until is not None), default=now)
    return tuple(sorted(ends, key=lambda it: (it.fault is None, it.until is None, it.until or never)))


def _end(fingerprint: str, key: Key | None, now: datetime) -> KeyEnd:
    if key is None:
        return KeyEnd(fingerprint, None, Fault(KEY_MISSING, f"no public key for recipient {fingerprint}"))
    until = key.encrypts_until
    try:
        judge(key, now)
    except Fault as fault:
        return KeyEnd(fingerprint, until, fault)
    if until is not None and until - now < WARN_BEFORE:
        what = f"recipient {fingerprint} ({key.user}) ends on {until:%Y-%m-%d}, in {(until - now).days} days"
        return KeyEnd(fingerprint, until, Fault(KEY_EXPIRES, what))
    return KeyEnd(fingerprint, until)
