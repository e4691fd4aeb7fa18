"""What came of a restore, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.cli.screen import console, print_json

if TYPE_CHECKING:
    from hermes_backup.pipeline.handover import Compared, Replaced
    from hermes_backup.pipeline.restoring import Restored
    from hermes_backup.snapshots.manifest import PartialFile

_SHOWN = 12


@dataclass(frozen=True)
class Onto:
    """Which snapshot, or ``paths`` of it, was wanted on which host; ``elsewhere``: it is not the host that it is of."""

    host: str
    snapshot: str
    paths: tuple[str, ...]
    elsewhere: bool

    def said(self, home: str) -> str:
        """Say what is put where."""
        from hermes_backup.pipeline.amounts import harmless

        if not self.paths:
            return f"{self.snapshot} on {self.host} in place of {harmless(home)}"
        return f"{', '.join(map(harmless, self.paths))} of {self.snapshot} on {self.host} in {harmless(home)}"

    def as_json(self) -> dict[str, object]:
        """Return the part of it that programs are told."""
        return {"host": self.host, "snapshot": self.snapshot, "paths": list(self.paths)}


def show_restored(host: str, done: Restored, warnings: Sequence[str], seconds: float, *, as_json: bool) -> None:
    """Say what came back into a folder."""
    from hermes_backup.pipeline.amounts import show_seconds, show_size

    findings = [{"what": it.what, "evidence": it.evidence} for it in done.report.findings]
    if as_json:
        told = {"snapshot": str(done.manifest.name), "from": done.source, "to": str(done.target)}
        counts = {"files": done.files, "bytes": done.size, "seconds": round(seconds, 3)}
        partial = [it.model_dump() for it in done.manifest.partial]
        print_json({**told, **counts, "databases": findings, "partial": partial, "warnings": list(warnings)})
        return
    screen = console()
    size, took = show_size(done.size), show_seconds(seconds)
    screen.print(
        f"restored {done.manifest.name} of {host} from {done.source} to {done.target}: {done.files} files, {size}, "
        f"in {took}",
        style="green",
        markup=False,
    )
    for it in done.report.findings:
        screen.print(f"  {it.what}: {it.evidence}", markup=False)
    _warn([*warnings, *_partial(done.manifest.partial)])


def show_replaced(onto: Onto, done: Replaced, warnings: Sequence[str], seconds: float, *, as_json: bool) -> None:
    """Say what was put in place on a host."""
    from hermes_backup.pipeline.amounts import harmless, show_seconds, show_size

    if as_json:
        told = {**onto.as_json(), "seconds": round(seconds, 3), "warnings": list(warnings)}
        print_json({**told, **done.model_dump(mode="json")})
        return
    screen = console()
    size, took = show_size(done.bytes), show_seconds(seconds)
    said = f"restored {onto.said(done.home)}: {done.files} files, {size}, in {took}"
    screen.print(said, style="green", markup=False)
    for line in done.checked:
        screen.print(f"  {harmless(line)}", markup=False)
    for aside in done.aside:
        screen.print(f"  what was there before: {harmless(aside)}", markup=False)
    if done.started:
        screen.print(f"  runs again: {harmless(', '.join(done.started))}", markup=False)
    stays = [it for it in done.stopped if it not in done.started]
    if stays:
        screen.print(f"  stays stopped until you start it: {harmless(', '.join(stays))}", style="yellow", markup=False)
    lost = [f"the state names a path that is not on {onto.host}: {it}" for it in done.absent] if onto.elsewhere else []
    _warn([*warnings, *_partial(done.partial), *lost])
    if onto.elsewhere and done.secrets:
        screen.print(
            "\nTwo agents with one token fight. Stop the old one for good before you start this one, or give this one "
            "tokens of its own. These hold secrets to rotate where the old host may be in other hands:",
            style="yellow",
        )
        for it in done.secrets:
            screen.print(f"  {harmless(it)}", markup=False)


def show_compared(onto: Onto, seen: Compared, warnings: Sequence[str], *, as_json: bool) -> None:
    """Say what a restore would change."""
    from hermes_backup.pipeline.amounts import harmless

    if as_json:
        print_json({**onto.as_json(), "warnings": list(warnings), **seen.model_dump(mode="json")})
        return
    screen = console()
    screen.print(f"restoring {onto.said(seen.home)} would change:", style="bold", markup=False)
    for what, names in (("add", seen.added), ("change", seen.changed), ("remove", seen.removed)):
        screen.print(f"  {what} {len(names)}" + (":" if names else ""), markup=False)
        for name in names[:_SHOWN]:
            screen.print(f"    {harmless(name)}", markup=False)
        if len(names) > _SHOWN:
            screen.print(f"    and {len(names) - _SHOWN} more; --json lists them", style="dim")
    for it in seen.rows:
        now, then = it.live or 0, it.then or 0
        gained = "gained" if then > now else "lost"
        where = harmless(f"{it.database}: {it.table}")
        screen.print(f"  {where}: {abs(then - now)} rows {gained} ({now} now, {then} then)", markup=False)
    _warn([*warnings, *(f"cannot be compared: {it}" for it in seen.unknown), *_partial(seen.partial)])


def _partial(files: Sequence[PartialFile]) -> list[str]:
    return [f"partial since the backup: {it.path}: {it.reason}" for it in files]


def _warn(warnings: Sequence[str]) -> None:
    from hermes_backup.pipeline.amounts import harmless

    for warning in warnings:
        console().print(f"warning: {harmless(warning)}", style="yellow", markup=False)
