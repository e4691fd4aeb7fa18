"""Each check of a drill passes on what is whole, and fails for its stated reason on what is not."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.pipeline.model import parse_stage
from hermes_backup.snapshots.manifest import Database
from hermes_backup.stages.check import Check
from hermes_backup.stages.checks.sandbox import sandbox
from hermes_backup.streams.gpg import EncryptTo
from tests.keys import KeyMaker, Recipient
from tests.pipeline.checking import checked
from tests.pipeline.forge import BEGUN, Forge, entry, folder_entry, left_running, link_entry, tar_of
from tests.site import Site

bubblewrapped = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
FULL = Check(depth="full")
FTS = "CREATE VIRTUAL TABLE messages_fts USING fts5(content)"
FILL = "INSERT INTO messages_fts (rowid, content) SELECT id, content FROM messages"
LOSE = "UPDATE messages_fts_content SET c0 = 'replaced' WHERE id = 20"
DASHES = FTS.replace("content)", "content, tokenize = \"unicode61 tokenchars '-'\")")
EXTERNAL = "CREATE VIRTUAL TABLE messages_fts USING fts5(content, content='messages', content_rowid='id')"
REBUILD = "INSERT INTO messages_fts (messages_fts) VALUES ('rebuild')"
SHADOWS = ("messages_fts_config", "messages_fts_content", "messages_fts_data", "messages_fts_docsize",
           "messages_fts_idx")  # fmt: skip


def database(path: Path, *changes: str) -> bytes:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, content TEXT, timestamp REAL)")
    rows = [(f"the parrot says word{it}", BEGUN.timestamp() + it) for it in range(20)]
    connection.executemany("INSERT INTO messages (content, timestamp) VALUES (?, ?)", rows)
    for change in changes:
        connection.execute(change)
    connection.commit()
    connection.close()
    return path.read_bytes()


def counted(path: Path, name: str = "state.db") -> tuple[Database, ...]:
    """What an honest manifest says of a database."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage").fetchall()
    tables = {it: connection.execute(f'SELECT count(*) FROM "{it}"').fetchone()[0] for (it,) in rows}
    connection.close()
    return (Database(path=name, page_size=4096, pages=3, tables=tables),)


def of(forge: Forge, tmp_path: Path, *changes: str, check: Check = FULL, name: str = "state.db") -> Any:
    """Publish a home with one database, truly signed, and check it."""
    path = tmp_path / "made.db"
    archive = tar_of(entry(name, database(path, *changes)))
    forge.publish(archive, databases=counted(path, name))
    return checked(forge.site, check, key=forge.key.public())


def test_everything_of_a_real_backup_is_proven(site: Site) -> None:
    site.run()
    found = checked(site, FULL)
    assert {it.verdict for it in found.values()} == {"ok", "unproven"}
    assert [it.what for it in found.values() if not it.ok] == ["state.db: newest message"]
    assert found["files"].evidence.endswith("each with its kind, size, mode and SHA-256")
    assert found[f"key {site.recipient.fingerprint}"].evidence == "decrypts"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: (root / "SOUL.md").unlink(), "it is missing"),
        (lambda root: (root / "SOUL.md").chmod(0o640), "its mode is another"),
        (lambda root: (root / "SOUL.md").write_bytes(b"I am the rest.\n"), "its content is another"),
        (lambda root: (root / "SOUL.md").write_bytes(b"short"), "its size is another"),
        (lambda root: ((root / "SOUL.md").unlink(), (root / "SOUL.md").mkdir()), "it is of another kind"),
        (lambda root: ((root / "current").unlink(), (root / "current").symlink_to("x")), "it points elsewhere"),
        (lambda root: (root / "empty").chmod(0o777), "its mode is another"),
    ],
)
def test_a_file_on_disk_that_is_not_as_the_index_says(spoil: Callable[[Path], None], said: str, site: Site) -> None:
    site.run()
    found = checked(site, FULL, spoil=spoil)["files"]
    assert (found.verdict, found.name) == ("failed", "")
    assert found.evidence.startswith("1 of ")
    assert found.evidence.endswith(said)
    assert "SOUL" not in found.evidence
    assert found.named in (("SOUL.md",), ("current",), ("empty",))


