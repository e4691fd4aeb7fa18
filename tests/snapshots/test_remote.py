"""What goes wrong with remotes, on real servers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.errors import (
    DISK_FULL,
    PUSH_FAILED,
    REMOTE_REFUSED,
    REMOTE_UNREACHABLE,
    SNAPSHOT_UNREADABLE,
    Fault,
)
from hermes_backup.snapshots.place import Sink
from hermes_backup.snapshots.remote import RclonePlace
from tests.servers import ColdFront, PutOnlyFront, S3Server, Server, SftpServer, write_config
from tests.snapshots.places import FOLDER, Made, Maker
from tests.snapshots.test_folder import mounted

DATA = f"{FOLDER}/000001-20261121T033000Z.tar.zst.gpg"
CHUNK = os.urandom(1024 * 1024)


def test_put_only_credentials_suffice(s3_server: S3Server, tmp_path: Path) -> None:
    """Small and in parts: nothing is asked before, and what is refused after does no harm."""
    with PutOnlyFront(s3_server) as front:
        place = RclonePlace(f"r2:{s3_server.bucket}/{tmp_path.name}", write_config(tmp_path / "c", front.section))
        assert place.put(DATA, b"small") == "not verifiable with these credentials"
        assert front.asked[0][0] == "PUT"
        assert not [method for method, path in front.asked[1:] if method == "PUT"]
        front.asked.clear()
        with place.sink(f"{FOLDER}/big") as sink:
            for _ in range(40):
                sink.write(CHUNK)
            assert sink.commit() == "not verifiable with these credentials"
        methods = [method for method, _ in front.asked]
        assert set(methods[: methods.index("HEAD")]) == {"POST", "PUT"}
        with pytest.raises(Fault, match="403"):
            place.list(FOLDER)
    owner = RclonePlace(place.remote, write_config(tmp_path / "owner", s3_server.section("r2")))
    assert [(file.name, file.size) for file in owner.list(FOLDER)] == [
        ("000001-20261121T033000Z.tar.zst.gpg", 5),
        ("big", 40 * len(CHUNK)),
    ]


def test_a_wrong_key_is_refused_with_words(s3_server: S3Server, tmp_path: Path) -> None:
    secret = "anothersecretaltogether"
    config = write_config(tmp_path / "c", s3_server.section("r2", secret=secret))
    place = RclonePlace(f"r2:{s3_server.bucket}", config)
    with pytest.raises(Fault, match="403") as caught:
        place.put(DATA, b"x")
    assert caught.value.kind is PUSH_FAILED
    for act, kind in (
        (lambda: place.list(FOLDER), REMOTE_REFUSED),
        (lambda: list(place.read(DATA)), REMOTE_UNREACHABLE),
    ):
        with pytest.raises(Fault, match="403") as caught:
            act()
        assert caught.value.kind is kind
        assert secret not in str(caught.value)


@pytest.mark.parametrize("described", [True, False], ids=["as cold storage does", "as a policy does"])
def test_a_file_that_is_refused_is_named_and_keeps_no_other(
    s3_server: S3Server, tmp_path: Path, described: bool
) -> None:
    names = [f"{number:06d}-20261121T033000Z.manifest.asc" for number in range(1, 5)]
    front = ColdFront(s3_server)
    front.methods = {"GET"} if described else {"GET", "HEAD"}
    with front:
        place = RclonePlace(f"r2:{s3_server.bucket}/{tmp_path.name}", write_config(tmp_path / "c", front.section))
        for name in names:
            place.put(f"{FOLDER}/{name}", name.encode())
        front.cold = (names[1],)
        target = tmp_path / "target"
        target.mkdir()
        refused = place.fetch_many(FOLDER, [*names, "000009-20261121T033000Z.manifest.asc"], target)
        assert {it.name: it.read_text() for it in target.iterdir()} == {it: it for it in names if it != names[1]}
        assert list(refused) == [names[1]]
        fault = refused[names[1]]
        assert (fault.kind, fault.where) == (SNAPSHOT_UNREADABLE, f"{place.label}/{FOLDER}/{names[1]}")
        assert ("GLACIER" if described else "403") in fault.what
        with pytest.raises(Fault) as caught:
            list(place.read(f"{FOLDER}/{names[1]}"))
        assert caught.value.kind is SNAPSHOT_UNREADABLE
        front.cold = (FOLDER,)
        (tmp_path / "none").mkdir()
        assert set(place.fetch_many(FOLDER, names, tmp_path / "none")) == set(names)
    with pytest.raises(Fault) as caught:
        place.fetch_many(FOLDER, names, target)
    assert caught.value.kind is REMOTE_UNREACHABLE


def test_no_secret_is_ever_in_the_words(tmp_path: Path) -> None:
    rclone = RclonePlace(
        "r2:x", write_config(tmp_path / "c", "[r2]\ntype = s3\nsecret_access_key = hunter2hunter2\n")
    ).rclone
    url = "http://x/?X-Amz-Signature=abcdef&a=1"
    words = f"2026/11/21 09:00:00 CRITICAL: Failed to rcat: url {url} hunter2hunter2 token=zzz"
    told = str(rclone.error(words, 1))
    assert "hunter2" not in told
    assert "abcdef" not in told
    assert "zzz" not in told
    assert told.startswith("url http://x/")


def test_a_remote_that_is_not_configured(tmp_path: Path) -> None:
    place = RclonePlace("nosuch:bucket", write_config(tmp_path / "c"))
    for act in (lambda: place.list(FOLDER), lambda: place.sink(DATA), lambda: place.delete(DATA)):
        with pytest.raises(Fault, match="nosuch") as caught:
            act()
        assert caught.value.kind is REMOTE_UNREACHABLE


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        section = f"[r2]\ntype = s3\nprovider = Rclone\nendpoint = http://127.0.0.1:{taken.getsockname()[1]}\n"
        config = write_config(tmp_path / "c", section + "access_key_id = a\nsecret_access_key = bbbbbbbb\n")
        place = RclonePlace("r2:bucket", config)
        start = time.monotonic()
        with pytest.raises(Fault, match="refused"):
            place.put(DATA, b"x")
        with pytest.raises(Fault, match="refused"):
            place.list(FOLDER)
        assert time.monotonic() - start < 60


def pour(sink: Sink, server: Server) -> None:
    """Write until the server is gone, and on."""
    for number in range(400):
        sink.write(CHUNK)
        if number == 40:
            server.kill()
    sink.commit()


def fill(sink: Sink) -> None:
    """Write more than there is room for."""
    for _ in range(20):
        sink.write(CHUNK)
    sink.commit()


def test_a_server_killed_in_the_middle(tmp_path: Path) -> None:
    for make, address in ((S3Server, "x:snapshots"), (SftpServer, "x:{root}")):
        folder = tmp_path / make.__name__
        folder.mkdir()
        with make(folder) as server:
            config = write_config(folder / "c", server.section("x"))  # type: ignore[attr-defined]
            place = RclonePlace(address.format(root=getattr(server, "address_root", "")), config)
            place.put(f"{FOLDER}/before", b"1")
            start = time.monotonic()
            with pytest.raises(Fault) as caught, place.sink(DATA) as sink:
                pour(sink, server)
            assert caught.value.kind is PUSH_FAILED
            assert time.monotonic() - start < 90
            server.start()
            assert [file.name for file in place.list(FOLDER)] == ["before"]
            place.put(DATA, b"again")


def test_killing_us_publishes_nothing(make_place: Maker, tmp_path: Path) -> None:
    """Rcat would publish what it has when its input ends, and our death ends it."""
    made = make_place("s3")
    assert isinstance(made.place, RclonePlace)
    script = (
        "import os, sys, time; from pathlib import Path; from hermes_backup.snapshots.remote import RclonePlace;"
        f"sink = RclonePlace({made.place.remote!r}, Path({str(made.place.rclone.config)!r})).sink({DATA!r});"
        "sink.write(b'x' * 30_000_000); time.sleep(1); print(sink._child.pid, flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        pid = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    child.wait()
    time.sleep(1.5)
    assert not Path(f"/proc/{pid}/stat").exists() or ") Z " in Path(f"/proc/{pid}/stat").read_text()
    assert made.place.list(FOLDER) == ()


def test_the_size_and_hash_of_what_arrived_are_checked(make_place: Maker) -> None:
    for kind, damage in (
        ("local", b"y" * 5),
        ("local", b"y" * 9),
        ("sftp", b"y" * 9),
        ("s3", b"y" * 9),
        ("s3", b"y" * 5),
    ):
        made = make_place(kind)
        sink = made.place.sink(DATA)
        sink.write(b"x" * 5)
        staged = sink._staged.partition(FOLDER)[2]  # type: ignore[attr-defined]
        finish = sink._finish  # type: ignore[attr-defined]

        def swapped(finish: Any = finish, made: Made = made, staged: str = staged, damage: bytes = damage) -> Any:
            done = finish()
            made.write(FOLDER + staged, damage)
            return done

        sink._finish = swapped  # type: ignore[attr-defined]
        with pytest.raises(Fault, match="reported success, but") as caught:
            sink.commit()
        assert caught.value.kind is PUSH_FAILED
        assert made.place.list(FOLDER) == ()
        assert made.under() == []


def test_how_far_a_remote_proves_what_it_has(make_place: Maker) -> None:
    notes = {kind: make_place(kind).place.put(DATA, b"x") for kind in ("folder", "local", "sftp", "s3")}
    assert notes == {
        "folder": "size checked, synced to disk",
        "local": "verified by size and sha256",
        "sftp": "verified by size",
        "s3": "verified by size and md5",
    }


def test_a_remote_disk_that_is_full(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=4m,mode=700") as root:
        place = RclonePlace(str(root), write_config(tmp_path / "c"))
        place.put(f"{FOLDER}/before", b"1")
        with pytest.raises(Fault, match="no space left") as caught, place.sink(DATA) as sink:
            fill(sink)
        assert caught.value.kind is PUSH_FAILED
        assert [path.name for path in (root / FOLDER).iterdir()] == ["before"]


def test_a_local_disk_that_is_full_while_fetching(tmp_path: Path) -> None:
    place = RclonePlace(str(tmp_path / "remote"), write_config(tmp_path / "c"))
    place.put(DATA, CHUNK * 4)
    with mounted(tmp_path / "small", "size=1m,mode=700") as target:
        with pytest.raises(Fault) as caught:
            place.fetch_many(FOLDER, [DATA.rpartition("/")[2]], target)
        assert caught.value.kind is DISK_FULL
        assert caught.value.where == str(target)


def test_bandwidth_is_limited(tmp_path: Path) -> None:
    place = RclonePlace(str(tmp_path / "remote"), write_config(tmp_path / "c"), bandwidth="1M")
    start = time.monotonic()
    place.put(DATA, CHUNK * 3)
    assert time.monotonic() - start > 1


def test_the_configuration_is_not_rewritten(make_place: Maker) -> None:
    made = make_place("sftp")
    assert isinstance(made.place, RclonePlace)
    config = made.place.rclone.config
    assert config is not None
    before = config.read_text()
    made.place.put(DATA, b"x")
    made.place.list(FOLDER)
    assert config.read_text() == before


def test_a_server_with_a_shell_can_prove_hashes_too(tmp_path: Path) -> None:
    said = "[nas]\ntype = sftp\nshell_type = unix\nsha256sum_command = sha256sum\n"
    assert RclonePlace("nas:x", write_config(tmp_path / "said", said)).rclone.shell_flags == ()
    silent = RclonePlace("nas:x", write_config(tmp_path / "silent", "[nas]\ntype = sftp\n"))
    assert silent.rclone.shell_flags == ("--sftp-shell-type=none",)
