"""``hermes-backup restore``: a snapshot back, into a folder, in the place of the home, or onto another host."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_backup.cli.opening import INVENTORY, JSON, PIPELINE, SNAPSHOT, SOURCE, open_host
from hermes_backup.cli.progress import Narrator, progress_bar

if TYPE_CHECKING:
    from hermes_backup.pipeline.config import HostConfig
    from hermes_backup.pipeline.unpacking import Source


@dataclass(frozen=True)
class _Asked:
    """What was asked for on the command line, beside whose snapshot it is."""

    inventory: str
    snapshot: str
    paths: tuple[str, ...]
    pipeline: str
    source: str
    leave_indexes: bool
    as_json: bool


def restore(
    inventory: Annotated[str, INVENTORY],
    host: Annotated[str, typer.Argument(help="The host whose home it was.")],
    snapshot: Annotated[str, SNAPSHOT] = "latest",
    to: Annotated[Path | None, typer.Option("--to", help="Into this folder, which must not hold anything yet.")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="On the host, in the place of its home.")] = False,
    onto: Annotated[str, typer.Option("--onto", help="On this other host; its gateway stays stopped.")] = "",
    paths: Annotated[
        list[str] | None, typer.Option("--path", help="Only this file or folder; may be repeated.")
    ] = None,
    start: Annotated[bool, typer.Option("--start", help="With --onto: start services that ran there again.")] = False,
    keep_stopped: Annotated[bool, typer.Option("--keep-stopped", help="With --in-place: start nothing again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change on the host.")] = False,
    leave_indexes: Annotated[
        bool, typer.Option("--leave-indexes-to-hermes", help="Search indexes that were left out are made by Hermes.")
    ] = False,
    pipeline: Annotated[str, PIPELINE] = "",
    source: Annotated[str, SOURCE] = "",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Bring a home back: proven before it is decrypted, checked before it takes anything's place.

    With --in-place and --onto the old home, or with --path each old file, stays beside its successor. What was
    interrupted ends well when it is called again.
    """
    asked = _Asked(inventory, snapshot, tuple(paths or ()), pipeline, source, leave_indexes, as_json)
    if (to is not None) + in_place + bool(onto) != 1 or (dry_run and to is not None):
        raise typer.BadParameter(
            "give one of --to FOLDER, --in-place and --onto HOST; --dry-run goes with the last two"
        )
    if (start and not onto) or (keep_stopped and not in_place):
        raise typer.BadParameter("--start goes with --onto, and --keep-stopped with --in-place")
    _require_text(asked.paths)
    if to is not None:
        _into(asked, host, to)
    else:
        _onto(asked, host, onto or host, start=start if onto else not keep_stopped, dry_run=dry_run)


def _require_text(paths: tuple[str, ...]) -> None:
    """Refuse what cannot travel as JSON; a folder travels by its own name, whatever is in it."""
    from hermes_backup.home.printable import printable

    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError:
            what = f"--path {printable(path)} is no UTF-8 text; name the folder that it lies in, or give no --path"
            raise typer.BadParameter(what) from None


def _into(asked: _Asked, host: str, to: Path) -> None:
    from hermes_backup.cli.restored import show_restored
    from hermes_backup.pipeline.restoring import restore as bring_back

    started = time.monotonic()
    config, inventory = open_host(asked.inventory, host)
    with _opened(asked, config, inventory.pins) as (opened, narrator):
        done = bring_back(opened, to, narrator, asked.paths, leave_indexes=asked.leave_indexes)
    show_restored(config.host, done, narrator.warnings, time.monotonic() - started, as_json=asked.as_json)


def _onto(asked: _Asked, host: str, target: str, *, start: bool, dry_run: bool) -> None:
    from hermes_backup.cli.restored import Onto, show_compared, show_replaced
    from hermes_backup.cli.screen import console
    from hermes_backup.fleet.bringing import Bringing
    from hermes_backup.fleet.demo import prepared
    from hermes_backup.fleet.inventory import find_inventory
    from hermes_backup.fleet.render import render

    started = time.monotonic()
    fleet = render(prepared(find_inventory(asked.inventory)))
    whose, where = fleet.host(host), fleet.host(target)
    fleet.demand_sound([whose, where])
    screen = console(stderr=True)
    with _opened(asked, whose.sound, fleet.inventory.pins) as (opened, narrator):
        bringing = Bringing(fleet, where, opened, narrator, lambda text: screen.print(text, style="dim", markup=False))
        seen = bringing.compare(asked.paths) if dry_run else None
        leave = asked.leave_indexes
        done = bringing.replace(asked.paths, start=start, leave_indexes=leave) if seen is None else None
    name, seconds = str(opened.chosen[1].name), time.monotonic() - started
    told = Onto(where.name, name, asked.paths, elsewhere=host != target)
    if seen is not None:
        show_compared(told, seen, narrator.warnings, as_json=asked.as_json)
    elif done is not None:
        show_replaced(told, done, narrator.warnings, seconds, as_json=asked.as_json)


@contextmanager
def _opened(asked: _Asked, config: HostConfig, pins: Path) -> Iterator[tuple[Source, Narrator]]:
    """Find the snapshot that is wanted."""
    from hermes_backup.errors import PIPELINE_MISSING, Fault
    from hermes_backup.pipeline.choosing import choose
    from hermes_backup.pipeline.places import backups, pinned_key
    from hermes_backup.pipeline.unpacking import Source

    made = backups(config, asked.pipeline)
    if not made:
        raise Fault(PIPELINE_MISSING, f"no pipeline of host {config.host} makes snapshots")
    with pinned_key(pins, config.host) as pinned, progress_bar(quiet=asked.as_json) as tell:
        narrator = Narrator(tell)
        chosen = choose(config, made[0], asked.snapshot, asked.source, pinned, narrator)
        yield Source(config, made[0], chosen, pinned), narrator