def test_a_hard_link_that_became_a_file_of_its_own(forge: Forge) -> None:
    linked = entry("b", type=b"1", linkname="a")
    forge.publish(tar_of(folder_entry("d"), entry("a", b"same"), linked, link_entry("l", "a")))

    def cut(root: Path) -> None:
        (root / "b").unlink()
        shutil.copy2(root / "a", root / "b")

    assert checked(forge.site, FULL, key=forge.key.public())["files"].ok
    found = checked(forge.site, FULL, key=forge.key.public(), spoil=cut)["files"]
    assert (found.verdict, found.named) == ("failed", ("b",))
    assert found.evidence.endswith("it is no name of the same file")


def test_the_search_finds_the_newest_row(forge: Forge, tmp_path: Path) -> None:
    found = of(forge, tmp_path, FTS, "INSERT INTO messages_fts (rowid, content) SELECT id, content FROM messages")
    assert found["state.db: search in messages_fts"].evidence == "its newest row is found by its own words"
    assert found["state.db: integrity"].ok
    assert "parrot" not in str(list(found.values()))


@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ((EXTERNAL, "INSERT INTO messages_fts (messages_fts) VALUES ('rebuild')"), "ok", "its newest row"),
        ((EXTERNAL,), "unproven", "nothing tells of a row"),
        ((EXTERNAL, REBUILD, "INSERT INTO messages_fts (messages_fts) VALUES ('delete-all')"), "unproven",
         "nothing tells of a row"),
        ((EXTERNAL, REBUILD, "INSERT INTO messages (content) VALUES ('after the index')"), "ok", "its newest row"),
        ((EXTERNAL, REBUILD, "UPDATE messages SET content = 'replaced' WHERE id = 20"), "unproven",
         "19 of the newest 20 rows"),
        ((EXTERNAL, REBUILD, "UPDATE messages SET content = 'replaced'"), "failed", "none of the newest 20 rows"),
        ((EXTERNAL.replace(")", ", columnsize=0)"), REBUILD), "unproven", "nothing tells of a row"),
        (("CREATE VIRTUAL TABLE messages_fts USING fts5(content, content='')",
          "INSERT INTO messages_fts (rowid, content) SELECT id, content FROM messages"), "unproven", "hold no word"),
        ((FTS, "INSERT INTO messages_fts (rowid, content) SELECT id, content FROM messages",
          "UPDATE messages_fts_content SET c0 = 'replaced'"), "failed", "none of the newest 20 rows"),
        ((FTS,), "unproven", "it is empty"),
        (("CREATE VIRTUAL TABLE messages_fts USING fts4(content)",), "unproven", "fts4 is not asked"),
        (("CREATE VIRTUAL TABLE messages_fts USING fts5(content, tokenize = 'trigram')",
          "INSERT INTO messages_fts (rowid, content) SELECT id, content FROM messages"), "ok", "its newest row"),
        (("CREATE VIRTUAL TABLE messages_fts USING fts5(\"a, b\" UNINDEXED, 'it''s', tokenize=\"porter ascii\")",
          "INSERT INTO messages_fts VALUES ('unindexed words', 'running words')"), "ok", "its newest row"),
        (("CREATE VIRTUAL TABLE messages_fts USING fts5(content)",
          "INSERT INTO messages_fts VALUES ('?!')"), "unproven", "hold no word to ask for"),
        ((FTS, FILL, LOSE), "failed", "19 of the newest 20 rows"),
        ((FTS.replace("content)", "content, tokenize=trigram)"), FILL, LOSE), "failed", "19 of the newest 20 rows"),
        ((DASHES, FILL, LOSE), "unproven", "19 of the newest 20 rows"),
        ((DASHES, "INSERT INTO messages_fts VALUES ('well-known')"), "unproven", "may divide otherwise"),
        ((FTS, FILL, "INSERT INTO messages_fts VALUES ('e\u0301tude')"), "unproven", "20 of the newest 21 rows"),
        ((FTS, "INSERT INTO messages_fts VALUES (hex(zeroblob(99)))"), "unproven", "hold no word to ask for"),
        ((FTS, "INSERT INTO messages_fts VALUES (replace(hex(zeroblob(9998)), '00', 'x ') || 'wordword')"), "unproven",
         "hold no word to ask for"),
        ((FTS.replace("content)", "content, tokenize='trigram')"), "INSERT INTO messages_fts VALUES ('abc')",
          "INSERT INTO messages_fts VALUES ('de fg')"), "ok", "its newest row"),
        ((FTS.replace("content)", "content, tokenize='trigram')"),
          "INSERT INTO messages_fts VALUES ('abc' || char(0) || 'behind')"), "ok", "its newest row"),
        ((FTS.replace("content)", "content, detail=none)"), FILL), "ok", "its newest row"),
        ((FTS.replace("content)", "content, detail=none)"), FILL, LOSE), "failed", "19 of the newest 20 rows"),
        ((FTS.replace("content)", "content, detail=column)"), FILL), "ok", "its newest row"),
        ((FTS.replace("content)", "content, detail=none, tokenize=trigram)"), FILL), "unproven", "(detail!=full)"),
        ((FTS.replace("content)", "content UNINDEXED, b)"), "INSERT INTO messages_fts VALUES ('unindexed', 'x')"),
         "unproven", "hold no word to ask for"),
        ((FTS.replace("content)", "content UNINDEXED)"), FILL), "unproven", "hold no word to ask for"),
        ((FTS.replace("(", " /* c */ ("), FILL), "ok", "its newest row"),
        ((FTS.replace("fts5", "'FTS5'"), FILL), "ok", "its newest row"),
        ((FTS.replace("content)", "content, tok='porter')"), FILL), "unproven", "not understood"),
        ((FTS.replace("content)", "content, 12)"), FILL), "unproven", "not understood"),
    ],
)  # fmt: skip
def test_a_search_that_does_not_answer(
    changes: tuple[str, ...], verdict: str, said: str, forge: Forge, tmp_path: Path
) -> None:
    found = of(forge, tmp_path, *changes)["state.db: search in messages_fts"]
    assert (found.verdict, said in found.evidence) == (verdict, True), found


