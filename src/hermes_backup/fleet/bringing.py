"""A snapshot brought back on a host: decrypted here, streamed there, and put in place by the host's own agent."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from hermes_backup.errors import AGENT_MISSING, HOST_UNREACHABLE, STAGE_FAILED, Fault
from hermes_backup.fleet.changing import Options as DeployOptions
from hermes_backup.fleet.declared import AGENT_DIR, declared
from hermes_backup.fleet.deploy import Deployment
from hermes_backup.fleet.door import door
from hermes_backup.fleet.outcome import fault_from
from hermes_backup.fleet.reporting import ask_hosts
from hermes_backup.pipeline.amounts import harmless
from hermes_backup.pipeline.handover import Compared, Handover, Line, Replaced, Wanted, write_head
from hermes_backup.pipeline.interruption import undisturbed
from hermes_backup.pipeline.unpacking import Source, contents, opened
from hermes_backup.streams.process import PIPE, Process, spawn

if TYPE_CHECKING:
    from hermes_backup.fleet.render import Fleet, FleetHost
    from hermes_backup.pipeline.executor import Follower

_NOT_FOUND, _SSH_FAILED = 127, 255
_GRACE = 30.0  # seconds for an agent on this machine to clean up


@dataclass
class Bringing:
    """One snapshot on its way to one host. Use it once.

    Attributes:
        note: is told what happens, in sentences.
    """

    fleet: Fleet
    host: FleetHost
    source: Source
    follower: Follower
    note: Callable[[str], None]

    def compare(self, only: tuple[str, ...] = ()) -> Compared:
        """Say what a restore would change; nothing is sent but the list of files.

        Raises:
            Fault: what keeps the snapshot from being read, or the host from comparing.
        """
        argv = door(self.fleet, self.host, self._agent())
        seen = contents(self.source, self.follower)
        head = Handover(Wanted(purpose="compare", only=only), self.host.sound, seen.manifest, seen.members)
        answer = self._sent(argv, write_head(head)).compared
        if answer is None:
            raise Fault(STAGE_FAILED, "the host compared nothing", where=self.host.name)
        return answer

    def replace(self, only: tuple[str, ...] = (), *, start: bool = True, leave_indexes: bool = False) -> Replaced:
        """Put the snapshot in the place of the host's home, or of ``only`` these paths of it.

        Raises:
            Fault: as :func:`hermes_backup.pipeline.replacing.replace`, and what keeps the snapshot from being read.
        """
        argv = door(self.fleet, self.host, self._agent())
        wanted = Wanted(purpose="replace", only=only, start=start, leave_indexes=leave_indexes)
        with opened(self.source, self.follower) as (plain, _):
            head = Handover(wanted, self.host.sound, plain.manifest, plain.members, plain.remakings)
            answer = self._sent(argv, _both(write_head(head), plain.packed())).replaced
        if answer is None:
            raise Fault(STAGE_FAILED, "the host replaced nothing", where=self.host.name)
        return answer

    def _agent(self) -> tuple[str, ...]:
        """Return the command that takes a snapshot there, deploying the agent first where it is not as declared."""
        program = self.host.means.agent
        if not program and self.host.connection == "local":
            program = str(Path(sys.executable).parent / "hermes-backup")
        if not program:
            self._deployed()
            program = f"{AGENT_DIR}/current/bin/hermes-backup"
        if self.host.is_here and not Path(program).is_file():
            raise Fault(AGENT_MISSING, f"no program at {program}", where=self.host.name)
        return (program, "agent", "restore")

    def _deployed(self) -> None:
        word = ask_hosts(self.fleet, [self.host])[self.host.name]
        if isinstance(word, Fault):
            raise word
        digest = declared(self.host, [it.name for it in self.fleet.hosts]).digest
        if word.deployed is not None and word.deployed.digest == digest:
            return
        self.note(f"deploying to {self.host.name} first")
        (done,) = Deployment(self.fleet, [self.host], DeployOptions(), self.note).execute()
        if done.fault is not None:
            raise done.fault

    def _sent(self, argv: tuple[str, ...], chunks: Iterator[bytes]) -> Line:
        process = spawn(argv, stage="restore", stdin=PIPE, stdout=PIPE)
        answer = _Answer(process, self.follower)
        try:
            with suppress(BrokenPipeError):  # it has ended, and says why
                for chunk in chunks:
                    process.stdin.write(chunk)
                undisturbed()  # what it has whole, it may be putting in place: that ends, and is waited for
                process.stdin.close()
            answer.join()
            code = process.wait()
        finally:
            process.terminate(_GRACE)
        if answer.last is None:
            raise _silence(self.host.name, code, process.errors())
        if answer.last.error is not None:
            raise fault_from(self.host.name, answer.last.error.model_dump())
        return answer.last


@dataclass
class _Answer:
    """What the host says meanwhile: progress is passed on, and the last word kept."""

    process: Process
    follower: Follower
    last: Line | None = None
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until it has said everything."""
        while self._thread.is_alive():
            self._thread.join(0.2)  # a signal gets in between

    def _listen(self) -> None:
        for text in self.process.stdout:
            try:
                line = Line.model_validate_json(text)
            except ValidationError:
                continue
            if line.warning:
                self.follower.warn(line.stage, line.warning)
            elif line.replaced or line.compared or line.error:
                self.last = line
            else:
                self.follower.progress(harmless(line.stage), line.done, line.total)


def _both(head: Iterator[bytes], data: Iterator[bytes]) -> Iterator[bytes]:
    yield from head
    yield from data


def _silence(host: str, code: int, said: str) -> Fault:
    last = said.strip().splitlines()[-1:] or ["it said nothing"]
    if code == _NOT_FOUND:
        return Fault(AGENT_MISSING, last[0], where=host)
    if code == _SSH_FAILED:
        return Fault(HOST_UNREACHABLE, last[0], where=host)
    return Fault(STAGE_FAILED, f"its agent ended with {code}: {last[0]}", where=host)
