"""Can each recipient's key decrypt? Those whose private keys are at hand are tried, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hermes_backup.errors import KEY_PASSPHRASE, Fault
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.stages.things import Finding
from hermes_backup.streams.coder import from_bytes, join
from hermes_backup.streams.gpg import Decrypt
from hermes_backup.streams.keys import secret_keys
from hermes_backup.streams.packets import Opener, openers

_HIDDEN = "0" * 16


def recipients(manifest: Manifest, folder: Path, gnupghome: Path | None) -> Iterator[Finding]:
    """Decrypt the list of files, which lies in ``folder``, once with each key alone.

    The packets of the other keys are taken out before, so that gpg cannot use another one.
    """
    if manifest.encryption != "recipients":
        return
    part = manifest.index
    if part is None or not (folder / part.name).is_file():
        yield Finding("keys", "unproven", "there is no list of files to try them with")
        return
    try:
        packets, data = openers((folder / part.name).read_bytes())
    except Fault as fault:
        yield Finding("keys", "failed", fault.what, name=fault.kind.name)
        return
    if len(packets) != len(manifest.recipients):
        said = f"the list of files is encrypted to {len(packets)} keys, the manifest names {len(manifest.recipients)}"
        yield Finding("keys", "failed", said)
    known = secret_keys(gnupghome)
    for fingerprint in manifest.recipients:
        yield _tried(fingerprint, known, packets, data, gnupghome)


def _tried(
    fingerprint: str,
    known: Mapping[str, Sequence[str]],
    packets: Sequence[Opener],
    data: bytes,
    gnupghome: Path | None,
) -> Finding:
    what = f"key {fingerprint}"
    if fingerprint not in known:
        return Finding(what, "unproven", "its private key is not at hand")
    mine = [it for it in packets if it.key_id in known[fingerprint] or it.key_id == _HIDDEN]
    if not mine:
        return Finding(what, "failed", "the list of files is not encrypted to it")
    try:
        for _ in join(from_bytes(mine[0].packet + data), [Decrypt(gnupghome)]):
            pass
    except Fault as fault:
        if fault.kind is KEY_PASSPHRASE:
            return Finding(what, "unproven", "its private key is locked by a passphrase")
        return Finding(what, "failed", "it does not decrypt", (fault.what,), fault.kind.name)
    return Finding(what, "ok", "decrypts")
