"""``hermes-backup mount``: a snapshot as a read-only folder, until somebody ends it."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from hermes_backup.cli.opening import HOST, INVENTORY, JSON, PIPELINE, SOURCE, open_shelf
from hermes_backup.cli.progress import Narrator, progress_bar

_TWO = 2


def mount(
    inventory: Annotated[str, INVENTORY],
    host: Annotated[str, HOST],
    where: Annotated[
        list[str],
        typer.Argument(
            metavar="[SNAPSHOT] DIR",
            help="SNAPSHOT as for ls, none: latest; DIR is a folder that is empty or not there.",
        ),
    ],
    pipeline: Annotated[str, PIPELINE] = "",
    source: Annotated[str, SOURCE] = "",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show a snapshot as a read-only folder until Ctrl-C: proven and checked first, gone without a trace at the end."""
    import platformdirs

    from hermes_backup import APP
    from hermes_backup.cli.screen import console, print_json, warn
    from hermes_backup.pipeline.looking import Shelf
    from hermes_backup.pipeline.mounting import shown, until_stopped
    from hermes_backup.pipeline.unpacking import Source

    if len(where) > _TWO:
        raise typer.BadParameter("give one SNAPSHOT and one DIR, at most", param_hint="'[SNAPSHOT] DIR'")
    wanted, target = ["latest", *where][-_TWO:]
    with ExitStack() as stack:
        shelf: Shelf = stack.enter_context(open_shelf(inventory, host, pipeline, source))
        with progress_bar(quiet=as_json) as tell:
            narrator = Narrator(tell)
            chosen = shelf.choose(wanted, narrator)
            opened = Source(shelf.config, shelf.pipeline, chosen, shelf.pinned)
            records = platformdirs.user_state_path(APP) / "mounts"
            report = stack.enter_context(shown(opened, Path(target), records, narrator))
        warn(narrator.warnings)
        try:
            name = report.tree.manifest.name
            if as_json:
                print_json({"snapshot": str(name), "at": str(Path(target).absolute())})
            else:
                said = f"{host}/{shelf.pipeline.name} {name} is at {target}, read-only, until Ctrl-C"
                console().print(said, style="green", markup=False, soft_wrap=True)
            sys.stdout.flush()
            until_stopped()
        except KeyboardInterrupt:
            pass
