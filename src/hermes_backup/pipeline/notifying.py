"""Telling people of a run that failed, through whatever apprise reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hermes_backup.errors import NOTIFY_FAILED, Fault

if TYPE_CHECKING:
    from hermes_backup.pipeline.status import Status


def message(host: str, pipeline: str, status: Status | None) -> tuple[str, str]:
    """Return title and text about the last run of a pipeline; nothing in it tells what the agent knows."""
    title = f"hermes-backup: {host}/{pipeline}"
    if status is None or status.state == "running":
        return f"{title} was ended from outside", "No last word: killed, out of memory or over its time."
    lines = [f"at {status.updated:%Y-%m-%d %H:%M:%S} UTC, in stage {status.stage or 'none'}"]
    if status.error is not None:
        lines += [f"{status.error.what} [{status.error.name}]", status.error.mend]
    if status.partial:
        lines += [f"{len(status.partial)} files are partial"]
    return f"{title} {status.state}", "\n".join(it for it in lines if it)


def notify(addresses: Sequence[str], title: str, text: str) -> None:
    """Send to every address.

    Raises:
        Fault: NOTIFY_FAILED when one of them is none, or was not reached. It does not repeat the address: a secret.
    """
    try:
        import apprise
    except ImportError:
        mend = "pip install 'hermes-backup[notify]'"
        raise Fault(NOTIFY_FAILED, "apprise is not installed here", mend=mend) from None
    told = apprise.Apprise()
    for number, address in enumerate(addresses, 1):
        if not told.add(address):
            raise Fault(NOTIFY_FAILED, f"address {number} is none that apprise knows")
    if not told.notify(body=text, title=title):
        raise Fault(NOTIFY_FAILED, "at least one address was not reached")
