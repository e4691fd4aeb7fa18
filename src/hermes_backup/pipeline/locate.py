"""Where in a YAML file something stands: ``file:line:column`` of a key, an item or a syntax error."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hermes_backup.errors import CONFIG_YAML, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

VAULT_HEADER = "$ANSIBLE_VAULT"
_MERGE = "<<"


@dataclass(frozen=True, order=True)
class Spot:
    """A position in a file; line and column count from 1, 0 is unknown."""

    file: Path
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        parts = [shown(self.file), *(str(number) for number in (self.line, self.column) if number)]
        return ":".join(parts)


@dataclass(frozen=True)
class Definition:
    """A key of a mapping: its name, where the key stands and where its value starts."""

    name: str
    spot: Spot
    value: Spot
    depth: int


class Document:
    """A YAML file as nodes that know where they stand."""

    def __init__(self, file: Path, root: Node | None) -> None:
        self.file = file
        self._root = root

    def definitions(self) -> Iterator[Definition]:
        """Every key of every mapping, in the order of the file; ``depth`` 0 is the top."""
        for mapping, depth in self._mappings():
            for key, value in mapping.value:
                if isinstance(key, ScalarNode):
                    yield Definition(str(key.value), self._spot(key), self._spot(value), depth)

    def given_twice(self) -> Definition | None:
        """Return a key that its mapping has already; YAML forbids it, and parsers quietly take the last."""
        for mapping, depth in self._mappings():
            seen: set[str] = set()
            for key, value in mapping.value:
                name = str(key.value) if isinstance(key, ScalarNode) else ""
                if name in seen:
                    return Definition(name, self._spot(key), self._spot(value), depth)
                seen |= {name} - {"", _MERGE}
        return None

    def below(self, container: Spot, step: str | int) -> Spot | None:
        """Return where ``step``, a key or an item's number, stands in what starts at ``container``.

        A key that came by ``<<`` is found where it is written.
        """
        kind = SequenceNode if isinstance(step, int) else MappingNode
        for node, _ in _walk(self._root):
            if isinstance(node, kind) and self._spot(node) == container:
                found = _step(node, step)
                return None if found is None else self._spot(found)
        return None

    def _mappings(self) -> Iterator[tuple[MappingNode, int]]:
        for node, depth in _walk(self._root):
            if isinstance(node, MappingNode):
                yield node, depth

    def _spot(self, node: Node) -> Spot:
        return Spot(self.file, node.start_mark.line + 1, node.start_mark.column + 1)


def read(file: Path) -> Document:
    """Read a YAML file; one that is encrypted as a whole by Ansible's vault counts as empty.

    Raises:
        Fault: CONFIG_YAML with the place of the error.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise Fault(CONFIG_YAML, f"cannot be read: {error.strerror}", where=shown(file)) from None
    except UnicodeDecodeError as error:
        raise Fault(CONFIG_YAML, f"not UTF-8 text: byte {error.start}", where=shown(file)) from None
    if text.startswith(VAULT_HEADER):
        return Document(file, None)
    try:
        document = Document(file, YAML(pure=True).compose(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        spot = Spot(file) if mark is None else Spot(file, mark.line + 1, mark.column + 1)
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise Fault(CONFIG_YAML, what, where=str(spot), mend=_hint(text, spot)) from None
    except YAMLError as error:
        raise Fault(CONFIG_YAML, str(error).splitlines()[0], where=shown(file)) from None
    twice = document.given_twice()
    if twice is not None:
        raise Fault(CONFIG_YAML, f"the key {twice.name!r} is given twice", where=str(twice.spot))
    return document


def shown(file: Path) -> str:
    """Return a path as people read it: relative where it lies below the current folder."""
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return os.fspath(file)


def _hint(text: str, spot: Spot) -> str:
    lines = text.splitlines()
    line = lines[spot.line - 1] if 0 < spot.line <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "Indent with spaces; YAML takes no tabs."
    if "{{" in line and not any(quote in line for quote in "'\""):
        return 'Put quotes around a value that starts with {{, as in "{{ name }}".'
    return ""


def _walk(root: Node | None) -> Iterator[tuple[Node, int]]:
    seen: set[int] = set()
    left = [] if root is None else [(root, 0)]
    while left:
        node, depth = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node, depth
        if isinstance(node, MappingNode):
            left += [(value, depth + 1) for _, value in reversed(node.value)]
        elif isinstance(node, SequenceNode):
            left += [(item, depth + 1) for item in reversed(node.value)]


def _step(node: Node, step: str | int) -> Node | None:
    if isinstance(step, int):
        items = node.value
        return items[step] if step < len(items) else None
    found: Node | None = None
    for key, value in node.value:
        if isinstance(key, ScalarNode) and key.value == step:
            found = key  # the last of equal keys is in force
        elif isinstance(key, ScalarNode) and key.value == _MERGE and found is None:
            merged = value.value if isinstance(value, SequenceNode) else [value]
            steps = (_step(it, step) for it in merged if isinstance(it, MappingNode))
            found = next((it for it in steps if it is not None), None)
    return found
