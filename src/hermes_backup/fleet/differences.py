"""What a task changes in a file, line by line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def differences(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield a unified difference for each file that a task's result tells of; secret ones have none."""
    for one in [result, *_listed(result.get("results"))]:
        for it in _listed(one.get("diff")):
            text = _text(it)
            if text:
                yield text


def _listed(value: Any) -> Sequence[Mapping[str, Any]]:
    values = value if isinstance(value, list) else [value]
    return [it for it in values if isinstance(it, Mapping)]


def _text(told: Mapping[str, Any]) -> str:
    if told.get("prepared"):
        return str(told["prepared"])
    before, after = told.get("before", ""), told.get("after", "")
    if not isinstance(before, str) or not isinstance(after, str):
        return ""
    names = str(told.get("before_header") or "before"), str(told.get("after_header") or "after")
    return "".join(difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), *names))
