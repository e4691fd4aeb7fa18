"""``hermes-backup validate`` and ``hermes-backup show``: is the inventory sound, and what is in force?"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hermes_backup.fleet.render import Fleet

_INVENTORY = typer.Argument(help="A path, or a name: ./inventory/NAME, ~/.config/hermes-backup/inventory/NAME, …")
_JSON = typer.Option("--json", help="Print the result as JSON.")


def validate(
    inventory: Annotated[str, _INVENTORY] = "demo",
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Check an inventory and its keys before anything runs: every fault with file, line and column."""
    from hermes_backup.fleet.demo import prepared
    from hermes_backup.fleet.inventory import find_inventory
    from hermes_backup.fleet.render import render

    fleet = render(prepared(find_inventory(inventory)), examine_keys=True)
    fleet.demand_sound()
    _print_sound(fleet, as_json)


def show(
    inventory: Annotated[str, _INVENTORY],
    host: Annotated[str, typer.Argument(help="The host; needed only if there are several.")] = "",
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="Only this pipeline.")] = "",
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Print what is in force for a host, all defaults filled in, secrets masked."""
    from hermes_backup.cli.screen import print_json
    from hermes_backup.fleet.demo import prepared
    from hermes_backup.fleet.inventory import find_inventory
    from hermes_backup.fleet.render import render
    from hermes_backup.fleet.show import effective

    fleet = render(prepared(find_inventory(inventory)))
    chosen = fleet.host(host)
    fleet.demand_sound([chosen])
    data = effective(chosen, pipeline)
    if as_json:
        print_json(data)
    else:
        _print_yaml(data)


def _print_sound(fleet: Fleet, as_json: bool) -> None:
    from rich.table import Table

    from hermes_backup.cli.screen import console, print_json
    from hermes_backup.fleet.masking import mask

    rows = [
        (it.name, it.connection, list(it.config.pipelines), mask(it.config.remotes, it.secrets))
        for it in fleet.hosts
        if it.config is not None
    ]
    if as_json:
        hosts = [
            {"host": name, "connection": how, "pipelines": pipelines, "remotes": remotes}
            for name, how, pipelines, remotes in rows
        ]
        folder = str(fleet.inventory.folder)
        print_json({"inventory": folder, "hosts": hosts, "warnings": list(fleet.warnings), "errors": []})
        return
    table = Table("host", "connection", "pipelines", box=None, header_style="bold", pad_edge=False)
    table.add_column("remotes", overflow="fold")
    for name, how, pipelines, remotes in rows:
        table.add_row(name, how, ", ".join(pipelines), ", ".join(remotes))
    screen = console()
    screen.print(table)
    for warning in fleet.warnings:
        screen.print(f"warning: {warning}", style="yellow", markup=False)
    screen.print(f"inventory {fleet.inventory.name} is sound", style="green", markup=False)


def _print_yaml(data: Any) -> None:
    from rich.syntax import Syntax
    from ruamel.yaml import YAML

    from hermes_backup.cli.screen import console

    out = StringIO()
    yaml = YAML(typ="rt")
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), _null)
    yaml.dump(data, out)
    screen = console()
    if screen.no_color:
        screen.print(out.getvalue(), end="", markup=False, soft_wrap=True)
    else:
        screen.print(Syntax(out.getvalue(), "yaml", background_color="default", word_wrap=True))


def _null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")
