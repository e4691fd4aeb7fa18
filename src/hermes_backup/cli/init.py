"""``hermes-backup init``: a new inventory to start from."""

from __future__ import annotations

from typing import Annotated

import typer


def init(
    name: Annotated[str, typer.Argument(help="Its name; it becomes ./inventory/NAME.")] = "prod",
    host: Annotated[
        list[str] | None, typer.Option(help="[USER@]HOST[:PORT]; may be given again. Without any: this machine.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write a new inventory with two lines to edit; overwrites nothing."""
    from pathlib import Path

    from hermes_backup.cli.screen import console, print_json
    from hermes_backup.fleet.scaffold import make_inventory, parse_address
    from hermes_backup.snapshots.names import check_host

    folder = Path.cwd() / "inventory" / check_host(name)
    files = make_inventory(folder, [parse_address(it) for it in host or ()])
    if as_json:
        print_json({"folder": str(folder), "files": [str(it) for it in files]})
        return
    screen = console()
    for file in files:
        screen.print(f"wrote {file.relative_to(Path.cwd())}", markup=False)
    screen.print(_NEXT.format(name=name), markup=False)


_NEXT = """
Next:
  1. A key that can encrypt, on the machine that may read the backups, and its fingerprint:
       gpg --quick-generate-key "Hermes Backup <you@example.org>" default default 3y
       gpg --list-keys --with-colons "Hermes Backup" | awk -F: '$1 == "fpr" {{print $10; exit}}'
       gpg --armor --export FINGERPRINT > inventory/{name}/keys/operator.asc
  2. Edit the two lines at the top of inventory/{name}/group_vars/all.yml.
  3. hermes-backup validate {name}
  4. hermes-backup run {name}
"""
