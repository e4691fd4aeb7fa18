"""``hermes-backup ls``, ``find``, ``history`` and ``cat``: what snapshots hold, by their lists of files."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_backup.cli.opening import HOST, INVENTORY, JSON, PIPELINE, SNAPSHOT, SOURCE, open_shelf
from hermes_backup.cli.progress import Narrator, progress_bar
from hermes_backup.errors import PATH_MISSING, SNAPSHOT_MISSING, Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermes_backup.pipeline.looking import Everything
    from hermes_backup.snapshots.history import Version
    from hermes_backup.snapshots.names import SnapshotName

_PATTERNS = "A pattern without a slash is for names anywhere, '*.md'; one with a slash for paths, 'skills/**/SKILL.md'."


def ls(
    inventory: Annotated[str, INVENTORY],
    host: Annotated[str, HOST],
    snapshot: Annotated[str, SNAPSHOT] = "latest",
    path: Annotated[str, typer.Argument(help="A folder or file in the home.")] = ".",
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Also what is in folders below.")] = False,
    pipeline: Annotated[str, PIPELINE] = "",
    source: Annotated[str, SOURCE] = "",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """List what a snapshot holds: mode, owner, size, time (UTC), name. Only its list of files is fetched."""
    from hermes_backup.cli.columns import columns
    from hermes_backup.cli.entries import entry, show_mode, show_name, show_time
    from hermes_backup.cli.screen import console, print_json, warn
    from hermes_backup.pipeline.amounts import show_size
    from hermes_backup.snapshots.searching import within
    from hermes_backup.stages.selecting import select

    narrator = Narrator(lambda *_: None)
    with open_shelf(inventory, host, pipeline, source) as shelf:
        (look,) = shelf.look([shelf.choose(snapshot, narrator)], narrator)
    warn(narrator.warnings)
    found = within(look.members, path, deep=recursive)
    if not found and path != ".":
        select(look.members, [path])
    if as_json:
        files = [entry(it) for it in found]
        print_json({"snapshot": str(look.name), "from": look.place.label, "files": files})
        return
    screen = console()
    screen.print(f"{host}/{shelf.pipeline.name} {look.name}", style="bold", markup=False, soft_wrap=True)
    headings = ("mode", "owner", ">size", "time", "name")
    rows = [
        (show_mode(it), f"{it.uid}:{it.gid}", show_size(it.size), show_time(it.mtime), show_name(it)) for it in found
    ]
    screen.print(columns(headings, rows) if rows else "  nothing", soft_wrap=True)


def find(
    inventory: Annotated[str, INVENTORY],
    host: Annotated[str, HOST],
    pattern: Annotated[str, typer.Argument(help=_PATTERNS)],
    snapshot: Annotated[str, typer.Option("--snapshot", help="Only in this one, named as for ls.")] = "",
    pipeline: Annotated[str, PIPELINE] = "",
    source: Annotated[str, SOURCE] = "",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Find files in all snapshots of a host: each version of each, and which snapshots hold it."""
    from hermes_backup.cli.columns import columns
    from hermes_backup.cli.entries import entry, show_hash, show_name
    from hermes_backup.cli.screen import console, described, print_json, warn
    from hermes_backup.pipeline.amounts import show_size
    from hermes_backup.pipeline.looking import Everything
    from hermes_backup.snapshots.searching import ranges, search

    narrator = Narrator(lambda *_: None)
    with open_shelf(inventory, host, pipeline, source) as shelf:
        one = shelf.look([shelf.choose(snapshot, narrator)], narrator) if snapshot else None
        everything = Everything(one, ()) if one else shelf.everything(narrator)
    warn(narrator.warnings)
    names = _names(everything)
    found = search([(it.name, it.members) for it in everything.looks], pattern)
    if not found and not everything.faults:
        raise Fault(PATH_MISSING, f"nothing fits {pattern!r} in {len(names)} snapshots", mend=_PATTERNS)
    if as_json:
        told = [{**entry(it.member), "snapshots": [str(name) for name in it.snapshots]} for it in found]
        print_json({"found": told, "errors": [described(it) for it in everything.faults]})
    elif found:
        rows = [(show_size(it.member.size), show_hash(it.member), ranges(it.snapshots, names), show_name(it.member))
                for it in found]  # fmt: skip
        console().print(columns((">size", "hash", "snapshots", "name"), rows), soft_wrap=True)
    _end(everything, quiet=as_json)


