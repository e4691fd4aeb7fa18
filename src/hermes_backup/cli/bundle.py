"""``hermes-backup bundle``: what the agent in a container is given, as a folder to mount or a secret to make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hermes_backup.cli.opening import INVENTORY, JSON


def bundle(
    inventory: Annotated[str, INVENTORY],
    host: Annotated[str, typer.Argument(help="The host that the container is.")],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that is not there, is empty, or holds this host's bundle.")
    ],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Write what an agent needs that nobody can deploy to, as in a container that comes and goes.

    DIR is to be mounted at /etc/hermes-backup. It holds the host's configuration, its credentials and its private
    signing key, so it is secret. Done again, it keeps the key and changes what is declared otherwise.
    """
    from hermes_backup.cli.screen import console, print_json
    from hermes_backup.fleet.bundle import bundle as write
    from hermes_backup.fleet.demo import prepared
    from hermes_backup.fleet.inventory import find_inventory
    from hermes_backup.fleet.render import render

    fleet = render(prepared(find_inventory(inventory)), examine_keys=True)
    chosen = fleet.host(host)
    fleet.demand_sound([chosen])
    made = write(fleet, chosen, folder)
    if as_json:
        print_json({"host": made.host, "folder": str(made.folder), "files": made.files,
                    "signing_key": {"fingerprint": made.fingerprint, "pinned": made.pinned}})  # fmt: skip
        return
    screen = console()
    for name, change in made.files.items():
        screen.print(f"{change:<9}  {made.folder / name}", markup=False)
    if made.pinned:
        screen.print(f"pinned the signing key of {made.host} in {fleet.inventory.pins}", style="dim", markup=False)
    screen.print(
        f"{made.folder} is secret: with it anybody adds snapshots as {made.host}. Mount it at /etc/hermes-backup, "
        "read-only; keep a copy, for its signing key is nowhere else.",
        markup=False,
    )
