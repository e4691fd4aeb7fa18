"""RESTORE.txt as it lies beside the snapshots, executed with nothing but the programs that it names."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.snapshots.manifest import from_json
from hermes_backup.snapshots.names import RESTORE_TEXT
from hermes_backup.snapshots.restore_text import RestoreFacts, restore_text
from hermes_backup.streams.coder import from_bytes, join
from hermes_backup.streams.compression import Compress
from hermes_backup.streams.gpg import EncryptTo
from tests.home.full_text import CARRYING, make
from tests.keys import KeyMaker, gpg
from tests.pipeline.forge import FOLDER, Forge, entry, folder_entry, part_of, tar_of
from tests.site import Site, fill, messages_in

OF_EVERY_LINUX = ("cut", "mkdir", "chmod", "grep", "find", "test", "rm", "cat", "mv", "sha256sum")
UNPACKERS = {"zstd": "zstd", "lz4": "lz4", "gzip": "gzip", "none": "", "squashfs": "unsquashfs"}
PASSPHRASE = "correct horse battery staple\n"


@dataclass(frozen=True)
class Reader:
    """Somebody who has the text, the snapshots, a key, and a Linux with few programs."""

    folder: Path
    gnupghome: Path
    programs: Path

    def execute(self, text: str, snapshots: Path, name: str) -> subprocess.CompletedProcess[str]:
        """Set the three variables as a reader would, and paste the block."""
        block = text.partition("#-- commands begin --\n")[2].partition("#-- commands end --")[0]
        for variable, value in (("SNAPSHOT", name), ("FROM", str(snapshots)), ("TO", str(self.folder / "out"))):
            block, count = re.subn(rf"(?m)^{variable}=.*$", f"{variable}='{value}'", block)
            assert count == 1
        env = {"PATH": str(self.programs), "HOME": str(self.folder), "GNUPGHOME": str(self.gnupghome)}
        return subprocess.run(
            ["/bin/bash", "-c", block], env=env, cwd=self.folder, capture_output=True, text=True, check=False
        )


Meet = Callable[..., Reader]


@pytest.fixture
def meet(tmp_path: Path, key_maker: KeyMaker) -> Meet:
    """Return a maker of readers: who trusts a host's key, holds private keys of a home, and has an unpacker."""

    def make(host_key: str, secret_home: Path | None, unpacker: str = "zstd") -> Reader:
        home = key_maker.home()
        (home / "passphrase").write_text(PASSPHRASE)
        (home / "gpg.conf").write_text(f"batch\npinentry-mode loopback\npassphrase-file {home}/passphrase\n")
        exported = [host_key]
        if secret_home is not None:
            exported.append(gpg(secret_home, "--armor", "--export-secret-keys"))
        for armored in exported:
            argv = ["gpg", "--homedir", str(home), "--batch", "--import"]
            subprocess.run(argv, input=armored.encode(), check=True, capture_output=True)
        programs = tmp_path / "programs"
        programs.mkdir()
        for name in (
            "gpg",
            *(["tar"] if unpacker != "squashfs" else []),
            "sqlite3",
            *OF_EVERY_LINUX,
            *filter(None, [UNPACKERS[unpacker]]),
        ):
            found = shutil.which(name)
            assert found, f"{name} is not installed"
            (programs / name).symlink_to(found)
        (tmp_path / "reader").mkdir()
        return Reader(tmp_path / "reader", home, programs)

    return make


def name_of(site: Site, number: int = 1) -> str:
    return next(it.split(".")[0] for it in site.snapshots() if it.startswith(f"{number:06d}"))


def stages_of(site: Site, compression: str, encryption: str) -> list[Any]:
    how = {"format": "squashfs"} if compression == "squashfs" else {"compression": {"algorithm": compression}}
    archive = {"archive": how}
    secret = site.root / "passphrase"
    secret.write_text(PASSPHRASE)
    encrypt: dict[str, list[Any]] = {
        "recipients": [{"encrypt": {"recipients": [site.recipient.fingerprint]}}],
        "passphrase": [{"encrypt": {"passphrase_credential": str(secret)}}],
        "none": [],
    }
    return ["sqlite", archive, *encrypt[encryption], {"store": {"path": str(site.store)}}]


