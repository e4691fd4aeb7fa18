"""Writes docs/errors.md and docs/stages.md from the code that they describe; ``--check`` only compares.

Usage: python tools/reference.py [--check]
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hermes_backup.errors import MEANINGS, catalog
from hermes_backup.stages.registry import stages
from hermes_backup.stages.units import show_duration

DOCS = Path(__file__).resolve().parent.parent / "docs"


def errors() -> Iterator[str]:
    """The catalog of errors."""
    yield "# Errors and exit codes"
    yield "Every error has a stable name. This page is made from `src/hermes_backup/errors.py` by `make docs`."
    yield "| code | means |\n|---|---|\n" + "\n".join(f"| {int(code)} | {said} |" for code, said in MEANINGS.items())
    rows = [f"| `{it.name}` | {int(it.exit_code)} | {it.means} | {it.mend} |" for it in catalog()]
    yield "| name | code | means | what to do |\n|---|---|---|---|\n" + "\n".join(rows)


def stage_pages() -> Iterator[str]:
    """Every stage with its settings."""
    yield "# Stages"
    yield "Made from the stages' own models by `make docs`. A stage takes what the one before it gives."
    for name, kind in sorted(stages().items()):
        takes = " or ".join(it.__name__ for it in kind.takes) or "nothing"
        yield f"## `{name}`: {takes} → {kind.gives.__name__}"
        yield inspect.getdoc(kind) or ""
        if kind.model_fields:
            yield "| setting | default | is |\n|---|---|---|\n" + "\n".join(settings(kind))


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """A row for each setting, those of a mapping inside it below it."""
    said = {key: text for it in reversed(model.__mro__) for key, text in docstrings(it)}
    for key, field in model.model_fields.items():
        shown = f"{prefix}{field.alias or key}"
        yield f"| `{shown}` | {default(field)} | {said.get(key, '')} |"
        for inner in get_args(field.annotation) or (field.annotation,):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from settings(inner, f"{shown}.")


def docstrings(model: type) -> Iterator[tuple[str, str]]:
    """What stands below each field of a model; pydantic would read it at each start of the program, for 0.1 s."""
    if not issubclass(model, BaseModel) or model is BaseModel:
        return
    (made,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    for field, below in pairwise(made.body if isinstance(made, ast.ClassDef) else ()):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=key)), ast.Expr(value=ast.Constant(value=str(text))):
                yield key, inspect.cleandoc(text)


def default(field: FieldInfo) -> str:
    """A setting's default as it would stand in YAML."""
    if field.is_required():
        return "required"
    value = field.get_default()
    if isinstance(value, BaseModel) or value is None or value in ((), ""):
        return ""
    if isinstance(value, timedelta):
        return f"`{show_duration(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def main() -> int:
    """Write the pages, or compare them."""
    stale = []
    for name, parts in (("errors.md", errors()), ("stages.md", stage_pages())):
        text = "\n\n".join(parts) + "\n"
        path = DOCS / name
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(f"stale: {', '.join(stale)}; run: make docs", file=sys.stderr)  # noqa: T201 - a command line tool
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