def history(
    inventory: Annotated[str, INVENTORY],
    host: Annotated[str, HOST],
    path: Annotated[str, typer.Argument(help="A file in the home.")],
    every: Annotated[bool, typer.Option("--all", help="Every snapshot, also where the file is the same.")] = False,
    pipeline: Annotated[str, PIPELINE] = "",
    source: Annotated[str, SOURCE] = "",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """List the versions of one file across snapshots; restore --path with a number brings that one back."""
    from hermes_backup.cli.columns import columns
    from hermes_backup.cli.entries import entry, show_hash, show_mode, show_when
    from hermes_backup.cli.screen import console, described, print_json
    from hermes_backup.pipeline.amounts import show_size
    from hermes_backup.pipeline.content import require_file
    from hermes_backup.snapshots.history import versions
    from hermes_backup.snapshots.searching import ranges

    with open_shelf(inventory, host, pipeline, source) as shelf:
        everything = shelf.everything(Narrator(lambda *_: None))
    names = _names(everything)
    sightings = [(it.name, it.member(os.fsencode(path))) for it in everything.looks]
    kinds = {member.kind for _, member in sightings if member is not None}
    if everything.looks and (not kinds or kinds == {"dir"}):
        require_file(everything.looks[-1].members, path)
    found = versions(sightings)
    if as_json:
        told = [{"change": it.change, "snapshots": [str(name) for name in it.snapshots],
                 "file": entry(it.member) if it.member else None} for it in found]  # fmt: skip
        print_json({"versions": told, "errors": [described(it) for it in everything.faults]})
    elif found:
        rows = []
        for number, change, version in _lines(found, every=every):
            member = version.member
            shown = (show_size(member.size), show_mode(member), show_hash(member)) if member else ("-", "-", "-")
            held = "" if every else ranges(version.snapshots, names)
            rows.append((str(number.sequence), show_when(number), *shown, change, held))
        headings = (">number", "snapshot of", ">size", "mode", "hash", "change", "" if every else "snapshots")
        console().print(columns(headings, rows), soft_wrap=True)
    _end(everything, quiet=as_json)


def cat(
    inventory: Annotated[str, INVENTORY],
    host: Annotated[str, HOST],
    snapshot: Annotated[str, SNAPSHOT],
    path: Annotated[str, typer.Argument(help="A file in the home.")],
    pipeline: Annotated[str, PIPELINE] = "",
    source: Annotated[str, SOURCE] = "",
) -> None:
    """Write one file of a snapshot to standard output: its bytes, or on a terminal its text with odd ones escaped."""
    from hermes_backup.cli.screen import warn
    from hermes_backup.pipeline.content import brought, require_file

    with open_shelf(inventory, host, pipeline, source) as shelf, ExitStack() as stack:
        with progress_bar(quiet=False) as tell:
            narrator = Narrator(tell)
            (look,) = shelf.look([shelf.choose(snapshot, narrator)], narrator)
            member = require_file(look.members, path)
            files = stack.enter_context(brought(shelf.source(look), [member.name], narrator))
        warn(narrator.warnings)
        try:
            _write(files[member.name])
        except BrokenPipeError:  # who reads has enough, as head does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(file: Path) -> None:
    from hermes_backup.pipeline.amounts import harmless

    with file.open("rb") as content:
        if not sys.stdout.isatty():
            shutil.copyfileobj(content, sys.stdout.buffer)
            sys.stdout.flush()
            return
        for line in content:
            sys.stdout.write(harmless(line.decode("utf-8", "surrogateescape")) + "\n")


def _names(everything: Everything) -> Sequence[SnapshotName]:
    if not everything.looks and not everything.faults:
        raise Fault(SNAPSHOT_MISSING, "there is no snapshot yet")
    return [it.name for it in everything.looks]


def _lines(found: Sequence[Version], *, every: bool) -> list[tuple[SnapshotName, str, Version]]:
    lines: list[tuple[SnapshotName, str, Version]] = []
    for it in found:
        lines.append((it.snapshots[0], it.change, it))
        if every and it.member is not None:
            lines += [(name, "same", it) for name in it.snapshots[1:]]
    return lines


def _end(everything: Everything, *, quiet: bool) -> None:
    """Name what could not be looked into; then the answer is not the whole one, and the exit code says so."""
    from hermes_backup.cli.entries import tell_faults

    if everything.faults:
        if not quiet:
            tell_faults(everything.faults)
        raise typer.Exit(int(everything.faults[0].kind.exit_code))