@pytest.mark.parametrize("encryption", ["recipients", "passphrase", "none"])
@pytest.mark.parametrize("compression", ["zstd", "lz4", "gzip", "none", "squashfs"])
def test_the_text_beside_the_snapshots_brings_the_home_back(
    compression: str, encryption: str, site: Site, meet: Meet
) -> None:
    fill(site.home / "another\n database.db", 3)
    (site.home / "two\nlines").write_text("odd")
    status = site.run(stages_of(site, compression, encryption))
    assert status.state == "done"
    secret = site.recipient.gnupghome if encryption == "recipients" else None
    reader = meet(status.public_key, secret, compression)
    folder = site.store / FOLDER
    done = reader.execute((folder / RESTORE_TEXT).read_text(), folder, name_of(site))
    out = reader.folder / "out"
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"RESTORED INTO {out}"
    differing = subprocess.run(
        ["diff", "-r", "--no-dereference", "-x", "logs", "-x", "*.db*", str(site.home), str(out)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (differing.returncode, differing.stdout) == (0, "")
    assert out.stat().st_mode & 0o777 == 0o700
    assert (out / ".env").stat().st_mode & 0o777 == 0o600
    assert (out / "skills" / "report" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert messages_in(out / "state.db") == 200


@pytest.mark.parametrize("encryption", ["recipients", "passphrase", "none"])
def test_it_brings_back_what_changed_since_another_snapshot(encryption: str, site: Site, meet: Meet) -> None:
    stages = stages_of(site, "zstd", encryption)
    stages[1]["archive"]["delta"] = {}
    (site.home / "notes.bin").write_bytes(random.Random(1).randbytes(300_000))
    site.run(stages)
    fill(site.home / "state.db", 7)
    status = site.run(stages)
    folder = site.store / FOLDER
    assert [it for it in site.snapshots() if ".delta." in it and it.startswith("000002")]
    reader = meet(status.public_key, site.recipient.gnupghome if encryption == "recipients" else None)
    text = (folder / RESTORE_TEXT).read_text()
    done = reader.execute(text, folder, name_of(site, 2))
    assert done.returncode == 0, done.stderr
    assert messages_in(reader.folder / "out" / "state.db") == 207
    assert (reader.folder / "out" / "notes.bin").read_bytes() == (site.home / "notes.bin").read_bytes()
    assert [it.name for it in reader.folder.iterdir()] == ["out"]
    shutil.rmtree(reader.folder / "out")
    (base,) = folder.glob("000001-*.tar.zst*")
    spoil(base, flipped)
    stopped(reader.execute(text, folder, name_of(site, 2)))
    assert not list(reader.folder.iterdir())


def test_a_table_called_base_and_a_file_in_the_way_deceive_nobody(site: Site, meet: Meet) -> None:
    (site.home / "state.db").unlink()
    make(site.home / "state.db", CARRYING)
    with contextlib.closing(sqlite3.connect(site.home / "state.db")) as connection, connection:
        connection.execute("CREATE TABLE base (x)")
    (site.home / "notes.bin").write_bytes(random.Random(1).randbytes(300_000))
    stages = stages_of(site, "zstd", "recipients")
    stages[1]["archive"]["delta"] = {}
    site.run(stages)
    status = site.run(stages)
    folder = site.store / FOLDER
    assert '"base": "' in (folder / f"{status.snapshot}.manifest.asc").read_text().replace('\n "base"', "")
    reader = meet(status.public_key, site.recipient.gnupghome)
    text = (folder / RESTORE_TEXT).read_text()
    (reader.folder / "out.base").write_text("mine")
    stopped(reader.execute(text, folder, name_of(site, 2)))
    assert (reader.folder / "out.base").read_text() == "mine"
    (reader.folder / "out.base").unlink()
    done = reader.execute(text, folder, name_of(site, 2))
    assert done.returncode == 0, done.stderr


def stopped(done: subprocess.CompletedProcess[str], said: str = "") -> None:
    """The block ended badly, and did not say that it worked."""
    assert done.returncode != 0, done.stdout
    assert "RESTORED" not in done.stdout
    assert said in done.stdout + done.stderr, (done.stdout, done.stderr)


def spoil(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "data flipped": ("tar.zst.gpg", flipped),
    "data cut": ("tar.zst.gpg", lambda data: data[:-1]),
    "data gone": ("tar.zst.gpg", lambda data: data[:0]),
    "data with more": ("tar.zst.gpg", lambda data: data + b"\0"),
    "manifest changed": ("manifest.asc", lambda data: data.replace(b'"messages": 200', b'"messages": 201')),
    "manifest cut": ("manifest.asc", lambda data: data[: len(data) // 2]),
    "manifest unsigned": ("manifest.asc", lambda data: data[data.index(b"{") : data.rindex(b"}") + 2]),
    "manifest gone": ("manifest.asc", lambda data: data[:0]),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_it_stops_at_damage_before_anything_is_decrypted(case: str, site: Site, meet: Meet) -> None:
    status = site.run()
    reader = meet(status.public_key, site.recipient.gnupghome)
    folder = site.store / FOLDER
    suffix, change = DAMAGE[case]
    spoil(folder / f"{name_of(site)}.{suffix}", change)
    stopped(reader.execute((folder / RESTORE_TEXT).read_text(), folder, name_of(site)))
    assert not (reader.folder / "out").exists()


def test_it_stops_without_the_private_key_and_at_a_target_that_is_there(site: Site, meet: Meet) -> None:
    status = site.run()
    reader = meet(status.public_key, None)
    folder = site.store / FOLDER
    text = (folder / RESTORE_TEXT).read_text()
    stopped(reader.execute(text, folder, name_of(site)), "No secret key")
    stopped(reader.execute(text, folder, name_of(site)), "File exists")


def test_it_stops_at_an_older_snapshot_under_a_newer_name(site: Site, meet: Meet) -> None:
    status = site.run()
    folder = site.store / FOLDER
    newer = "000009-20991231T000000Z"
    for path in folder.glob("000001-*"):
        path.rename(path.with_name(f"{newer}.{path.name.split('.', 1)[1]}"))
    reader = meet(status.public_key, site.recipient.gnupghome)
    stopped(reader.execute((folder / RESTORE_TEXT).read_text(), folder, newer))
    assert not (reader.folder / "out").exists()


def text_of(forge: Forge) -> str:
    recipients = (forge.site.recipient.fingerprint,)
    return restore_text(RestoreFacts("vps1", "nightly", "tar", "zstd", "recipients", forge.key.fingerprint, recipients))


def resign(forge: Forge, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change the data, and have the host's own key sign the changed data's hash: it comes through to the next step."""
    folder = forge.site.store / FOLDER
    path = folder / f"{name}.tar.zst.gpg"
    spoil(path, change)
    content = (folder / f"{name}.manifest.asc").read_text()
    manifest = from_json(content[content.index("{") : content.rindex("}") + 1] + "\n")
    part = part_of(path.name, "data", path.read_bytes(), manifest.data.plain_size)
    forge.sign(manifest.model_copy(update={"parts": (part, manifest.parts[1])}))


def sealed_again(forge: Forge, layers: Sequence[str], change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Open some layers of the data, change what is inside, and close them again."""
    home, recipient = str(forge.site.recipient.gnupghome), forge.site.recipient.fingerprint
    opening = {"gpg": ["gpg", "--homedir", home, "--batch", "-d"], "zstd": ["zstd", "-dc"]}
    closing = {
        "gpg": ["gpg", "--homedir", home, "--batch", "--trust-model", "always", "-z", "0", "-r", recipient, "-e"],
        "zstd": ["zstd", "-c"],
    }  # fmt: skip

    def piped(argv: list[str], data: bytes) -> bytes:
        return subprocess.run(argv, input=data, capture_output=True, check=True).stdout

    def sealed(data: bytes) -> bytes:
        for layer in layers:
            data = piped(opening[layer], data)
        data = change(data)
        for layer in reversed(layers):
            data = piped(closing[layer], data)
        return data

    return sealed


STEPS: dict[str, tuple[tuple[str, ...], Callable[[bytes], bytes], str]] = {
    "gpg": ((), flipped, "gpg"),
    "gpg, cut": ((), lambda data: data[:-30], "gpg"),
    "zstd": (("gpg",), flipped, "stdin"),
    "zstd, cut": (("gpg",), lambda data: data[:-4], "stdin"),
    "tar": (("gpg", "zstd"), lambda data: data[: len(data) // 2], "tar"),
    "tar, no archive": (("gpg", "zstd"), lambda data: b"no archive" * len(data), "tar"),
}


@pytest.mark.parametrize("case", STEPS)
def test_every_later_step_stops_too(case: str, forge: Forge, meet: Meet) -> None:
    layers, change, said = STEPS[case]
    name = str(forge.publish(tar_of(entry("SOUL.md", b"I am"), entry("bulk", bytes(range(256)) * 800))))
    resign(forge, name, sealed_again(forge, layers, change))
    reader = meet(forge.key.public(), forge.site.recipient.gnupghome)
    stopped(reader.execute(text_of(forge), forge.site.store / FOLDER, name), said)


def test_a_damaged_database_is_named(forge: Forge, meet: Meet) -> None:
    whole = (forge.site.home / "state.db").read_bytes()
    damaged = whole[:4096] + b"\x55" * 4096 + whole[8192:]
    name = str(forge.publish(tar_of(entry("SOUL.md", b"I am"), entry("state.db", damaged))))
    reader = meet(forge.key.public(), forge.site.recipient.gnupghome)
    stopped(reader.execute(text_of(forge), forge.site.store / FOLDER, name), "DAMAGED")


def test_a_forged_archive_is_not_taken_for_one_that_is_signed(site: Site, meet: Meet) -> None:
    """Who can write into the remote has old signed manifests, the public keys, and any text to put beside them."""
    status = site.run()
    folder = site.store / FOLDER
    name = name_of(site)
    newer = "000009-20991231T000000Z"
    home, recipient = site.recipient.gnupghome, site.recipient.fingerprint
    coders = (Compress(), EncryptTo((recipient,), home))
    forged = b"".join(join(from_bytes(tar_of(entry("SOUL.md", b"I am evil"))), coders))
    (folder / f"{newer}.tar.zst.gpg").write_bytes(forged)
    part = part_of(f"{newer}.tar.zst.gpg", "data", forged, 1)
    claim = f'"name": "{part.name}"\n"host": "vps1"\n{part.sha256}\n'
    signed = (folder / f"{name}.manifest.asc").read_text()
    reader = meet(status.public_key, home)
    text = (folder / RESTORE_TEXT).read_text()
    for content in (claim + signed, signed + claim, f"Comment: x\n{claim}\n{signed}"):
        (folder / f"{newer}.manifest.asc").write_text(content)
        stopped(reader.execute(text, folder, newer))
        assert not (reader.folder / "out").exists()


def hot_journal(database: bytes, names: Path) -> bytes:
    """A journal that waits to be rolled back and names a super-journal (SQLite, "Database File Format", 4)."""
    name = str(names).encode()
    page, sector = 4096, 512
    numbers = (0, 0, len(database) // page, sector, page)
    header = bytes.fromhex("d9d505f920a163d7") + b"".join(it.to_bytes(4, "big") for it in numbers)
    lock_page, checksum = 0x40000000 // page + 1, sum(name)
    tail = lock_page.to_bytes(4, "big") + name + b"".join(it.to_bytes(4, "big") for it in (len(name), checksum))
    return header.ljust(sector, b"\0") + tail + header[:8]


def test_looking_at_a_database_deletes_nothing(forge: Forge, meet: Meet) -> None:
    """Who rolls a journal back deletes the super-journal that it names, wherever that is."""
    precious = forge.site.root / "precious"
    precious.write_text("")
    database = forge.site.root / "a.db"
    connection = sqlite3.connect(database)
    connection.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1);")
    connection.close()
    content = database.read_bytes()
    archive = tar_of(entry("state.db", content), entry("state.db-journal", hot_journal(content, precious)))
    name = str(forge.publish(archive))
    reader = meet(forge.key.public(), forge.site.recipient.gnupghome)
    stopped(reader.execute(text_of(forge), forge.site.store / FOLDER, name), "DAMAGED")
    assert precious.exists()


def test_what_runs_with_its_owner_s_rights_loses_them(forge: Forge, meet: Meet) -> None:
    name = str(forge.publish(tar_of(entry("tool", b"#!/bin/sh\n", mode=0o6755), folder_entry("d", 0o2755))))
    reader = meet(forge.key.public(), forge.site.recipient.gnupghome)
    done = reader.execute(text_of(forge), forge.site.store / FOLDER, name)
    assert done.returncode == 0, done.stderr
    assert [(reader.folder / "out" / it).stat().st_mode & 0o7777 for it in ("tool", "d")] == [0o755, 0o755]


@pytest.mark.skipif(os.geteuid() != 0, reason="tar makes devices for root only")
def test_a_device_is_noticed(forge: Forge, meet: Meet) -> None:
    device = entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    name = str(forge.publish(tar_of(entry("SOUL.md", b"I am"), device)))
    reader = meet(forge.key.public(), forge.site.recipient.gnupghome)
    stopped(reader.execute(text_of(forge), forge.site.store / FOLDER, name))


def test_looking_leaves_nothing_beside_a_database(site: Site, meet: Meet) -> None:
    status = site.run()
    folder = site.store / FOLDER
    reader = meet(status.public_key, site.recipient.gnupghome)
    assert reader.execute((folder / RESTORE_TEXT).read_text(), folder, name_of(site)).returncode == 0
    assert [it.name for it in (reader.folder / "out").glob("state.db*")] == ["state.db"]
