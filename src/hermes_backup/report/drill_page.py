"""A drill as a page for people: one HTML file that needs nothing else; whatever the agent named is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined

from hermes_backup.pipeline.amounts import harmless, show_age, show_seconds, show_size
from hermes_backup.snapshots.evidence import SUFFIX
from hermes_backup.streams.private import write_private

if TYPE_CHECKING:
    from hermes_backup.pipeline.drill_result import Drilled

_TEMPLATE = Path(__file__).with_name("drill_page.html.j2")


def page(done: Drilled) -> str:
    """Return the page of a drill."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    words = {"seconds": show_seconds, "age": show_age, "size": show_size, "plain": harmless}
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(it=done, **words)


def write_page(done: Drilled) -> str:
    """Put the page beside the evidence, the first of the drill's files, 0600; return where.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(done.files[0].removesuffix(SUFFIX) + SUFFIX.replace(".asc", ".html"))
    write_private(path, page(done).encode("utf-8", "replace"))
    return str(path)
