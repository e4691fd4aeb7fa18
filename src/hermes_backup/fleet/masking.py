"""What may not be shown: all that lies in Ansible's vault, and what a secret's name stands before."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hermes_backup.errors import Fault
from hermes_backup.stages.arguments import MASK

if TYPE_CHECKING:
    from hermes_backup.pipeline.status import Status

_SAID = ("warnings", "plan")
_SECRET_NAME = re.compile(r"(?i)pass(word|phrase|wd)?$|secret|token|api_?key|key_id|access_key|private|rclone_config")
_NOT_SECRET = ("passphrase_credential",)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_WORD = r"[\w.-]*(?:pass(?:word|phrase|wd)?|secret|token|api[_-]?key|key[_-]?id|access[_-]?key|private)[\w.-]*"
_GIVEN = r"(?:\"[^\"]*\"|'[^']*'|[^\s\"']+)"
_ASSIGNED = re.compile(rf"(?i)({_WORD}[\"']?\s*[=:]\s*|\b(?:bearer|basic)\s+){_GIVEN}")
_OPTION = re.compile(rf"(?i)-{{1,2}}{_WORD}")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_SHORT = 4  # shorter ones stand in words by chance: what is left of a text would still tell them
_KNOWN = 24  # so many characters tell a secret whose end a message cuts off


def mask(value: Any, secrets: Sequence[str], name: str = "") -> Any:
    """Return the value with everything masked that has a secret's name, lies in the vault, or is in an address."""
    if isinstance(value, Mapping):
        return {key: mask(item, secrets, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [*_masked_items(value, secrets, name)]
    if not isinstance(value, str) or not value:
        return value
    named = _SECRET_NAME.search(name) and name not in _NOT_SECRET
    if named or value in secrets or any(it in value for it in _short(secrets)):
        return MASK
    return _ASSIGNED.sub(rf"\1{MASK}", _CREDENTIALS.sub(MASK, _without(value, secrets)))


def masked_text(text: str, secrets: Sequence[str]) -> str:
    """Return a sentence about values without what lies in the vault; short secrets only where it quotes a value."""
    short = _short(secrets)

    def quoted(found: re.Match[str]) -> str:
        return f"'{MASK}'" if any(it in found[0] for it in short) else found[0]

    return _QUOTED.sub(quoted, _without(text, secrets))


def masked_fault(fault: Fault, secrets: Sequence[str]) -> Fault:
    """Return the fault as it may be told."""
    what, mend = (masked_text(it, secrets) for it in (fault.what, fault.mend))
    return Fault(fault.kind, what, where=fault.where, mend=mend)


def masked_status(status: Status, secrets: Sequence[str]) -> Status:
    """Return the status of a run as it may be told."""
    told: dict[str, Any] = {it: tuple(masked_text(one, secrets) for one in getattr(status, it)) for it in _SAID}
    if status.error is not None:
        words = {it: masked_text(getattr(status.error, it), secrets) for it in ("what", "mend")}
        told["error"] = status.error.model_copy(update=words)
    return status.model_copy(update=told)


def _masked_items(items: Sequence[Any], secrets: Sequence[str], name: str) -> Iterator[Any]:
    before: Any = ""
    for item in items:
        is_given = isinstance(item, str) and isinstance(before, str) and _OPTION.fullmatch(before)
        yield MASK if is_given else mask(item, secrets, name)
        before = item


def _short(secrets: Sequence[str]) -> tuple[str, ...]:
    return tuple(it for it in secrets if 0 < len(it) < _SHORT)


def _without(text: str, secrets: Sequence[str]) -> str:
    """Blot out each longer secret, also as Python and JSON quote it, and also one that is cut off."""
    spellings = {way for it in secrets for way in (it, it.strip(), repr(it)[1:-1], json.dumps(it)[1:-1])}
    for secret in sorted((it for it in spellings if len(it) >= _SHORT), key=len, reverse=True):
        at = text.find(secret[:_KNOWN])
        while at >= 0:
            alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(text[at:], secret, strict=False))
            text = text[:at] + MASK + text[at + sum(1 for _ in alike) :]
            at = text.find(secret[:_KNOWN], at + len(MASK))
    return text
