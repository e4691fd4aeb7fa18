"""Looking inside: ls, find, diff, cat and history, on a home with names that a terminal must not see."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.test_snapshots import GROUP, HOSTS, Desk
from tests.keys import Recipient
from tests.site import PROGRAM, fill, make_home

ODD = {b"red\x1b[31m\nname": b"1", b"\xff\xfe": b"2", "\u202eevil\u009b".encode(): b"3", b"-rf": b"4"}
BINARY = bytes(range(256)) * 40


def make_desk(root: Path, recipient: Recipient) -> Desk:
    make_home(root / "home")
    inventory = root / "inventory" / "prod"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "keys").mkdir()
    (inventory / "hosts.yml").write_text(HOSTS)
    (inventory / "keys" / "operator.asc").write_text(recipient.public)
    said = GROUP.format(root=root, gnupghome=recipient.gnupghome, fingerprint=recipient.fingerprint)
    (inventory / "group_vars" / "all.yml").write_text(said)
    return Desk(root)


def learn(home: Path) -> None:
    """What happens between the first and the second snapshot."""
    (home / "SOUL.md").write_text("I am the test.\nI have grown.\n")
    (home / "memories" / "MEMORY.md").unlink()
    (home / "skills" / "fetch").mkdir()
    (home / "skills" / "fetch" / "SKILL.md").write_text("# Fetch\n\x1b[2Jgone\n")
    (home / "workspace" / "before.bin").rename(home / "workspace" / "after.bin")
    (home / "workspace" / "plan").write_text("second")
    (home / ".env").chmod(0o640)
    fill(home / "state.db", 12)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, recipient: Recipient) -> Desk:
    """Three snapshots: the second differs from the first, the third in one file from the second."""
    desk = make_desk(tmp_path_factory.mktemp("inside"), recipient)
    home = desk.root / "home"
    (home / "workspace").mkdir()
    for name, content in ODD.items():
        Path(os.fsdecode(os.path.join(os.fsencode(home / "workspace"), name))).write_bytes(content)
    (home / "workspace" / "before.bin").write_bytes(BINARY)
    (home / "workspace" / "plan").write_text("first")
    desk.backup()
    learn(home)
    desk.backup()
    (home / "workspace" / "plan").write_text("third")
    desk.backup()
    return desk


@pytest.fixture
def desk(made: Desk, tmp_path: Path) -> Desk:
    """The same snapshots in another remote, to be spoilt."""
    shutil.copytree(made.root / "inventory", tmp_path / "inventory")
    shutil.copytree(made.root / "remote", tmp_path / "remote")
    variables = tmp_path / "inventory" / "prod" / "group_vars" / "all.yml"
    variables.write_text(variables.read_text().replace(f"{made.root}/remote", f"{tmp_path}/remote"))
    return Desk(tmp_path)


def spoil(desk: Desk, pattern: str) -> None:
    """Flip a bit in the middle; the size stays."""
    file = next(desk.remote.glob(pattern))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def failed(desk: Desk, words: Sequence[str], code: int, name: str) -> None:
    done = desk.call(*words)
    assert (done.returncode, name in done.stderr) == (code, True), done.stdout + done.stderr


def test_ls_lists_a_folder_as_it_was(made: Desk) -> None:
    said = made.call("ls", "prod", "vps1", "1").stdout.splitlines()
    assert "000001-" in said[0]
    rows = {line.split()[-1]: line.split() for line in said[2:] if "->" not in line}
    assert rows["SOUL.md"][0] == "-rw-r--r--"
    assert rows["SOUL.md"][1] == f"{os.getuid()}:{os.getgid()}"
    assert rows["SOUL.md"][2:4] == ["15", "B"]
    assert rows[".env"][0] == "-rw-------"
    assert rows["memories"][0].startswith("d")
    assert "memories/MEMORY.md" not in rows
    assert any(line.endswith("current -> skills/report") for line in said)
    inside = made.call("ls", "prod", "vps1", "1", "skills/report").stdout
    assert "-rwxr-xr-x" in inside
    assert inside.rstrip().endswith("skills/report/run.sh")


def test_ls_gives_programs_every_name_as_it_is(made: Desk) -> None:
    files = made.json("ls", "prod", "vps1", "-R")["files"]
    names = {os.fsencode(it["name"]) for it in files}
    assert {b"workspace/" + it for it in ODD} <= names
    assert b"memories/MEMORY.md" not in names
    (soul,) = (it for it in files if it["name"] == "SOUL.md")
    assert (soul["mode"], soul["size"], len(soul["sha256"])) == ("0644", 29, 64)


@pytest.mark.parametrize(
    "words",
    [("ls", "prod", "vps1", "-R"), ("ls", "prod", "vps1", "--json", "-R"), ("find", "prod", "vps1", "*"),
     ("find", "prod", "vps1", "*", "--json"), ("diff", "prod", "vps1", "1"), ("diff", "prod", "vps1", "1", "--json"),
     ("history", "prod", "vps1", "workspace/red\x1b[31m"), ("history", "prod", "vps1", "workspace/\udcff\udcfe"),
     ("cat", "prod", "vps1", "1", "workspace/\x1b[31m")],
)  # fmt: skip
def test_no_name_and_no_text_reaches_the_terminal_raw(made: Desk, words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*PROGRAM, *words], capture_output=True, cwd=made.root, check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(made.root / "cache"), "COLUMNS": "80"},
    )  # fmt: skip
    said = (done.stdout + done.stderr).decode("utf-8")
    assert said
    assert "Traceback" not in said
    assert [it for it in said if not it.isprintable() and it != "\n"] == []


def test_ls_of_what_is_not_there(made: Desk) -> None:
    failed(made, ("ls", "prod", "vps1", "1", "memories/SOUL.md"), 3, "HB-PATH-MISSING")
    failed(made, ("ls", "prod", "vps1", "77"), 3, "HB-SNAPSHOT-MISSING")
    failed(made, ("ls", "prod", "vps2"), 3, "HB-HOST-MISSING")
    assert "nothing" in made.call("ls", "prod", "vps1", "1", "empty").stdout


def test_find_says_which_snapshots_hold_which_version(made: Desk) -> None:
    found = made.json("find", "prod", "vps1", "plan")["found"]
    assert [[int(name[:6]) for name in it["snapshots"]] for it in found] == [[1], [2], [3]]
    found = made.json("find", "prod", "vps1", "skills/**")["found"]
    held = {it["name"]: [int(name[:6]) for name in it["snapshots"]] for it in found if it["kind"] == "file"}
    assert held == {"skills/report/run.sh": [1, 2, 3], "skills/fetch/SKILL.md": [2, 3]}
    (row,) = made.call("find", "prod", "vps1", "run.sh").stdout.splitlines()[1:]
    assert row.split()[-2:] == ["1-3", "skills/report/run.sh"]
    found = made.json("find", "prod", "vps1", "*.md", "--snapshot", "1")["found"]
    assert [it["name"] for it in found] == ["SOUL.md", "memories/MEMORY.md"]
    failed(made, ("find", "prod", "vps1", "*.nothing"), 3, "HB-PATH-MISSING")


def test_history_lists_changes_and_restore_takes_its_numbers(made: Desk, tmp_path: Path) -> None:
    said = made.call("history", "prod", "vps1", "workspace/plan").stdout.splitlines()[1:]
    assert [(it.split()[0], it.split()[-2]) for it in said] == [("1", "first"), ("2", "changed"), ("3", "changed")]
    number = said[1].split()[0]
    done = made.call("restore", "prod", "vps1", number, "--path", "workspace/plan", "--to", str(tmp_path / "back"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "back" / "workspace" / "plan").read_text() == "second"
    versions = made.json("history", "prod", "vps1", "SOUL.md")["versions"]
    assert [(it["change"], len(it["snapshots"])) for it in versions] == [("first", 1), ("changed", 2)]
    versions = made.json("history", "prod", "vps1", "memories/MEMORY.md")["versions"]
    assert [(it["change"], it["file"] is None) for it in versions] == [("first", False), ("removed", True)]
    every = made.call("history", "prod", "vps1", "SOUL.md", "--all").stdout.splitlines()[1:]
    assert [it.split()[-1] for it in every] == ["first", "changed", "same"]
    failed(made, ("history", "prod", "vps1", "skills/report"), 2, "HB-PATH-NO-FILE")
    failed(made, ("history", "prod", "vps1", "skills/nothing"), 3, "HB-PATH-MISSING")


def test_diff_tells_what_was_learned_and_forgotten(made: Desk) -> None:
    said = made.call("diff", "prod", "vps1", "1", "2").stdout
    head, counts = said.splitlines()[:2]
    assert "000001-" in head
    assert "000002-" in head
    assert counts.startswith("1 added, 4 changed, 1 removed, 1 renamed")
    assert "  +I have grown.\n" in said
    assert "  -The owner likes tea.\n" in said
    assert "  +\\x1b[2Jgone\n" in said
    assert "  ~ state.db: messages +12 (212)\n" in said
    assert "  ~ .env (mode)\n" in said
    assert "  > workspace/before.bin > workspace/after.bin\n" in said
    assert said.index("memories and skills") < said.index("databases") < said.index("the rest")


def test_diff_compares_the_last_two_where_nothing_else_is_said(made: Desk) -> None:
    data = made.json("diff", "prod", "vps1")
    assert (data["from"][:6], data["to"][:6]) == ("000002", "000003")
    assert [it["new"]["name"] for it in data["changed"] if it["aspects"] == ["content"]] == ["workspace/plan"]
    assert (data["added"], data["removed"], data["databases"], data["texts"]) == ([], [], [], [])
    data = made.json("diff", "prod", "vps1", "1", "2")
    (state,) = data["databases"]
    assert state["tables"]["messages"] == {"old": 200, "new": 212}
    (skill,) = (it for it in data["texts"] if it["name"] == "skills/fetch/SKILL.md")
    assert skill["difference"][:2] == ["--- (nothing)  " + data["from"], "+++ skills/fetch/SKILL.md  " + data["to"]]
    assert made.json("diff", "prod", "vps1", "1", "2", "--no-content")["texts"] is None


def test_diff_needs_two(desk: Desk) -> None:
    for file in [*desk.remote.glob("000001*"), *desk.remote.glob("000002*")]:
        file.unlink()
    failed(desk, ("diff", "prod", "vps1"), 3, "HB-SNAPSHOT-MISSING")


def test_only_what_is_wanted_is_fetched(desk: Desk) -> None:
    for number in "123":
        spoil(desk, f"00000{number}*.tar.zst.gpg")
    for words in (("ls", "prod", "vps1"), ("find", "prod", "vps1", "*.md"), ("history", "prod", "vps1", "SOUL.md"),
                  ("diff", "prod", "vps1", "1", "2", "--no-content"), ("diff", "prod", "vps1", "2", "3")):  # fmt: skip
        done = desk.call(*words)
        assert done.returncode == 0, done.stderr
    failed(desk, ("diff", "prod", "vps1", "1", "2"), 9, "HB-DATA-DAMAGED")
    failed(desk, ("cat", "prod", "vps1", "1", "SOUL.md"), 9, "HB-DATA-DAMAGED")
    failed(desk, ("cat", "prod", "vps1", "1", "skills"), 2, "HB-PATH-NO-FILE")


def test_a_damaged_list_is_refused_and_others_are_still_told(desk: Desk) -> None:
    spoil(desk, "000002*.index.zst.gpg")
    failed(desk, ("ls", "prod", "vps1", "2"), 9, "HB-DATA-DAMAGED")
    failed(desk, ("diff", "prod", "vps1", "--no-content"), 9, "HB-DATA-DAMAGED")
    failed(desk, ("cat", "prod", "vps1", "2", "SOUL.md"), 9, "HB-DATA-DAMAGED")
    assert desk.call("ls", "prod", "vps1", "3").returncode == 0
    told = desk.json("history", "prod", "vps1", "SOUL.md", code=9)
    assert [[int(name[:6]) for name in it["snapshots"]] for it in told["versions"]] == [[1], [3]]
    assert [(it["name"], "000002-" in it["where"]) for it in told["errors"]] == [("HB-DATA-DAMAGED", True)]
    told = desk.json("find", "prod", "vps1", "SOUL.md", code=9)
    assert len(told["found"]) == 2


def test_a_manifest_by_another_hand_is_refused(desk: Desk) -> None:
    manifest = next(desk.remote.glob("000003*.manifest.asc"))
    manifest.write_bytes(manifest.read_bytes().replace(b'"files"', b'"filez"'))
    failed(desk, ("ls", "prod", "vps1", "3"), 9, "HB-SIGNATURE-BAD")
    latest = desk.call("ls", "prod", "vps1")  # what calls itself the newest is not believed, nor passed over
    assert (latest.returncode, latest.stdout, "latest: 000002-" in latest.stderr) == (9, "", True)
    assert "000002-" in desk.call("ls", "prod", "vps1", "2").stdout
    told = desk.json("history", "prod", "vps1", "SOUL.md", code=9)
    assert [it["name"] for it in told["errors"]] == ["HB-SIGNATURE-BAD"]


def test_another_place_helps_out_and_one_that_is_out_of_reach_is_named(desk: Desk) -> None:
    variables = desk.root / "inventory" / "prod" / "group_vars" / "all.yml"
    shutil.copytree(desk.root / "remote", desk.root / "second")
    spoil(desk, "000002*.index.zst.gpg")
    both = variables.read_text().replace(f"[{desk.root}/remote]", f"[{desk.root}/remote, {desk.root}/second]")
    variables.write_text(both)
    told = desk.json("history", "prod", "vps1", "SOUL.md")
    assert [len(it["snapshots"]) for it in told["versions"]] == [1, 2]
    failed(desk, ("ls", "prod", "vps1", "2"), 9, "HB-DATA-DAMAGED")
    assert desk.call("ls", "prod", "vps1", "2", "--from", f"{desk.root}/second").returncode == 0
    variables.write_text(both.replace(f"{desk.root}/second", "nowhere:hermes"))
    told = desk.json("find", "prod", "vps1", "SOUL.md", code=5)
    assert [it["where"] for it in told["errors"]][0] == "nowhere:hermes"
    assert len(told["found"]) == 2


def test_the_private_key_is_needed(desk: Desk) -> None:
    variables = desk.root / "inventory" / "prod" / "group_vars" / "all.yml"
    (desk.root / "empty").mkdir(mode=0o700)
    lines = [it for it in variables.read_text().splitlines() if "gnupghome" not in it]
    variables.write_text("\n".join([f"hermes_backup_gnupghome: {desk.root}/empty", *lines]) + "\n")
    for words in (("ls", "prod", "vps1"), ("find", "prod", "vps1", "*"), ("cat", "prod", "vps1", "1", "SOUL.md")):
        failed(desk, words, 8, "HB-KEY-SECRET-MISSING")


def test_cat_gives_the_bytes_of_one_file(made: Desk) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(made.root / "cache")}
    argv = [*PROGRAM, "cat", "prod", "vps1", "1"]
    done = subprocess.run([*argv, "workspace/before.bin"], capture_output=True, cwd=made.root, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, BINARY, b"")
    done = subprocess.run([*argv, b"workspace/\xff\xfe"], capture_output=True, cwd=made.root, env=environment)
    assert (done.returncode, done.stdout) == (0, b"2")
    for path, code, name in (("skills", 2, "NO-FILE"), ("current", 2, "NO-FILE"), ("current/run.sh", 3, "MISSING")):
        failed(made, ("cat", "prod", "vps1", "1", path), code, f"HB-PATH-{name}")


def test_cat_into_a_reader_that_has_enough_is_no_error(made: Desk) -> None:
    words = " ".join([*PROGRAM, "cat", "prod", "vps1", "1", "workspace/before.bin"])
    environment = {**os.environ, "XDG_CACHE_HOME": str(made.root / "cache")}
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {words} | true"],
        capture_output=True,
        cwd=made.root,
        env=environment,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_cat_escapes_for_a_terminal_what_is_no_text(made: Desk) -> None:
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [*PROGRAM, "cat", "prod", "vps1", "2", "skills/fetch/SKILL.md"], cwd=made.root, stdout=follower,
        stderr=subprocess.DEVNULL, env={**os.environ, "XDG_CACHE_HOME": str(made.root / "cache")},
    )  # fmt: skip
    os.close(follower)
    said = b""
    try:
        while chunk := os.read(leader, 4096):
            said += chunk
    except OSError:  # how Linux tells a terminal's end
        pass
    os.close(leader)
    assert child.wait(120) == 0
    assert said == b"# Fetch\r\n\\x1b[2Jgone\r\n"


def test_nothing_is_left_behind(made: Desk, tmp_path: Path) -> None:
    for words in (("diff", "1", "2"), ("cat", "1", "SOUL.md"), ("history", "SOUL.md")):
        done = made.call(words[0], "prod", "vps1", *words[1:], TMPDIR=str(tmp_path))
        assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_delta_is_looked_into_as_a_full_snapshot_is(tmp_path: Path, recipient: Recipient) -> None:
    desk = make_desk(tmp_path, recipient)
    home = desk.root / "home"
    (home / "workspace").mkdir()
    (home / "workspace" / "before.bin").write_bytes(BINARY)
    (home / "workspace" / "plan").write_text("first")
    desk.make_deltas()
    desk.backup()
    learn(home)
    desk.backup()
    (home / "workspace" / "plan").write_text("third")
    desk.backup()
    assert desk.deltas() == [False, True, True]

    said = desk.call("ls", "prod", "vps1", "2", "workspace").stdout
    assert ("after.bin" in said, "before.bin" in said) == (True, False)
    files = {it["name"]: it for it in desk.json("ls", "prod", "vps1", "-R")["files"]}
    assert {"skills/report/run.sh", "skills/fetch/SKILL.md", "workspace/plan"} <= files.keys()
    assert (files["notes.bin"]["size"], len(files["notes.bin"]["sha256"])) == (300_000, 64)
    found = desk.json("find", "prod", "vps1", "workspace/*")["found"]
    assert {(Path(it["name"]).name, *(int(name[:6]) for name in it["snapshots"])) for it in found} == {
        ("before.bin", 1), ("after.bin", 2, 3), ("plan", 1), ("plan", 2), ("plan", 3),
    }  # fmt: skip
    versions = desk.json("history", "prod", "vps1", "SOUL.md")["versions"]
    assert [(it["change"], len(it["snapshots"])) for it in versions] == [("first", 1), ("changed", 2)]

    data = desk.json("diff", "prod", "vps1", "--no-content")
    assert [it["new"]["name"] for it in data["changed"] if it["aspects"] == ["content"]] == ["workspace/plan"]
    assert (data["added"], data["removed"], data["databases"], data["texts"]) == ([], [], [], None)
    said = desk.call("diff", "prod", "vps1", "1", "2").stdout
    assert said.splitlines()[1].startswith("1 added, 4 changed, 1 removed, 1 renamed")
    assert "  +I have grown.\n" in said
    assert "  -The owner likes tea.\n" in said
    assert "  ~ state.db: messages +12 (212)\n" in said
    texts = [desk.call("cat", "prod", "vps1", number, "workspace/plan").stdout for number in "123"]
    assert texts == ["first", "second", "third"]