def test_a_virtual_table_that_is_no_search_is_not_asked(forge: Forge, tmp_path: Path) -> None:
    found = of(forge, tmp_path, "CREATE VIRTUAL TABLE places USING rtree(id, west, east)")
    assert [it for it in found if "search" in it] == []


@pytest.mark.parametrize("tools", [0, 60])
def test_an_index_that_leaves_the_answers_of_tools_out(tools: int, forge: Forge, tmp_path: Path) -> None:
    """As hermes-agent's main branch has it: a view without them, and a trigger that skips them."""
    found = of(
        forge, tmp_path, "ALTER TABLE messages ADD COLUMN role TEXT DEFAULT 'user'",
        "CREATE VIEW source AS SELECT id, content FROM messages WHERE role <> 'tool'",
        "CREATE VIRTUAL TABLE messages_fts USING fts5(content, content='messages', content_rowid='id')",
        "CREATE VIRTUAL TABLE messages_fts_trigram USING fts5(content, content='source', content_rowid='id', "
        "tokenize='trigram')",
        *(f"CREATE TRIGGER of_{it} AFTER INSERT ON messages WHEN new.role <> 'tool' BEGIN "
          f"INSERT INTO {it} (rowid, content) VALUES (new.id, new.content); END"
          for it in ("messages_fts", "messages_fts_trigram")),
        "INSERT INTO messages (content) VALUES ('the last that somebody said')",
        *(f"INSERT INTO messages (content, role) VALUES ('answer{it}', 'tool')" for it in range(tools)),
    )  # fmt: skip
    for table in ("messages_fts", "messages_fts_trigram"):
        assert found[f"state.db: search in {table}"].ok, found


def test_a_tokenizer_that_only_the_agent_has(forge: Forge, tmp_path: Path) -> None:
    path = tmp_path / "made.db"
    database(path, FTS)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_master SET sql = replace(sql, '(content)', '(content, tokenize=''own'')') "
                       "WHERE name = 'messages_fts'")  # fmt: skip
    connection.commit()
    connection.close()
    forge.publish(tar_of(entry("state.db", path.read_bytes())), databases=counted(path))
    found = checked(forge.site, FULL, key=forge.key.public())["state.db: search in messages_fts"]
    assert found.verdict == "unproven"
    assert "own" in found.evidence


