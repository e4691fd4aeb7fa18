"""RESTORE.txt is executed as it stands."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from hermes_backup.errors import Fault
from hermes_backup.snapshots.manifest import Part, to_json
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.restore_text import RestoreFacts, restore_text
from hermes_backup.snapshots.signing import HostKey
from tests.snapshots.made import RECIPIENT, manifest_of, name_of

NAME = name_of(12)
PACK = {"zstd": ["zstd", "-c"], "lz4": ["lz4", "-c"], "gzip": ["gzip", "-c"], "none": ["cat"]}


def commands(text: str) -> str:
    """Return the block that a reader would paste."""
    return text.partition("#-- commands begin --\n")[2].partition("#-- commands end --")[0]


@pytest.fixture(scope="module")
def gnupg(tmp_path_factory: pytest.TempPathFactory, host_key: HostKey) -> Iterator[dict[str, str]]:
    """A reader's own GnuPG home, with a private key, a passphrase and the host's public key."""
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)
    (home / "gpg.conf").write_text(f"batch\npinentry-mode loopback\npassphrase-file {home}/passphrase\n")
    (home / "passphrase").write_text("correct horse\n")
    env = {**os.environ, "GNUPGHOME": str(home)}
    subprocess.run(["gpg", "--import"], input=host_key.public().encode(), env=env, check=True, capture_output=True)
    argv = ["gpg", "--passphrase", "", "--quick-generate-key", "me", "future-default", "default", "never"]
    subprocess.run(argv, env=env, check=True, capture_output=True)
    yield env
    subprocess.run(["gpgconf", "--kill", "all"], env=env, check=True)


def make_snapshot(
    folder: Path, env: dict[str, str], key: HostKey, compression: str, encryption: str, **manifest: Any
) -> str:
    """Write a snapshot of a small home; return its suffix."""
    home = folder / "home"
    home.mkdir()
    (home / "SOUL.md").write_text("I am")
    (home / "a file\nof two lines.txt").write_text("odd")
    with sqlite3.connect(home / "state.db") as database:
        database.execute("pragma journal_mode=wal")
        database.execute("create table t (x)")
    database.close()
    suffix = {"zstd": ".tar.zst", "lz4": ".tar.lz4", "gzip": ".tar.gz", "none": ".tar"}[compression]
    tar = subprocess.run(["tar", "-c", "-C", str(home), "."], check=True, capture_output=True).stdout
    data = subprocess.run(PACK[compression], input=tar, check=True, capture_output=True).stdout
    if encryption != "none":
        suffix += ".gpg"
        how = ["-e", "-r", "me", "--trust-model", "always"] if encryption == "recipients" else ["-c"]
        data = subprocess.run(["gpg", "-z", "0", *how], input=data, env=env, check=True, capture_output=True).stdout
    (folder / f"{NAME}{suffix}").write_bytes(data)
    part = Part(
        name=f"{NAME}{suffix}", role="data", size=len(data), sha256=hashlib.sha256(data).hexdigest(), plain_size=1
    )
    fields = {"parts": (part,), "compression": compression, "encryption": encryption}
    fields["recipients"] = (RECIPIENT,) if encryption == "recipients" else ()
    signed = key.sign(to_json(manifest_of(NAME, **{**fields, **manifest})))
    (folder / f"{NAME}.manifest.asc").write_bytes(signed)
    return suffix


def facts(key: HostKey, compression: str = "zstd", encryption: Any = "recipients", **changes: Any) -> RestoreFacts:
    recipients = (RECIPIENT,) if encryption == "recipients" else ()
    fields: dict[str, Any] = {
        "host": "web-1",
        "pipeline": "nightly",
        "format": "tar",
        "host_fingerprint": key.fingerprint,
    }
    fields |= {"compression": compression, "encryption": encryption, "recipients": recipients}
    return RestoreFacts(**{**fields, **changes})


def execute(
    text: str, folder: Path, env: dict[str, str], name: SnapshotName = NAME
) -> subprocess.CompletedProcess[str]:
    """Set the three variables as a reader would, and run the block."""
    block = commands(text)
    for variable, value in (("SNAPSHOT", str(name)), ("FROM", str(folder)), ("TO", str(folder / "out"))):
        block, count = re.subn(rf"(?m)^{variable}=.*$", f"{variable}='{value}'", block)
        assert count == 1
    return subprocess.run(["bash", "-c", block], env=env, cwd="/", capture_output=True, text=True, check=False)


@pytest.mark.parametrize("encryption", ["recipients", "passphrase", "none"])
@pytest.mark.parametrize("compression", ["zstd", "lz4", "gzip", "none"])
def test_the_commands_bring_the_home_back(
    compression: str,
    encryption: Literal["recipients", "passphrase", "none"],
    tmp_path: Path,
    gnupg: dict[str, str],
    host_key: HostKey,
) -> None:
    make_snapshot(tmp_path, gnupg, host_key, compression, encryption)
    done = execute(restore_text(facts(host_key, compression, encryption)), tmp_path, gnupg)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"RESTORED INTO {tmp_path}/out"
    subprocess.run(["diff", "-r", str(tmp_path / "home"), str(tmp_path / "out")], check=True)
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("what", ["data", "signature", "other key", "other host", "target", "renamed", "no key"])
def test_the_commands_stop_at_what_is_wrong(
    what: str, tmp_path: Path, gnupg: dict[str, str], host_key: HostKey, other_key: HostKey
) -> None:
    key = other_key if what == "other key" else host_key
    suffix = make_snapshot(
        tmp_path, gnupg, key, "zstd", "recipients", **({"host": "web-2"} if what == "other host" else {})
    )
    text = restore_text(facts(host_key))
    manifest = tmp_path / f"{NAME}.manifest.asc"
    if what == "data":
        flip(tmp_path / f"{NAME}{suffix}")
    elif what == "signature":
        manifest.write_text(manifest.read_text().replace('"files": 3', '"files": 4'))
    elif what == "target":
        (tmp_path / "out").mkdir()
    elif what == "renamed":
        for name in (f"{NAME}{suffix}", manifest.name):
            (tmp_path / name).rename(tmp_path / name.replace(str(NAME), str(name_of(13))))
    elif what == "no key":
        gnupg = {**gnupg, "GNUPGHOME": str(tmp_path / "empty")}
        (tmp_path / "empty").mkdir(mode=0o700)
    done = execute(text, tmp_path, gnupg, name_of(13) if what == "renamed" else NAME)
    assert done.returncode != 0
    assert "RESTORED" not in done.stdout
    assert what == "target" or not (tmp_path / "out").exists()


def test_a_damaged_database_is_told(tmp_path: Path, gnupg: dict[str, str], host_key: HostKey) -> None:
    make_snapshot(tmp_path, gnupg, host_key, "none", "none")
    data = tmp_path / f"{NAME}.tar"
    (tmp_path / "home" / "state.db").write_bytes(b"not a database at all, though it is named so")
    tar = subprocess.run(["tar", "-c", "-C", str(tmp_path / "home"), "."], check=True, capture_output=True).stdout
    data.write_bytes(tar)
    part = Part(name=data.name, role="data", size=len(tar), sha256=hashlib.sha256(tar).hexdigest(), plain_size=1)
    manifest = manifest_of(NAME, parts=(part,), compression="none", encryption="none", recipients=())
    (tmp_path / f"{NAME}.manifest.asc").write_bytes(host_key.sign(to_json(manifest)))
    done = execute(restore_text(facts(host_key, "none", "none")), tmp_path, gnupg)
    assert done.returncode != 0
    assert "DAMAGED" in done.stdout


def test_it_says_what_a_reader_must_know(host_key: HostKey) -> None:
    text = restore_text(facts(host_key, recipients=("A" * 40, "B" * 40)))
    for words in (
        "A" * 40,
        "B" * 40,
        host_key.fingerprint,
        "keys/hosts/web-1.asc",
        "new, empty",
        "Stop the gateway",
        "-wal",
    ):
        assert words in text
    assert "passphrase" not in text
    assert "NOT encrypted" in restore_text(facts(host_key, encryption="none"))
    squashed = restore_text(facts(host_key, format="squashfs"))
    assert "unsquashfs -user-xattrs -d" in squashed
    assert ".sqsh.gpg" in squashed
    assert max(map(len, text.splitlines())) < 130
    assert "{{" not in text


@pytest.mark.parametrize(
    "changes", [{"host": "$(id)"}, {"host_fingerprint": "'; id"}, {"recipients": ("me",)}, {"compression": "xz"}]
)
def test_nothing_hostile_gets_into_the_commands(host_key: HostKey, changes: dict[str, Any]) -> None:
    with pytest.raises((Fault, ValueError, KeyError)):
        facts(host_key, **changes)
