"""A backup from home to store, through the door that a host uses: what is there afterwards, and what is not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest

from hermes_backup.errors import Fault
from hermes_backup.pipeline.agent import Options
from hermes_backup.streams.coder import from_bytes, join
from hermes_backup.streams.compression import Decompress
from hermes_backup.streams.gpg import Decrypt
from tests.keys import KeyMaker, gpg
from tests.site import Site, fill, messages_in


def opened(site: Site, data: Path, into: Path) -> Path:
    """Unpack a snapshot without this program."""
    into.mkdir()
    home = site.recipient.gnupghome
    plain = subprocess.run(
        f"gpg --homedir '{home}' --batch -d '{data}' 2>/dev/null | zstd -d | tar -xp -C '{into}'",
        shell=True,
        check=True,
    )
    assert plain.returncode == 0
    return into


def archive_in(site: Site, data: Path) -> bytes:
    return b"".join(join(from_bytes(data.read_bytes()), (Decrypt(site.recipient.gnupghome), Decompress("zstd"))))


def data_of(site: Site, place: Path | None = None) -> Path:
    (name,) = [it for it in site.snapshots(place) if ".tar" in it]
    return (place or site.store) / "vps1" / "nightly" / name


def manifest_of(site: Site, place: Path | None = None) -> dict[str, object]:
    name = [it for it in site.snapshots(place) if it.endswith(".manifest.asc")][-1]
    text = ((place or site.store) / "vps1" / "nightly" / name).read_text()
    parsed: dict[str, object] = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return parsed


def test_a_home_becomes_an_encrypted_signed_snapshot_and_plain_tools_bring_it_back(site: Site, tmp_path: Path) -> None:
    status = site.run()
    assert (status.state, status.exit_code, status.error) == ("done", 0, None)
    endings = [it.split(".", 1)[1] for it in site.snapshots()]
    assert endings == ["index.zst.gpg", "manifest.asc", "tar.zst.gpg", "txt"]
    tree = opened(site, data_of(site), tmp_path / "back")
    assert (tree / "SOUL.md").read_text() == "I am the test.\n"
    assert (tree / ".env").stat().st_mode & 0o777 == 0o600
    assert (tree / "skills" / "report" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert os.readlink(tree / "current") == "skills/report"
    assert (tree / "empty").is_dir()
    assert not (tree / "logs").exists()
    assert not list(tree.glob("state.db-*"))
    assert messages_in(tree / "state.db") == 200


def test_the_manifest_tells_what_was_written_and_nothing_of_the_content(site: Site) -> None:
    site.run()
    data = data_of(site).read_bytes()
    manifest = manifest_of(site)
    (part,) = [it for it in manifest["parts"] if it["role"] == "data"]  # type: ignore[attr-defined]
    assert (part["size"], part["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    (database,) = manifest["databases"]  # type: ignore[misc]
    assert database["tables"] == {"messages": 200}
    text = json.dumps(manifest)
    assert "tea" not in text
    assert "very-secret" not in text


def test_every_snapshot_names_the_one_before(site: Site) -> None:
    site.run()
    first = [it for it in site.snapshots() if it.endswith(".asc")][0]
    digest = hashlib.sha256((site.store / "vps1" / "nightly" / first).read_bytes()).hexdigest()
    site.run()
    assert manifest_of(site)["sequence"] == 2
    assert manifest_of(site)["previous"] == digest


def test_nothing_is_readable_by_others_and_no_plaintext_is_left(site: Site) -> None:
    site.run()
    for path in [site.store, *site.store.rglob("*"), site.root / "state", *(site.root / "state").rglob("*")]:
        if path.is_dir() and path.name != "state":
            assert path.stat().st_mode & 0o077 == 0, path
    for path in (p for top in (site.store, site.root / "state") for p in top.rglob("*") if p.is_file()):
        content = path.read_bytes()
        assert b"very-secret-token" not in content, path
        assert b"likes tea" not in content, path
    assert not list(site.folder.glob("run-*"))


def test_the_home_is_left_as_it_was(site: Site) -> None:
    before = {it: (it.lstat().st_mtime_ns, it.lstat().st_ino) for it in site.home.rglob("*")}
    site.run()
    assert {it: (it.lstat().st_mtime_ns, it.lstat().st_ino) for it in site.home.rglob("*")} == before


@pytest.mark.parametrize("algorithm", ["zstd", "lz4", "gzip", "none"])
def test_every_compression_comes_back(site: Site, algorithm: str) -> None:
    assert site.run(site.usual(archive={"compression": {"algorithm": algorithm}})).state == "done"
    sealed = data_of(site).read_bytes()
    coders = (Decrypt(site.recipient.gnupghome), Decompress(algorithm))  # type: ignore[arg-type]
    plain = b"".join(join(from_bytes(sealed), coders))
    listing = subprocess.run(["tar", "-tf", "-"], input=plain, capture_output=True, check=True).stdout
    assert b"SOUL.md" in listing.split(b"\n")


def test_a_passphrase_instead_of_recipients(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse battery staple\n")
    stages = site.usual()
    stages[2] = {"encrypt": {"passphrase_credential": str(secret)}}
    assert site.run(stages).state == "done"
    done = subprocess.run(
        ["gpg", "--homedir", str(site.recipient.gnupghome), "--batch", "--pinentry-mode", "loopback",
         "--passphrase-file", str(secret), "-d", str(data_of(site))],
        capture_output=True, check=True,
    )  # fmt: skip
    assert (
        subprocess.run(["zstd", "-dc"], input=done.stdout, capture_output=True, check=True).stdout[257:262] == b"ustar"
    )


def test_odd_files_come_back_and_volatile_ones_stay_out(site: Site, tmp_path: Path) -> None:
    home = os.fsencode(site.home)
    names = [b"new\nline", b"\xff\xfe", b"-rf", "emoji 😀".encode(), b"x" * 255, b"$(touch hacked)", b"a;b"]
    for name in names:
        Path(os.fsdecode(os.path.join(home, name))).write_bytes(name)
    os.link(site.home / "SOUL.md", site.home / "soul-again")
    os.mkfifo(site.home / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(site.home / "sock"))
        with (site.home / "holes").open("wb") as file:
            file.truncate(50_000_000)
        assert site.run().state == "done"
    tree = opened(site, data_of(site), tmp_path / "back")
    for name in names:
        assert Path(os.fsdecode(os.path.join(os.fsencode(tree), name))).read_bytes() == name
    assert (tree / "soul-again").stat().st_ino == (tree / "SOUL.md").stat().st_ino
    assert (tree / "holes").stat().st_size == 50_000_000
    assert (tree / "holes").stat().st_blocks < 100
    assert not (tree / "pipe").exists()
    assert not (tree / "sock").exists()
    assert not (site.root / "hacked").exists()


def test_extended_attributes_are_kept(site: Site, tmp_path: Path) -> None:
    try:
        os.setxattr(site.home / "SOUL.md", "user.origin", b"test")
    except OSError as error:
        pytest.skip(f"this file system keeps no attributes: {error}")
    site.run()
    tree = tmp_path / "back"
    tree.mkdir()
    home = site.recipient.gnupghome
    pipe = f"gpg --homedir '{home}' --batch -d '{data_of(site)}' 2>/dev/null | zstd -d | tar -xp --xattrs -C '{tree}'"
    subprocess.run(pipe, shell=True, check=True)
    assert os.getxattr(tree / "SOUL.md", "user.origin") == b"test"


def test_exclusions_of_the_pipeline_the_cache_tag_and_markers(site: Site) -> None:
    (site.home / "build").mkdir()
    (site.home / "build" / "out.o").write_text("x")
    (site.home / "tagged").mkdir()
    (site.home / "tagged" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    (site.home / "tagged" / "big").write_text("x")
    (site.home / "marked").mkdir()
    (site.home / "marked" / ".nobackup").touch()
    (site.home / "marked" / "big").write_text("x")
    archive = {"exclude": ["/build/", "/nothing-like-this/"], "exclude_if_present": [".nobackup"]}
    status = site.run(site.usual(archive=archive))
    assert any("/nothing-like-this/" in it for it in status.warnings)
    index = next(it for it in site.snapshots() if "index" in it)
    sealed = (site.store / "vps1" / "nightly" / index).read_bytes()
    lines = b"".join(join(from_bytes(sealed), (Decrypt(site.recipient.gnupghome), Decompress("zstd"))))
    names = {json.loads(line)["name"] for line in lines.splitlines()}
    assert {"tagged/CACHEDIR.TAG", "marked/.nobackup", "SOUL.md"} <= names
    assert not {"build", "build/out.o", "tagged/big", "marked/big", "logs"} & names


def test_a_broken_database_does_not_stop_the_others_and_is_told(site: Site, tmp_path: Path) -> None:
    fill(site.home / "kanban.db", 500)
    content = bytearray((site.home / "kanban.db").read_bytes())
    content[8192:12288] = b"\x55" * 4096
    (site.home / "kanban.db").write_bytes(content)
    status = site.run()
    assert (status.state, status.exit_code) == ("partial", 4)
    assert [it.path for it in status.partial] == ["kanban.db"]
    tree = opened(site, data_of(site), tmp_path / "back")
    assert (tree / "kanban.db").read_bytes() == bytes(content)
    assert messages_in(tree / "state.db") == 200


def test_a_log_whose_database_is_gone_is_saved_as_it_lies(site: Site, tmp_path: Path) -> None:
    connection = sqlite3.connect(site.home / "kanban.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    log = (site.home / "kanban.db-wal").read_bytes()
    connection.close()
    (site.home / "kanban.db").unlink()
    (site.home / "kanban.db-wal").write_bytes(log)
    status = site.run()
    assert status.exit_code == 4
    assert (opened(site, data_of(site), tmp_path / "back") / "kanban.db-wal").read_bytes() == log


def test_the_order_in_an_archive_is_that_of_the_names_whatever_the_folder_says(site: Site) -> None:
    site.run()
    for path in sorted(site.home.iterdir(), reverse=True):
        path.rename(site.root / path.name)
        (site.root / path.name).rename(site.home / path.name)
    site.run()
    first, second = (archive_in(site, site.store / "vps1" / "nightly" / it) for it in site.snapshots() if ".tar" in it)
    names = subprocess.run(["tar", "-t"], input=first, capture_output=True, check=True).stdout.decode().split()
    assert names == [*sorted(names[:-1]), "state.db"]
    assert {".env", "SOUL.md", "skills/report/run.sh"} <= set(names)
    assert second == first


def test_an_unchanged_home_is_not_sent_again_and_a_changed_one_is(site: Site) -> None:
    quick = Options("test", if_changed=True)
    assert site.run(options=quick).state == "done"
    before = site.snapshots()
    status = site.run(options=quick)
    assert (status.state, status.exit_code) == ("unchanged", 0)
    assert str(status.snapshot).startswith("000001-")
    assert site.snapshots() == before
    soul = site.home / "SOUL.md"
    times = (soul.stat().st_atime_ns, soul.stat().st_mtime_ns)
    soul.write_text("I am the tesT.\n")
    os.utime(soul, ns=times)
    assert site.run(options=quick).state == "done", "same size and same date, other content"
    fill(site.home / "state.db", 1)
    assert site.run(options=quick).state == "done"
    soul.chmod(0o640)
    assert site.run(options=quick).state == "done"
    os.setxattr(soul, "user.mood", b"calm")
    assert site.run(options=quick).state == "done"
    assert site.run(options=quick).state == "unchanged"


def test_unchanged_needs_the_last_snapshot_to_be_where_it_should(site: Site) -> None:
    quick = Options("test", if_changed=True)
    site.run(options=quick)
    data_of(site).unlink()
    assert site.run(options=quick).state == "done"


def test_other_settings_make_another_snapshot(site: Site) -> None:
    quick = Options("test", if_changed=True)
    site.run(options=quick)
    assert site.run(site.usual(archive={"exclude": ["/empty/"]}), options=quick).state == "done"


def test_if_changed_is_a_setting_of_the_pipeline_too(site: Site) -> None:
    pipelines = {"nightly": {"if_changed": True, "stages": site.usual()}}
    assert [site.run(pipelines=pipelines).state for _ in range(2)] == ["done", "unchanged"]


def test_commands_run_around_the_copy_without_a_shell(site: Site) -> None:
    said = site.root / "said"
    moments = {"before": "before", "after": "after", "on_failure": "failed", "always": "always"}
    stages = [
        {"command": {moment: ["/bin/sh", "-c", f"echo {word} >> {said}"] for moment, word in moments.items()}},
        *site.usual(),
    ]  # fmt: skip
    assert site.run(stages).state == "done"
    assert said.read_text().split() == ["before", "after", "always"]
    said.unlink()
    stages[-1] = {"store": {"path": "/proc/nowhere"}}
    assert site.run(stages).state == "failed"
    assert said.read_text().split() == ["before", "failed", "always"]
    hostile = [{"command": {"before": ["echo", f"$(touch {site.root}/hacked)", "; touch hacked"]}}, *site.usual()]
    assert site.run(hostile).state == "done"
    assert not (site.root / "hacked").exists()


def test_a_failing_command_fails_the_run_by_name(site: Site) -> None:
    status = site.run([{"command": {"before": ["false"]}}, *site.usual()])
    assert status.error is not None
    assert (status.exit_code, status.error.name) == (5, "HB-COMMAND-FAILED")
    assert site.snapshots() == []
    slow = site.run([{"command": {"before": ["sleep", "30"], "timeout": "1s"}}, *site.usual()])
    assert slow.error is not None
    assert "not done in time" in slow.error.what


def test_a_dry_run_examines_and_says_and_writes_nothing(site: Site) -> None:
    status = site.run(options=Options("test", dry_run=True))
    assert status.state == "planned"
    assert any(str(site.home) in it for it in status.plan)
    assert any(str(site.store) in it for it in status.plan)
    assert not site.store.exists()


def test_only_and_skip_choose_stages_and_are_checked(site: Site) -> None:
    stages = site.usual({"push": {"to": [str(site.remote)]}})
    assert site.run(stages, options=Options("t", skip=("push",))).places == (str(site.store),)
    with pytest.raises(Fault) as caught:
        site.run(stages, options=Options("t", only=("encrypt", "store")))
    assert caught.value.kind.name == "HB-PIPELINE-ORDER"
    with pytest.raises(Fault, match="no stage 'pusch'"):
        site.run(stages, options=Options("t", skip=("pusch",)))


@pytest.mark.parametrize("skipped", ["encrypt", "sqlite"])
def test_what_a_run_left_out_counts_for_no_later_one(site: Site, skipped: str) -> None:
    assert site.run(options=Options("t", skip=(skipped,))).snapshot is not None
    later = site.run(options=Options("t", if_changed=True))
    assert (later.state, later.exit_code) == ("done", 0)
    assert site.run(options=Options("t", if_changed=True)).state == "unchanged"


def test_without_copies_of_databases_their_logs_come_too_and_it_is_partial(site: Site, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(site.home / "state.db")) as connection:
        connection.execute("INSERT INTO messages (content) VALUES ('in the log')")
        connection.commit()
        status = site.run(options=Options("t", skip=("sqlite",)))
        assert (status.state, status.exit_code) == ("partial", 4)
        quiet = site.run([it for it in site.usual() if it != "sqlite"])
        assert (quiet.state, quiet.exit_code) == ("done", 0)  # a pipeline that stops its agent may do without copies
    for number, name in enumerate(it for it in site.snapshots() if ".tar.zst.gpg" in it):
        tree = opened(site, site.store / "vps1" / "nightly" / name, tmp_path / f"{number}")
        assert messages_in(tree / "state.db") == 201


def test_a_home_without_databases_lacks_nothing_without_their_copies(site: Site) -> None:
    (site.home / "state.db").unlink()
    skipping = Options("t", skip=("sqlite",), if_changed=True)
    assert [site.run(options=skipping).state for _ in range(2)] == ["done", "unchanged"]


def test_a_log_without_its_database_is_kept_without_copies_too(site: Site, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(site.home / "kanban.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE a (b)")
        connection.commit()
        log = (site.home / "kanban.db-wal").read_bytes()
    (site.home / "kanban.db").unlink()
    (site.home / "kanban.db-wal").write_bytes(log)
    site.run([it for it in site.usual() if it != "sqlite"])
    assert (opened(site, data_of(site), tmp_path / "back") / "kanban.db-wal").read_bytes() == log


@pytest.mark.parametrize(
    ("spoil", "name", "code"),
    [
        (lambda site: subprocess.run(["mv", site.home, f"{site.home}-gone"], check=True), "HB-HOME-MISSING", 5),
        (
            lambda site: subprocess.run(f"rm -rf {site.home}/* {site.home}/.env", shell=True, check=True),
            "HB-HOME-EMPTY",
            5,
        ),
    ],
)
def test_a_home_that_is_missing_or_empty(site: Site, spoil: object, name: str, code: int) -> None:
    site.run()
    before = site.snapshots()
    spoil(site)  # type: ignore[operator]
    status = site.run()
    assert status.error is not None
    assert (status.error.name, status.exit_code) == (name, code)
    assert site.snapshots() == before


def test_the_guide_s_sign_only_key_stops_the_run_before_any_work(site: Site, key_maker: KeyMaker) -> None:
    bad = key_maker.make("rsa3072", "sign", "0")
    stages = site.usual()
    stages[2] = {"encrypt": {"recipients": [site.recipient.fingerprint, bad.fingerprint]}}
    status = site.run(stages, public_keys=[site.recipient.public, bad.public])
    assert status.error is not None
    assert (status.error.name, status.exit_code) == ("HB-KEY-SIGN-ONLY", 8)
    assert "--quick-add-key" in status.error.mend
    assert not site.store.exists()


def test_an_expiring_key_is_a_warning(site: Site, key_maker: KeyMaker) -> None:
    soon = key_maker.make("future-default", "default", "20d")
    stages = site.usual()
    stages[2] = {"encrypt": {"recipients": [soon.fingerprint]}}
    status = site.run(stages, public_keys=[soon.public])
    assert status.state == "done"
    assert any("expires on" in it for it in status.warnings)
    assert gpg(soon.gnupghome, "--list-keys")


def test_hard_links_and_tar_agree_on_the_count(site: Site, tmp_path: Path) -> None:
    os.link(site.home / "SOUL.md", site.home / "zz")
    status = site.run()
    tree = opened(site, data_of(site), tmp_path / "back")
    assert status.files == sum(1 for it in tree.rglob("*") if it.is_file() and not it.is_symlink())


def test_a_remote_that_is_a_folder_needs_no_rclone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = site.root / "programs"
    programs.mkdir()
    called = programs / "called"
    (programs / "rclone").write_text(f"#!/bin/sh\necho $* >> {called}\nexit 1\n")
    (programs / "rclone").chmod(0o700)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert site.run(site.usual({"push": {"to": [str(site.remote)]}})).exit_code == 0
    assert site.snapshots(site.remote) == site.snapshots()
    assert not called.exists()
