"""The configuration of every host of an inventory: filled in by Ansible, checked by us, each fault with its place."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hermes_backup.errors import CONFIG_INVALID, HOST_MISSING, Fault
from hermes_backup.fleet.answers import Answer
from hermes_backup.fleet.checks import Found, check_host
from hermes_backup.fleet.demo import prepared
from hermes_backup.fleet.fill import fill
from hermes_backup.fleet.inventory import Inventory, data_folder, find_inventory
from hermes_backup.fleet.masking import masked_fault, masked_text
from hermes_backup.fleet.means import Means
from hermes_backup.fleet.places import Places
from hermes_backup.fleet.problems import demand
from hermes_backup.fleet.recipients import examine, read_keys
from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.pipeline.locate import Document, Spot, read
from hermes_backup.pipeline.model import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hermes_backup.pipeline.config import HostConfig

PREFIX = "hermes_backup_"
SERVERS = "backup_remote"
_ALIKE = 0.9


@dataclass(frozen=True)
class FleetHost:
    """A host: what it is to run, and how it is reached.

    Attributes:
        config: None when something is wrong with it.
        means: how its agent is installed and started.
        address: the machine that is reached: two homes on one machine share it.
        secrets: everything of its variables that lies in Ansible's vault.
    """

    name: str
    groups: tuple[str, ...]
    connection: str
    config: HostConfig | None
    means: Means
    address: str
    secrets: tuple[str, ...]
    is_here: bool
    """It is this machine, and this user."""

    @property
    def sound(self) -> HostConfig:
        """The configuration of a host with which nothing is wrong.

        Raises:
            Fault: CONFIG_INVALID.
        """
        if self.config is None:
            raise Fault(CONFIG_INVALID, f"the configuration of host {self.name} is not sound")
        return self.config


@dataclass(frozen=True)
class Fleet:
    """The hosts of an inventory, and everything that is wrong with them."""

    inventory: Inventory
    hosts: tuple[FleetHost, ...]
    found: tuple[Found, ...]
    warnings: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    """Hosts of the group ``backup_remote``: they keep snapshots of others, and run no agent."""

    def host(self, name: str = "") -> FleetHost:
        """Return the host of this name; of a fleet of one, that one without a name.

        Raises:
            Fault: HOST_MISSING.
        """
        if not name and len(self.hosts) == 1:
            return self.hosts[0]
        names = [it.name for it in self.hosts]
        if name not in names:
            what = f"inventory {self.inventory.name} has no host {name!r}" if name else "there are several hosts"
            raise Fault(HOST_MISSING, what, mend=nearest(name, names))
        return self.hosts[names.index(name)]

    def demand_sound(self, hosts: Iterable[FleetHost] | None = None) -> None:
        """Make sure that nothing is wrong with these hosts, or with any.

        Raises:
            Fault: the one fault there is; Faults: all of them, sorted by place.
        """
        names = {it.name for it in (self.hosts if hosts is None else hosts)}
        demand(it.fault for it in self.found if hosts is None or not it.hosts or it.hosts & names)


def defaults_file() -> Path:
    """The file with every variable and its default."""
    return data_folder("playbooks") / "defaults" / "variables.yml"


def render(inventory: Inventory, *, examine_keys: bool = False) -> Fleet:
    """Fill in and check the configuration of every host; nothing is connected to.

    With ``examine_keys`` gpg looks at the recipients' keys, too.

    Raises:
        Fault: CONFIG_YAML for broken files, before Ansible starts; CONFIG_INVALID when Ansible refuses the
            inventory; FLEET_MISSING; INTERRUPTED. What is wrong with single settings is in the fleet that is returned.
    """
    documents = _documents(inventory)
    answers = fill((defaults_file(), inventory.hosts_file), dict(inventory.settings))
    keys = read_keys(inventory.keys, examine=examine_keys)
    now = datetime.now(timezone.utc)
    hosts: list[FleetHost] = []
    known = known_variables(documents)
    found = [*_misspelt(inventory, documents, known), *keys.found]
    warnings: dict[str, None] = {}
    for answer in answers:
        if SERVERS in answer.groups:
            continue
        places = Places(inventory, answer, documents)
        config, means, problems = check_host(answer, places, keys.armored, defaults_file())
        hosts.append(_host(answer, config, means))
        found += _told(problems, answer)
        allowed = {*known, *dict(inventory.settings)}
        found += [_unknown(it, places.variable(it), known) for it in answer.variables if it not in allowed]
        for said in _overruled(config) if config is not None else ():
            warnings[masked_text(said, answer.secrets)] = None
        if config is not None and examine_keys:
            for it in examine(config, places, keys, now):
                if isinstance(it, str):
                    warnings[masked_text(it, answer.secrets)] = None
                else:
                    found += _told([it], answer)
    servers = tuple(it.host for it in answers if SERVERS in it.groups)
    return Fleet(inventory, tuple(hosts), _merged(found), tuple(warnings), servers)


def _overruled(config: HostConfig) -> Iterator[str]:
    """Say where a pipeline does otherwise than it declares."""
    for name in config.pipelines:
        yield from (f"pipeline {name}: {it}" for it in pipeline_of(config, name).overruled)


def host_config(wanted: str, host: str = "") -> HostConfig:
    """Return the configuration of one host of an inventory; ``host`` may be left out where there is only one.

    Raises:
        Fault: INVENTORY_MISSING, HOST_MISSING, or whatever is wrong with that host.
    """
    fleet = render(prepared(find_inventory(wanted)))
    chosen = fleet.host(host)
    fleet.demand_sound([chosen])
    return chosen.sound


def _documents(inventory: Inventory) -> Mapping[Path, Document]:
    documents: dict[Path, Document] = {}
    faults: list[Fault] = []
    for file in (*inventory.yaml_files(), defaults_file()):
        try:
            documents[file] = read(file)
        except Fault as fault:
            faults.append(fault)
    demand(faults)
    return documents


def _host(answer: Answer, config: HostConfig | None, means: Means) -> FleetHost:
    return FleetHost(
        name=answer.host,
        groups=answer.groups,
        connection=answer.connection,
        config=config,
        means=means,
        address=answer.address,
        secrets=answer.secrets,
        is_here=answer.connection == "local" and not answer.become,
    )


def known_variables(documents: Mapping[Path, Document]) -> tuple[str, ...]:
    """Every variable that an inventory may set: those of the file of defaults."""
    return tuple(it.name for it in documents[defaults_file()].definitions() if it.name.startswith(PREFIX))


def _misspelt(inventory: Inventory, documents: Mapping[Path, Document], known: Sequence[str]) -> Iterator[Found]:
    """Find unknown variables in YAML, those of groups without hosts and of nearly our prefix, too."""
    for file, document in documents.items():
        if file == defaults_file():
            continue
        for key in document.definitions():
            nested = key.depth > 0 and file != inventory.hosts_file
            ours = key.name.startswith(PREFIX)
            alike = ours or difflib.get_close_matches(key.name, known, n=1, cutoff=_ALIKE)
            if alike and not nested and key.name not in known:
                yield _unknown(key.name, key.spot, known)


def _unknown(name: str, spot: Spot, known: Sequence[str]) -> Found:
    fault = Fault(CONFIG_INVALID, f"unknown variable {name!r}", where=str(spot), mend=nearest(name, known))
    return Found(spot, fault, frozenset())


def _told(found: Iterable[Found], answer: Answer) -> Iterator[Found]:
    """What is wrong with a host's values is told without what lies in its vault."""
    return (replace(it, fault=masked_fault(it.fault, answer.secrets)) for it in found)


def _merged(found: Iterable[Found]) -> tuple[Found, ...]:
    """One entry for what is wrong in one place, whichever hosts it concerns; sorted by place."""
    merged: dict[tuple[str, str], Found] = {}
    for it in sorted(found, key=lambda it: it.spot):
        key = (it.fault.where, it.fault.what)
        before = merged.get(key)
        hosts = it.hosts if before is None else before.hosts | it.hosts
        merged[key] = Found(it.spot, it.fault, hosts)
    return tuple(merged.values())