def test_an_index_that_lacks_a_row_is_seen_by_the_integrity_check_alone(forge: Forge, tmp_path: Path) -> None:
    """quick_check, which a backup and a restore make, does not compare tables with their indexes."""
    path = tmp_path / "made.db"
    database(path, "CREATE INDEX by_content ON messages (content)")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_master SET sql = replace(sql, '(content)', '(content) WHERE id < 5') "
                       "WHERE name = 'by_content'")  # fmt: skip
    connection.commit()
    connection.close()
    forge.publish(tar_of(entry("state.db", path.read_bytes())), databases=counted(path))
    assert checked(forge.site, Check(), key=forge.key.public())["state.db"].ok
    found = checked(forge.site, FULL, key=forge.key.public())
    assert (found["state.db"].verdict, found["state.db: integrity"].verdict) == ("ok", "failed")


def test_rows_that_refer_to_what_is_not_there_are_told_and_are_no_failure(forge: Forge, tmp_path: Path) -> None:
    child = "CREATE TABLE child (x REFERENCES messages (id))"
    assert of(forge, tmp_path, child, "INSERT INTO child VALUES (7)")["state.db: foreign keys"].ok
    (tmp_path / "made.db").unlink()
    shutil.rmtree(forge.site.store)
    found = of(forge, tmp_path, child, "INSERT INTO child VALUES (7), (700), (701)")["state.db: foreign keys"]
    assert found.verdict == "unproven"
    assert found.evidence == "2 rows refer to what is not there, in child; so it was backed up"


@pytest.mark.parametrize(
    ("later", "verdict", "said"),
    [
        (timedelta(days=-3), "ok", "4 d before"), (timedelta(hours=24), "ok", "0 min before"),
        (timedelta(days=1, minutes=20), "ok", "20 min after"), (timedelta(days=2), "failed", "24 h newer"),
    ],
)  # fmt: skip
def test_the_newest_message_is_of_the_snapshots_time(
    later: timedelta, verdict: str, said: str, forge: Forge, tmp_path: Path
) -> None:
    """The forge begins its first snapshot a day after BEGUN."""
    when = (BEGUN + later).timestamp()
    found = of(forge, tmp_path, f"UPDATE messages SET timestamp = {when}")["state.db: newest message"]
    assert (found.verdict, said in found.evidence) == (verdict, True), found


def test_a_database_that_nobody_counted_is_named(forge: Forge, tmp_path: Path) -> None:
    forge.publish(tar_of(entry("more.db", database(tmp_path / "a.db")), entry("SOUL.md", b"me")))
    found = checked(forge.site, FULL, key=forge.key.public())["databases"]
    assert (found.verdict, found.named) == ("unproven", ("more.db",))


def test_a_key_that_is_not_at_hand_and_one_that_the_snapshot_is_not_encrypted_to(
    forge: Forge, recipient: Recipient
) -> None:
    absent = "0" * 40
    forge.publish(tar_of(entry("a", b"a")), recipients=(recipient.fingerprint, absent))
    found = checked(forge.site, FULL, key=forge.key.public())
    assert found[f"key {recipient.fingerprint}"].ok
    assert found[f"key {absent}"].evidence == "its private key is not at hand"
    assert found["keys"].verdict == "failed"
    assert found["keys"].evidence == "the list of files is encrypted to 1 keys, the manifest names 2"


@pytest.fixture
def second(recipient: Recipient, key_maker: KeyMaker) -> Recipient:
    """Another key, in a home that holds the private half of the first, too."""
    made = key_maker.make()
    secret = subprocess.run(["gpg", "--homedir", recipient.gnupghome, "--batch", "--export-secret-keys"],
                            capture_output=True, check=True).stdout  # fmt: skip
    subprocess.run(["gpg", "--homedir", made.gnupghome, "--batch", "--import"], input=secret, check=True)
    return made


def test_each_key_is_tried_alone(forge: Forge, recipient: Recipient, second: Recipient) -> None:
    """Both private keys are at hand; then the manifest names one that the data is not encrypted to."""
    both = (recipient.fingerprint, second.fingerprint)
    forge.publish(tar_of(entry("a", b"a")), coders=[EncryptTo(both, second.gnupghome)], recipients=both)
    found = checked(forge.site, FULL, key=forge.key.public(), gnupghome=second.gnupghome)
    assert [found[f"key {it}"].evidence for it in both] == ["decrypts", "decrypts"]
    shutil.rmtree(forge.site.store)
    forge.publish(tar_of(entry("a", b"a")), coders=[EncryptTo(both[:1], second.gnupghome)], recipients=both)
    found = checked(forge.site, FULL, key=forge.key.public(), gnupghome=second.gnupghome)
    assert found[f"key {both[0]}"].ok
    assert found[f"key {both[1]}"].evidence == "the list of files is not encrypted to it"
    assert found[f"key {both[1]}"].verdict == "failed"


