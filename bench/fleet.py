"""Measure ``hermes-backup run`` over many hosts against a bare loop of ``ssh HOST true``, and print what came out.

Every simulated host is a network namespace with its own sshd, a small Hermes home, and the agent of this checkout
(:mod:`bench.namespaces`). The hosts share this machine's processors with the controller, so the agents' own work is
inside the seconds of ``run``. What that work is alone is measured as well: the same agents on the same homes, as many
at a time, started without Ansible and SSH.

The loop is ``xargs -P``: one new connection a host, as many at a time as ``run`` has, with the same key and the same
pinned host keys. Neither finds a connection of an earlier run: Ansible leaves its own open for a minute, and they are
closed after each run, in time that does not count.

The controller's memory is that of hermes-backup, ansible-playbook, its workers and all ssh clients, as
:mod:`bench.measure` adds it up, in a run of its own that also warms up; hosts, sshd and agents are not in it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import contestants as field
from bench.contestants import Key
from bench.measure import adopt_orphans, run
from bench.namespaces import Host, Hosts, enter_own_network
from bench.table import Target, machine, show_targets
from hermes_backup.home.sample import make_sample

_BUSY = 0.7
_TIMES, _MEGABYTES, _SECONDS = 4, 15, 120
_RUN, _LOOP, _AGENTS = "run", "ssh HOST true", "the agents alone"


@dataclass(frozen=True)
class Taken:
    """One run: wall seconds, and CPU seconds of the controller's and of the hosts' processes."""

    seconds: float
    here: float
    there: float


@dataclass(frozen=True)
class Size:
    """What came out for so many hosts, of which ``forks`` at a time: all runs by contestant, and peak memory."""

    hosts: int
    forks: int
    runs: Mapping[str, Sequence[Taken]]
    memory: int

    def seconds(self, name: str) -> float:
        """Return how long a contestant took."""
        return statistics.median(it.seconds for it in self.runs[name])

    @property
    def times(self) -> float:
        """How many times the seconds of the loop ``run`` took."""
        return self.seconds(_RUN) / self.seconds(_LOOP)


def main() -> None:
    """Start the hosts, measure, print."""
    given = _arguments()
    load = os.getloadavg()[0]
    screen = Console(width=150, highlight=False)
    enter_own_network()
    adopt_orphans()
    sizes = sorted(set(given.hosts))
    with tempfile.TemporaryDirectory(prefix="hbf", ignore_cleanup_errors=True) as name, field.new_key() as key:
        work = Path(name)
        screen.print(f"starting {sizes[-1]} hosts", style="dim")
        with Hosts(work, sizes[-1]) as hosts:
            for host in hosts.all:
                make_sample(host.folder / "home")
            measured = _Measured(work, hosts, key, screen)
            rows = [measured.size(it, min(it, given.forks), given.runs) for it in sizes]
    screen.print()
    for line in machine():
        screen.print(line)
    busy = "; the machine was busy, so its seconds say little" if load > _BUSY else ""
    screen.print(f"Load before the start: {load:.1f}{busy}")
    screen.print(f"Medians of {given.runs} runs in turns, after one to warm up.\n")
    _show(screen, rows)
    _show_slopes(screen, rows)
    show_targets(screen, list(_targets(rows)))


class _Measured:
    """The measuring, on hosts that are up."""

    def __init__(self, work: Path, hosts: Hosts, key: Key, screen: Console) -> None:
        self._work = work
        self._hosts = hosts
        self._key = key
        self._screen = screen
        self._sockets = work / "cp"
        self._env = {**field.environment(work), "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._sockets)}

    def size(self, count: int, forks: int, runs: int) -> Size:
        """Measure the loop, the agents alone and ``run``, in turns."""
        contestants = self._contestants(self._hosts.all[:count], forks)
        timed: dict[str, list[Taken]] = {it: [] for it in contestants}
        memory = 0
        for number, name in itertools.product(range(runs + 1), contestants):
            what = f"run {number} of {runs}" if number else "warming up"
            self._screen.print(f"{count} hosts, {what}: {name}", style="dim")
            taken, peak = self._run(name, contestants[name], sample=number == 0 and name == _RUN)
            memory = max(memory, peak)
            timed[name] += [taken] if number else []
        return Size(count, forks, timed, memory)

    def _contestants(self, hosts: Sequence[Host], forks: int) -> dict[str, tuple[str, ...]]:
        ssh = ("ssh", *self._options(), "-i", str(self._hosts.key), "-l", "root", "-o", "ControlPath=none")
        agent = (field.PROGRAM, "agent", "run", field.PIPELINE, "--json")
        configs = [f"--host {it.name} --config {it.folder}/config" for it in hosts]  # as the first run left them
        return {
            _RUN: (field.PROGRAM, "run", str(self._inventory(hosts)), "--forks", str(forks), "--json"),
            _LOOP: self._side_by_side(forks, ssh, [f"{it.address} true" for it in hosts]),
            _AGENTS: self._side_by_side(forks, agent, configs),
        }

    def _side_by_side(self, forks: int, command: Sequence[str], lines: Sequence[str]) -> tuple[str, ...]:
        """Return the command that runs one with the words of each line, so many at a time."""
        file = self._work / f"{Path(command[0]).name}-{len(lines)}"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return ("xargs", "-a", str(file), "-P", str(forks), "-L", "1", *command)

    def _options(self) -> tuple[str, ...]:
        return ("-o", f"UserKnownHostsFile={self._hosts.known}", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes")

    def _inventory(self, hosts: Sequence[Host]) -> Path:
        inventory = self._work / f"inventory-{len(hosts)}"
        (inventory / "group_vars").mkdir(parents=True)
        (inventory / "keys").mkdir()
        (inventory / "keys" / "bench.asc").write_text(self._key.public, encoding="ascii")
        lines = [f"    {it.name}: {{ansible_host: {it.address}}}\n" for it in hosts]
        (inventory / "hosts.yml").write_text("all:\n  hosts:\n" + "".join(lines), encoding="utf-8")
        own = f"{self._work}/{{{{ inventory_hostname }}}}"
        (inventory / "group_vars" / "all.yml").write_text(
            "ansible_user: root\n"
            f"ansible_ssh_private_key_file: {self._hosts.key}\n"
            f"ansible_ssh_common_args: {' '.join(self._options())}\n"
            f"hermes_backup_agent: {field.PROGRAM}\n"
            f"hermes_backup_home: '{own}/home'\n"
            f"hermes_backup_state: '{own}/state'\n"
            f"hermes_backup_config_dir: '{own}/config'\n"
            f"hermes_backup_recipients: [{self._key.fingerprint}]\n"
            "hermes_backup_pipelines:\n"
            f"  {field.PIPELINE}:\n"
            "    stages:\n"
            "      - sqlite:\n"
            "      - archive:\n"
            f"      - encrypt: {{recipients: [{self._key.fingerprint}]}}\n"
            f"      - store: {{path: '{own}/store'}}\n",
            encoding="utf-8",
        )
        return inventory

    def _run(self, name: str, argv: Sequence[str], *, sample: bool) -> tuple[Taken, int]:
        self._sockets.mkdir(exist_ok=True)
        before, spared = self._hosts.cpu(), self._hosts.pid
        done = run(argv, folder=self._work, env=self._env, spared=spared, sample=sample, afterwards=self._disconnect)
        there = self._hosts.cpu() - before
        taken = Taken(done.seconds, 0, done.cpu) if name == _AGENTS else Taken(done.seconds, done.cpu, there)
        return taken, done.memory

    def _disconnect(self) -> None:
        """End the connections that Ansible leaves open."""
        for socket in self._sockets.iterdir():
            argv = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "nobody"]
            subprocess.run(argv, check=False, capture_output=True)


def _show(screen: Console, rows: Sequence[Size]) -> None:
    table = _table("hermes-backup run, over SSH")
    table.add_column("hosts")
    for heading in ("seconds", "fastest…slowest", "times the loop", "CPU s here", "CPU s on the hosts", "peak MB here"):
        table.add_column(heading, justify="right")
    for it in rows:
        table.add_row(f"{it.hosts}, {it.forks} at a time", style="bold")
        for name, runs in it.runs.items():
            taken = [one.seconds for one in runs]
            here, there = (statistics.median(cpu) for cpu in zip(*((one.here, one.there) for one in runs), strict=True))
            table.add_row(
                f"  {name}",
                f"{it.seconds(name):.2f}",
                f"{min(taken):.2f}…{max(taken):.2f}",
                f"{it.seconds(name) / it.seconds(_LOOP):.1f}",
                "-" if name == _AGENTS else f"{here:.1f}",
                f"{there:.1f}",
                f"{it.memory / 1e6:.0f}" if name == _RUN else "-",
            )
    screen.print(table)
    screen.print(f"{_AGENTS}: the same on the same homes, as many at a time, started here without Ansible and SSH\n")


def _show_slopes(screen: Console, rows: Sequence[Size]) -> None:
    table = _table("One more host costs")
    for heading in ("", _LOOP, _AGENTS, _RUN, "the controller, one more at a time"):
        table.add_column(heading, justify="right")
    for few, many in itertools.pairwise(rows):
        more = many.hosts - few.hosts
        table.add_row(
            f"from {few.hosts} to {many.hosts}",
            *(f"{(many.seconds(it) - few.seconds(it)) / more:.2f} s" for it in (_LOOP, _AGENTS, _RUN)),
            f"{_growth(few, many):.1f} MB" if many.forks > few.forks else "-",
        )
    screen.print(table)
    screen.print()


def _targets(rows: Sequence[Size]) -> Iterator[Target]:
    for it in rows:
        what = f"{it.hosts} hosts against the loop"
        yield Target(what, f"<= {_TIMES} times its time", f"{it.times:.1f} times", it.times <= _TIMES)
    for few, many in itertools.pairwise(rows):
        if many.forks > few.forks:
            what = f"memory of one more host at a time, {few.forks} to {many.forks}"
            grown = _growth(few, many)
            yield Target(what, f"< {_MEGABYTES} MB", f"{grown:.1f} MB", grown < _MEGABYTES)
    last = rows[-1].seconds(_RUN)
    yield Target(f"{rows[-1].hosts} hosts", f"< {_SECONDS} s", f"{last:.0f} s", last < _SECONDS)


def _growth(few: Size, many: Size) -> float:
    return (many.memory - few.memory) / (many.forks - few.forks) / 1e6


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[4, 16, 64], help="how many (default 4 16 64)")
    parser.add_argument("--forks", type=int, default=50, help="at a time at most (default 50, as of the program)")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each (default 3)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
