"""Telling people of a run that failed, or a home that is older than it should be, through whatever apprise reaches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hermes_backup.errors import NOTIFY_FAILED, Fault
from hermes_backup.pipeline.config import NOTIFY_CREDENTIAL
from hermes_backup.stages.credentials import credential

if TYPE_CHECKING:
    import apprise

    from hermes_backup.pipeline.status import Status


def message(host: str, pipeline: str, status: Status | None) -> tuple[str, str]:
    """Return title and text about the last run of a pipeline; nothing in it tells what the agent knows."""
    title = f"hermes-backup: {host}/{pipeline}"
    if status is None or status.state not in ("failed", "interrupted", "partial"):
        text = "No last word of that run: killed, out of memory, over its time, or it could not begin.\n"
        return f"{title} failed", f"{text}hermes-backup logs INVENTORY {host} says more."
    lines = [f"at {status.updated:%Y-%m-%d %H:%M:%S} UTC, in stage {status.stage or 'none'}"]
    if status.error is not None:
        lines += [f"{status.error.what} [{status.error.name}]", status.error.mend]
    if status.partial:
        lines += [f"{len(status.partial)} files are partial"]
    return f"{title} {status.state}", "\n".join(it for it in lines if it)


def addresses() -> Sequence[str]:
    """Return whom hermes_backup_notify names on this machine; nobody where its credential is not here."""
    file = credential(NOTIFY_CREDENTIAL)
    return file.read_text(encoding="utf-8").split() if file.is_file() else []


def passed_over(host: str, pipeline: str, snapshot: str, damaged: Sequence[str]) -> tuple[str, str]:
    """Return title and text about a home that was brought from an older snapshot, because newer ones are damaged."""
    lines = [f"the home was brought from {snapshot}, for what is newer is damaged:", *damaged]
    lines += [f"What the agent learned since is missing: hermes-backup verify INVENTORY {host} says more."]
    return f"hermes-backup: {host}/{pipeline} began with an older snapshot", "\n".join(lines)


def notify(addresses: Sequence[str], title: str, text: str) -> None:
    """Send to every address; one that is not reached does not keep the others from being told.

    Raises:
        Fault: NOTIFY_FAILED when one of them is none, or was not reached. It does not repeat the address: a secret.
    """
    try:
        import apprise
    except ImportError:
        mend = "pip install 'hermes-backup[notify]'"
        raise Fault(NOTIFY_FAILED, "apprise is not installed here", mend=mend) from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it would name addresses, which are secrets
    bad = [number for number, address in enumerate(addresses, 1) if not _told(apprise.Apprise(), address, title, text)]
    if bad:
        numbers = ", ".join(map(str, bad))
        raise Fault(NOTIFY_FAILED, f"address {numbers} of hermes_backup_notify is none, or was not reached")


def _told(sender: apprise.Apprise, address: str, title: str, text: str) -> bool:
    return sender.add(address) and bool(sender.notify(body=text, title=title))
