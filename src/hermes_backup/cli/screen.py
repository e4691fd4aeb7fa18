"""The terminal: its colours, and how a fault is told to people and to programs."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console
    from rich.text import Text

    from hermes_backup.errors import Fault


def console(*, stderr: bool = False) -> Console:
    """Return a console; without colours where the output is no terminal or NO_COLOR is set."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    plain = not stream.isatty() or bool(os.environ.get("NO_COLOR"))
    return Console(file=stream, no_color=plain, highlight=False, soft_wrap=plain and not stream.isatty())


def tell(fault: Fault, *, as_json: bool = False) -> int:
    """Print a fault, or each that it holds: for people on standard error, for programs on standard output.

    Where a program does not take it, as one that is gone or a file on a full disk, it is told to people.

    Returns:
        The exit code that belongs to it.
    """
    faults = faults_of(fault)
    told = as_json and _taken(
        sys.stdout, lambda: print_json({"error": described(faults[0]), "errors": [described(it) for it in faults]})
    )
    if not told:
        screen = console(stderr=True)
        _taken(sys.stderr, lambda: screen.print(*map(fault_text, faults), sep="\n"))
        _taken(sys.stdout, lambda: None)
    return int(fault.kind.exit_code)


def _taken(stream: TextIO, say: Callable[[], None]) -> bool:
    """Say something to a stream; tell whether it took it. If not, the rest goes nowhere, and fails not once more."""
    try:
        say()
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return False
    return True


def warn(warnings: Sequence[str]) -> None:
    """Print warnings on standard error, where they are in no program's way."""
    from hermes_backup.pipeline.amounts import harmless

    screen = console(stderr=True)
    for warning in warnings:
        screen.print(f"warning: {harmless(warning)}", style="yellow", markup=False)


def fault_text(fault: Fault) -> Text:
    """Return what happened and where, its name, and what mends it."""
    from rich.text import Text

    from hermes_backup.pipeline.amounts import harmless

    text = Text()
    if fault.where:
        text.append(harmless(f"{fault.where}: "), style="bold")
    text.append(harmless(fault.what), style="red")
    text.append(f" [{fault.kind.name}]", style="dim")
    for line in harmless(fault.mend).splitlines():
        text.append(f"\n    {line}", style="cyan")
    return text


def faults_of(fault: Fault) -> Sequence[Fault]:
    """Return the faults that one fault stands for: itself, or those that it holds."""
    inner: Sequence[Fault] = getattr(fault, "faults", ())
    return inner or (fault,)


def described(fault: Fault) -> Mapping[str, Any]:
    """Return a fault as it stands in JSON."""
    return {
        "name": fault.kind.name,
        "what": fault.what,
        "where": fault.where,
        "mend": fault.mend,
        "exit_code": int(fault.kind.exit_code),
    }


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output, and nothing else; in ASCII, because a file's name need not be text."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
    sys.stdout.flush()  # what is not taken is known now, and not when the program has ended
