"""The stage ``check`` run on whatever a forge made, as a drill runs it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hermes_backup.pipeline.executor import execute
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.stages.check import Check, CheckFailed
from hermes_backup.stages.context import Context, Teardown
from hermes_backup.stages.decrypt import Decrypt
from hermes_backup.stages.extract import Extract
from hermes_backup.stages.fetch import fetched
from hermes_backup.stages.ledger import Ledger
from hermes_backup.stages.things import Finding, Report
from hermes_backup.streams.folders import private_folder
from hermes_backup.streams.keys import Keyring
from tests.pipeline.forge import Witness, pinned
from tests.site import Site


def checked(
    site: Site,
    check: Check,
    *,
    key: str = "",
    gnupghome: Path | None = None,
    spoil: Callable[[Path], None] | None = None,
) -> dict[str, Finding]:
    """Bring the newest of the site's store back and check it; ``spoil`` changes the tree in between."""
    (site.root / "drill").mkdir(exist_ok=True)
    with private_folder(site.root / "drill", "drill-") as folder, pinned(site, key) as pin:
        follower = Witness()
        context = Context(
            host="vps1", pipeline="nightly", now=datetime.now(timezone.utc), folder=folder, ledger=Ledger(folder),
            keyring=Keyring(None), gnupghome=gnupghome or site.recipient.gnupghome, host_key=None, pinned=pin,
            rclone_config=None, own_controller=False, if_changed=False, settings="", listener=follower,
            teardown=Teardown(),
        )  # fmt: skip
        snapshot = fetched(FolderPlace(site.store), "latest", context)
        tree: Any = execute((Decrypt(), Extract()), snapshot, context, follower)
        if spoil is not None:
            spoil(tree.root)
        try:
            report: Report = execute((check,), tree, context, follower)
        except CheckFailed as failed:
            report = failed.report
        return {it.what: it for it in report.findings}
