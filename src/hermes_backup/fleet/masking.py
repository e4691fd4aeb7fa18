"""What may not be shown: all that lies in Ansible's vault, and what a secret's name stands before."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hermes_backup.errors import Fault
from hermes_backup.stages.arguments import MASK

if TYPE_CHECKING:
    from hermes_backup.pipeline.status import Status

_SECRET_NAME = re.compile(r"(?i)pass(word|phrase|wd)?$|secret|token|api_?key|key_id|access_key|private|rclone_config")
_NOT_SECRET = ("passphrase_credential",)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_NAME = (
    rf"(?!{'|'.join(_NOT_SECRET)})"
    r"(?:pass(?:word|phrase|wd)?|secret|token|api[_-]?key|key[_-]?id|access[_-]?key|private)[\w.-]{0,64}"
)
_GIVEN = r"(?:\"[^\"]*\"|'[^']*'|[^\s\"']+)"
_EQUALS = r"[\"']?\s{0,8}=\s{0,8}"
_COLON = r"(?:[\"']\s{0,8}:\s{0,8}|\s{0,8}:\s{1,8})"  # a colon without a blank stands in the name of a remote
_ASSIGNED = re.compile(rf"(?i)({_NAME}(?:{_EQUALS}|{_COLON})|\b(?:bearer|basic)\s{{1,8}}){_GIVEN}")
_EQUATED = re.compile(rf"(?i)({_NAME}{_EQUALS}){_GIVEN}")
_OPTION = re.compile(rf"(?i)-{{1,2}}[\w.-]{{0,64}}{_NAME}")
_VALUE = re.compile(r"(?:=|:(?=[\s\"']))\s*[\"']*(?=([^\s\"',;&]*)(.*))")
_SHORT = 4  # shorter ones stand in words by chance: only a value that is nothing else is masked
_LONG = 8  # shorter ones are words by chance: they are masked between words only
_KNOWN = 24  # so many characters tell a secret whose end a message cuts off


@dataclass(frozen=True)
class _Vault:
    """What lies in the vault, as it is looked for: as a whole value, as a word, and anywhere, the longest first."""

    whole: frozenset[str]
    words: re.Pattern[str]
    quoted: re.Pattern[str]
    anywhere: tuple[str, ...]


def mask(value: Any, secrets: Sequence[str], name: str = "") -> Any:
    """Return the value with everything masked that has a secret's name, lies in the vault, or is in an address."""
    if isinstance(value, Mapping):
        return {key: mask(item, secrets, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [*_masked_items(value, secrets, name)]
    if not isinstance(value, str) or not value:
        return value
    if _SECRET_NAME.search(name) and name not in _NOT_SECRET:
        return MASK
    return _ASSIGNED.sub(rf"\1{MASK}", _CREDENTIALS.sub(MASK, _without(value, secrets)))


def holds_secret(value: Any, secrets: Sequence[str]) -> bool:
    """Return whether something in the value lies in the vault."""
    if isinstance(value, Mapping):
        return any(holds_secret(it, secrets) for it in (*value, *value.values()))
    if isinstance(value, (list, tuple)):
        return any(holds_secret(it, secrets) for it in value)
    return isinstance(value, str) and _without(value, secrets) != value


def masked_text(text: str, secrets: Sequence[str]) -> str:
    """Return a sentence about values without secrets; short ones only where it quotes nothing else."""
    told = _vault(tuple(secrets)).quoted.sub(rf"\1{MASK}\1", _without(text, secrets))
    return _ASSIGNED.sub(rf"\1{MASK}", _CREDENTIALS.sub(MASK, told))


def masked_place(text: str, secrets: Sequence[str]) -> str:
    """Return a file, a remote or a host's stage without secrets; there a colon assigns nothing."""
    return _EQUATED.sub(rf"\1{MASK}", _CREDENTIALS.sub(MASK, _without(text, secrets)))


def masked_fault(fault: Fault, secrets: Sequence[str]) -> Fault:
    """Return the fault as it may be told."""
    what, mend = (masked_text(it, secrets) for it in (fault.what, fault.mend))
    return Fault(fault.kind, what, where=masked_place(fault.where, secrets), mend=mend)


def masked_status(status: Status, secrets: Sequence[str]) -> Status:
    """Return the status of a run as it may be told."""
    told: dict[str, Any] = {
        "warnings": tuple(masked_text(it, secrets) for it in status.warnings),
        "plan": tuple(masked_text(it, secrets) for it in status.plan),
        "places": tuple(masked_place(it, secrets) for it in status.places),
        "partial": tuple(
            it.model_copy(update={"path": masked_place(it.path, secrets), "reason": masked_text(it.reason, secrets)})
            for it in status.partial
        ),
    }
    if status.error is not None:
        words = {it: masked_text(getattr(status.error, it), secrets) for it in ("what", "mend")}
        words["where"] = masked_place(status.error.where, secrets)
        told["error"] = status.error.model_copy(update=words)
    return status.model_copy(update=told)


def _masked_items(items: Sequence[Any], secrets: Sequence[str], name: str) -> Iterator[Any]:
    before: Any = ""
    for item in items:
        is_given = isinstance(item, str) and isinstance(before, str) and _OPTION.fullmatch(before)
        yield MASK if is_given else mask(item, secrets, name)
        before = item


def _without(text: str, secrets: Sequence[str]) -> str:
    """Blot out each secret as far as its length allows."""
    vault = _vault(tuple(secrets))
    if text.strip() in vault.whole:
        return MASK
    for secret in vault.anywhere:
        text = _blotted(text, secret)
    return vault.words.sub(MASK, text)


def _blotted(text: str, secret: str) -> str:
    """Blot out a long secret, also one that is cut off."""
    beginning, done, made = secret[:_KNOWN], 0, []
    at = text.find(beginning)
    while at >= 0:
        made += [text[done:at], MASK]
        pairs = zip(text[at : at + len(secret)], secret, strict=False)
        done = at + sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        at = text.find(beginning, done)
    return "".join(made) + text[done:]


@lru_cache(maxsize=64)
def _vault(secrets: tuple[str, ...]) -> _Vault:
    parts = {part for it in secrets for part in _parts(it) if part}
    whole = _spellings(it for it in parts if len(it) < _SHORT)
    words = _spellings(it for it in parts if _SHORT <= len(it) < _LONG)
    return _Vault(
        whole=frozenset(whole),
        words=re.compile(rf"(?<!\w)(?:{_any_of(words)})(?!\w)"),
        quoted=re.compile(rf"([\"'])(?:{_any_of(whole)})\1"),
        anywhere=_spellings(it for it in parts if len(it) >= _LONG),
    )


def _parts(secret: str) -> Iterator[str]:
    """Yield a secret, and of its lines and of the values in them those that are long enough to be secrets, too."""
    yield secret.strip()
    for line in secret.splitlines():
        values = (value for it in _VALUE.finditer(line) for value in (it[1], (it[1] + it[2]).rstrip("\"' ")))
        yield from (it.strip() for it in (line, *values) if len(it.strip()) >= _LONG)


def _spellings(parts: Iterable[str]) -> tuple[str, ...]:
    """Return each part as it is and as Python and JSON quote it, the longest first."""
    ways = {way for it in parts for way in (it, repr(it)[1:-1], json.dumps(it)[1:-1])}
    return tuple(sorted(ways, key=len, reverse=True))


def _any_of(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, words)) or r"(?!)"