def test_commands_see_the_home_and_no_network(forge: Forge, tmp_path: Path) -> None:
    if sandbox(tmp_path) is None:
        pytest.skip("this machine gives no sandbox")
    inside = "import os,socket\nassert open('SOUL.md').read() == os.environ['HERMES_HOME'][:0] + 'me'\n"
    dial = "import socket\nsocket.create_connection(('127.0.0.1', {port}), 3)"
    with socket.create_server(("127.0.0.1", 0)) as server:
        outside = dial.format(port=server.getsockname()[1])
        check = Check(commands=((sys.executable, "-c", inside), (sys.executable, "-c", outside), ("no-such-program",)))
        forge.publish(tar_of(entry("SOUL.md", b"me")))
        found = checked(forge.site, check, key=forge.key.public())
    assert found["command 1"].ok
    assert found["command 2"].verdict == "failed"
    assert "ConnectionRefused" in str(found["command 2"].named) or "unreachable" in str(found["command 2"].named)
    assert found["command 3"].verdict == "failed"
    assert "ConnectionRefused" not in found["command 2"].evidence


@pytest.fixture
def key_home() -> Iterator[Path]:
    """A folder of keys that lies in no folder for temporaries, nor where keys usually do."""
    with tempfile.TemporaryDirectory(prefix=".hb-keys-", dir=Path.home()) as folder:
        yield Path(folder)


def tried(forge: Forge, *codes: str, gnupghome: Path | None = None) -> list[tuple[str, str]]:
    """What becomes of commands that are lines of Python."""
    check = Check(commands=tuple((sys.executable, "-c", it) for it in codes))
    forge.publish(tar_of(entry("SOUL.md", b"me")))
    found = checked(forge.site, check, key=forge.key.public(), gnupghome=gnupghome)
    return [(found[f"command {it}"].verdict, str(found[f"command {it}"])) for it in range(1, len(codes) + 1)]


@bubblewrapped
@pytest.mark.parametrize("where", ["/run", "/tmp", "/var/tmp", "a key folder"])
def test_commands_reach_no_socket_of_a_service(where: str, forge: Forge, key_home: Path) -> None:
    """An agent of keys, docker and the like listen there; the home is read all the same."""
    if where == "/run" and not os.access(where, os.W_OK):
        where = os.environ.get("XDG_RUNTIME_DIR") or pytest.skip("there is no folder in /run to listen in")
    above = key_home if where == "a key folder" else Path(where)
    shutil.copytree(forge.site.recipient.gnupghome, key_home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("S.*"))
    with tempfile.TemporaryDirectory(dir=above) as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/s")
        server.listen()
        dial = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect('{folder}/s'); print('connected')"
        subprocess.run([sys.executable, "-c", dial], check=True)
        read = "assert open('SOUL.md').read() == 'me'"
        listing = f"import os; assert not os.listdir('{above}'), 'seen'"
        dialled, (home, _), listed = tried(forge, dial, read, listing, gnupghome=key_home)
    assert dialled[0] == "failed"
    assert "FileNotFoundError" in dialled[1]
    assert home == "ok"
    # the run's own scratch folder may lie below the folder for temporaries
    assert listed[0] == "ok" or where == "/tmp"


@bubblewrapped
def test_commands_see_no_keys_and_cannot_uncover_them(
    forge: Forge, key_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (".gnupg", ".ssh", ".config/rclone", "state/hermes-backup/drill-key", "config/hermes-backup",
                 "config/rclone", "cache/hermes-backup"):  # fmt: skip
        (key_home / name).mkdir(parents=True)
        (key_home / name / "secret").write_text("secret")
    for name in (".rclone.conf", "my.conf"):
        (key_home / name).write_text("secret")
    (key_home / "tool").write_text("a tool")
    monkeypatch.setenv("HOME", str(key_home))
    monkeypatch.setenv("XDG_STATE_HOME", str(key_home / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(key_home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(key_home / "cache"))
    monkeypatch.setenv("RCLONE_CONFIG", str(key_home / "my.conf"))
    find = (
        f"import pathlib; f = [str(it) for it in pathlib.Path('{key_home}').rglob('*') if it.is_file()]; assert f == "
    )
    uncover = (
        f"import subprocess; subprocess.run(['umount', '{key_home}/.ssh'], check=False);"
        f"subprocess.run(['unshare', '-Urm', 'umount', '{key_home}/.ssh'], check=False);{find}"
    )
    only = [str(key_home / "tool")]
    written = f"open('{key_home}/tool', 'w')"
    read = f"open('{key_home}/my.conf').read()"
    found = tried(forge, f"{find}{only}", f"{uncover}{only}", written, read)
    assert [verdict for verdict, _ in found] == ["ok", "ok", "failed", "failed"], found
    assert "nothing written outside" in found[0][1]
    assert "Read-only" in found[2][1]


@bubblewrapped
def test_commands_see_no_other_drill(key_home: Path) -> None:
    """Which lie beside it, wherever that is."""
    for name in ("mine", "other"):
        (key_home / name).mkdir()
        (key_home / name / "file").write_text(name)
    box = sandbox(key_home / "mine")
    assert box is not None
    seen = box.run(["find", str(key_home), "-type", "f", "-exec", "cat", "{}", "+"], key_home / "mine", 10.0)
    assert (seen.stdout, seen.stderr) == (b"mine", "")
    assert box.run(["touch", str(key_home / "mine" / "new")], key_home / "mine", 10.0).returncode == 0
    assert (key_home / "mine" / "new").exists()


@bubblewrapped
@pytest.mark.skipif(os.geteuid() != 0, reason="root alone brings back what is somebody else's")
def test_commands_of_root_read_the_home_of_somebody_else(forge: Forge) -> None:
    forge.publish(tar_of(entry("SOUL.md", b"me", uid=1234, gid=1234, mode=0o600)))
    check = Check(commands=(("cat", "SOUL.md"), ("touch", "SOUL.md")))
    found = checked(forge.site, check, key=forge.key.public())
    assert [found[f"command {it}"].verdict for it in (1, 2)] == ["ok", "ok"], found


def test_what_unshare_does_not_give_is_said(forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without bubblewrap."""
    (tmp_path / "bin").mkdir()
    for name in ("unshare", "cat", "setpriv", "true", "tar", "gpg", "gpgv", "gpgconf", "gpg-agent"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    if sandbox(tmp_path) is None:
        pytest.skip("unshare does not work here")
    forge.publish(tar_of(entry("SOUL.md", b"me")))
    found = checked(forge.site, Check(commands=(("true",),)), key=forge.key.public())["command 1"]
    assert found.ok
    assert "unshare: no network, but all files can be read and written" in found.evidence


def test_a_command_that_does_not_end_is_ended(forge: Forge, tmp_path: Path) -> None:
    if sandbox(tmp_path) is None:
        pytest.skip("this machine gives no sandbox")
    forge.publish(tar_of(entry("SOUL.md", b"me")))
    check = Check(commands=(("sleep", "60.25"),), timeout=timedelta(seconds=1))
    assert checked(forge.site, check, key=forge.key.public())["command 1"].evidence == "not done in 1 s"
    assert left_running(Path("60.25")) == []


def test_without_a_sandbox_nothing_is_run(forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with none: its programs run what they are told, and the network is still there."""
    (tmp_path / "bin").mkdir()
    for name in ("unshare", "bwrap"):
        (tmp_path / "bin" / name).write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    forge.publish(tar_of(entry("SOUL.md", b"me")))
    mark = tmp_path / "mark"
    found = checked(forge.site, Check(commands=(("touch", str(mark)),)), key=forge.key.public())["command 1"]
    assert found.verdict == "unproven"
    assert "nothing is run outside of one" in found.evidence
    assert not mark.exists()


@pytest.mark.parametrize(("given", "said"), [(False, "off"), ("off", "off"), ("auto", "auto")])
def test_off_is_off_also_as_yaml_reads_it(given: Any, said: str) -> None:
    made = parse_stage({"check": {"hermes": given}})
    assert isinstance(made, Check)
    assert made.hermes == said
