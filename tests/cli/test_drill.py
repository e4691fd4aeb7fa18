"""``drill`` as an operator calls it: it passes on what is whole, and fails after each thing that was spoilt."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.fleet.inventory import find_inventory
from hermes_backup.snapshots.evidence import from_json
from hermes_backup.snapshots.signing import HostKey, Pinned
from tests.fleet.ground import HOSTS, LOCAL, Done, Ground, new_ground
from tests.keys import KeyMaker, Recipient, gpg
from tests.pipeline.forge import left_running
from tests.waiting import until

FOLDER = "vps1/nightly"


@pytest.fixture
def backed(ground: Ground) -> Ground:
    """A host with one snapshot in its remote, and its key pinned."""
    ground.settings(f"hermes_backup_gnupghome: {ground.recipient.gnupghome}")
    backup(ground)
    return ground


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, recipient: Recipient) -> Iterator[Ground]:
    """A home that was backed up twice, whose drill has passed."""
    root = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        made = new_ground(root, recipient, patch)
        made.settings(f"hermes_backup_gnupghome: {recipient.gnupghome}")
        backup(made)
        backup(made)
        assert drill(made)["result"] == "passed"
        yield made


@pytest.fixture
def passed(whole: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """The same for one test, which may spoil it: afterwards it is as it was."""
    monkeypatch.setenv("HOME", str(whole.root))
    before = tmp_path / "before"
    shutil.copytree(whole.root, before, symlinks=True, ignore=shutil.ignore_patterns("S.*"))
    yield whole
    shutil.rmtree(whole.root, ignore_errors=True)  # a socket may go meanwhile
    shutil.copytree(before, whole.root, symlinks=True, dirs_exist_ok=True)


STORED = "nightly: {{stages: [archive, {{encrypt: {{recipients: [{key}]}}}}, {{store: {{path: {root}/store}}}}]}}"


def pipelines(ground: Ground, *every: str) -> str:
    """The setting of these pipelines alone."""
    made = ", ".join(it.format(key=ground.recipient.fingerprint, root=ground.root) for it in every)
    return f"hermes_backup_pipelines: {{{made}}}\n"


def kept(ground: Ground) -> Path:
    """What this machine keeps of the drill."""
    return find_inventory(str(ground.inventory)).drills / "vps1" / "drill"


def backup(ground: Ground, host: str = "vps1") -> str:
    """Back up once more, and return the snapshot's name."""
    return ground.back_up(host)[host].snapshot or ""


def drill(ground: Ground, *words: str, code: int = 0) -> Any:
    """Return what the drill of the one host found."""
    done = ground.call("drill", "./prod", *words, "--json")
    assert done.code == code, done.out + done.err
    return done.data["drills"][0]


def failures(found: Any) -> list[tuple[str, str]]:
    return [(it["name"], it["what"]) for it in found["failures"]]


def file_of(ground: Ground, ending: str) -> Path:
    """The newest file of a sort in the remote."""
    return max((ground.root / "remote" / FOLDER).glob(f"*{ending}"))


def test_a_whole_backup_passes_and_leaves_evidence_that_the_trusted_machine_signed(backed: Ground) -> None:
    found = drill(backed)
    assert (found["result"], found["failures"], found["pipeline"]) == ("passed", [], "nightly")
    assert found["age"] < 600
    (tested,) = found["snapshots"]
    assert {it["verdict"] for it in tested["findings"]} == {"ok", "unproven"}
    assert 0 < found["rto"] == pytest.approx(sum(tested["phases"].values()))
    local, *remote = [Path(it.rpartition(": ")[2]) for it in found["files"]]
    lies = backed.root / "remote" / remote[0]
    assert lies.read_bytes() == local.read_bytes()
    assert lies.parent == backed.root / "remote/vps1/drill"
    (public,) = (backed.inventory / "keys/hosts").glob("_trusted.*.asc")
    with Pinned.load(public.read_text(), backed.root) as key:
        evidence = from_json(key.read(lies.read_bytes()))
    assert (evidence.result, evidence.host, evidence.newest) == ("passed", "vps1", tested["snapshot"])
    assert backed.call("list", "./prod").code == 0
    assert drill(backed)["result"] == "passed"


def test_a_delta_is_drilled_as_what_it_stands_for(backed: Ground) -> None:
    (backed.root / "home" / "notes.bin").write_bytes(random.Random(1).randbytes(300_000))
    remote = f"{backed.root}/remote"
    encrypt = {"encrypt": {"recipients": [backed.recipient.fingerprint]}}
    made = ["sqlite", {"archive": {"delta": {}}}, encrypt, {"push": {"to": [remote]}}]
    drilled = [{"fetch": {"from": remote}}, "decrypt", "extract", "check"]
    every = {"nightly": {"stages": made}, "drill": {"runs_on": "controller", "stages": drilled}}
    backed.settings(
        f"hermes_backup_pipelines: {json.dumps(every)}", f"hermes_backup_gnupghome: {backed.recipient.gnupghome}"
    )
    backup(backed)
    backup(backed)
    assert file_of(backed, ".tar.delta.zst.gpg").name.startswith("000003")
    assert drill(backed)["result"] == "passed"
    (base,) = (backed.root / "remote" / FOLDER).glob("000002-*.manifest.asc")
    base.unlink()
    assert "HB-BASE-MISSING" in {name for name, _ in failures(drill(backed, code=9))}


def test_evidence_tells_nothing_that_the_agent_knows(backed: Ground) -> None:
    (backed.root / "home" / "skills" / "plover-sonata.md").write_text("the quagga hums\n")
    (backed.root / "home" / "memories" / "MEMORY.md").unlink()
    (backed.root / "home" / "skills" / "outward-heron").symlink_to("/etc/hostname")
    backup(backed)
    found = drill(backed, code=9)
    assert ("", "memories/MEMORY.md") in failures(found)
    files = list((backed.root / "remote/vps1/drill").iterdir())
    assert files
    for file in files:
        text = file.read_text()
        assert not [it for it in ("plover", "sonata", "quagga", "heron", "tea", "very-secret") if it in text]


def test_an_inventory_of_the_same_name_was_not_drilled(backed: Ground) -> None:
    drill(backed)
    other = backed.root / "elsewhere" / "prod"
    shutil.copytree(backed.inventory, other)
    assert backed.call("status", "./prod", "--json").data["hosts"][0]["drill"]["result"] == "done"
    assert backed.call("status", str(other), "--json").data["hosts"][0]["drill"]["result"] == "never"


def test_status_tells_the_last_drill(backed: Ground) -> None:
    assert "HB-DRILL-DUE" in concerns(backed.call("status", "./prod", "--json"))
    drill(backed)
    after = backed.call("status", "./prod", "--json")
    (host,) = after.data["hosts"]
    assert (host["drill"]["result"], host["drill"]["age"] < 600) == ("done", True)
    assert host["drill"]["due"] > datetime.now(timezone.utc).isoformat()
    assert not [it for it in concerns(after) if "DRILL" in it]
    assert "1 drill: 1 passed, the next is due in 99 d (vps1)" in backed.call("status", "./prod").out
    path = kept(backed) / "status.json"
    status = json.loads(path.read_text())
    status["finished"] = (datetime.now(timezone.utc) - timedelta(days=101)).isoformat()
    path.write_text(json.dumps(status))
    late = backed.call("status", "./prod", "--json")
    assert late.code == 10
    assert "HB-DRILL-OVERDUE" in concerns(late)


def concerns(done: Done) -> list[str]:
    return [it["name"] for it in done.data["concerns"]]


def flip(ground: Ground) -> None:
    file = file_of(ground, ".tar.zst.gpg")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def truncate(ground: Ground) -> None:
    os.truncate(file_of(ground, ".tar.zst.gpg"), 100)


def edit(ground: Ground) -> None:
    file = file_of(ground, ".manifest.asc")
    text = file.read_text()
    assert '"files": ' in text
    file.write_text(text.replace('"files": ', '"files": 1'))


def lose_manifest(ground: Ground) -> None:
    file_of(ground, ".manifest.asc").unlink()


def lose_data(ground: Ground) -> None:
    file_of(ground, ".tar.zst.gpg").unlink()


def older_as_newest(ground: Ground) -> None:
    """An older archive, index and manifest, under the names of the newest."""
    folder = ground.root / "remote" / FOLDER
    first, last = (it.name.removesuffix(".manifest.asc") for it in sorted(folder.glob("*.manifest.asc")))
    for suffix in (".tar.zst.gpg", ".index.zst.gpg", ".manifest.asc"):
        shutil.copy(folder / f"{first}{suffix}", folder / f"{last}{suffix}")


def older_data_as_newest(ground: Ground) -> None:
    folder = ground.root / "remote" / FOLDER
    first, last = sorted(folder.glob("*.tar.zst.gpg"))
    shutil.copy(first, last)


def another_signature(ground: Ground) -> None:
    """The same words, signed by somebody who can write into the remote."""
    file = file_of(ground, ".manifest.asc")
    text = file.read_text()
    plain = text.partition("\n\n")[2].partition("-----BEGIN PGP SIGNATURE")[0]
    with HostKey.ensure(ground.root / "thief", "vps1") as key:
        file.write_bytes(key.sign(plain))


def no_key(ground: Ground) -> None:
    (ground.root / "empty").mkdir(mode=0o700)
    ground.settings(f"hermes_backup_gnupghome: {ground.root}/empty")


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (flip, "HB-DATA-DAMAGED"), (truncate, "HB-DATA-DAMAGED"), (edit, "HB-SIGNATURE-BAD"),
        (lose_manifest, "HB-ROLLBACK"), (lose_data, "HB-DATA-DAMAGED"), (older_as_newest, "HB-MANIFEST-BAD"),
        (older_data_as_newest, "HB-DATA-DAMAGED"), (another_signature, "HB-SIGNATURE-BAD"),
        (no_key, "HB-KEY-SECRET-MISSING"),
    ],
)  # fmt: skip
def test_what_has_passed_fails_for_its_reason(spoil: Callable[[Ground], None], name: str, passed: Ground) -> None:
    spoil(passed)
    found = drill(passed, code=9)
    assert name in [it[0] for it in failures(found)], found["failures"]
    assert found["result"] == "failed"
    status = json.loads((kept(passed) / "status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("failed", 9)


@pytest.mark.parametrize(("spoil", "name"), [(flip, "HB-DATA-DAMAGED"), (lose_manifest, "HB-ROLLBACK")])
def test_a_failure_is_shown_by_its_name(spoil: Callable[[Ground], None], name: str, passed: Ground) -> None:
    spoil(passed)
    shown = passed.call("drill", "./prod", COLUMNS="140")
    assert shown.code == 9
    assert name in shown.out


def resigned(ground: Ground, text: Callable[[str], str], data: Callable[[Path], None] | None = None) -> None:
    """The host itself was taken over: it signs what is not so, with its own key."""
    del data
    file = file_of(ground, ".manifest.asc")
    plain = file.read_text().partition("\n\n")[2].partition("-----BEGIN PGP SIGNATURE")[0]
    with HostKey.load(ground.root / "state/vps1/gnupg") as key:
        file.write_bytes(key.sign(text(plain)))


def test_rows_that_are_gone_under_a_true_signature(backed: Ground) -> None:
    resigned(backed, lambda it: it.replace('"messages": 200', '"messages": 201'))
    found = drill(backed, code=9)
    assert [it[1] for it in failures(found)] == ["state.db"]
    assert found["failures"][0]["evidence"] == "messages 200 rows, not 201"


def test_another_manifest_under_a_name_that_was_seen(passed: Ground) -> None:
    resigned(passed, lambda it: it.replace('"files": ', '"files":  ').replace('"files":  ', '"files": ')
             .replace('"engine": "', '"engine": "x'))  # fmt: skip
    found = drill(passed, code=9)
    assert failures(found) == [("HB-ROLLBACK", "rollback")]
    assert "has another manifest than" in found["failures"][0]["evidence"]


def test_a_remote_that_is_taken_back(passed: Ground) -> None:
    for it in (passed.root / "remote" / FOLDER).glob("000002-*"):
        it.unlink()
    found = drill(passed, code=9)
    assert failures(found) == [("HB-ROLLBACK", "rollback")]
    assert found["snapshots"][0]["snapshot"].startswith("000001-")
    assert passed.call("drill", "./prod", "--accept-rollback").code == 2
    accepted = drill(passed, "--accept-rollback", "--limit", "vps1")
    assert (accepted["result"], accepted["failures"]) == ("passed", [])
    assert drill(passed)["result"] == "passed"


def test_what_is_old_is_stale_and_what_is_not_there_too(backed: Ground) -> None:
    backed.settings(f"hermes_backup_gnupghome: {backed.recipient.gnupghome}", "hermes_backup_max_age: 0s",
                    "hermes_backup_pipelines: {nightly: {stages: [archive, {encrypt: {recipients: "
                    f"[{backed.recipient.fingerprint}]}}}}, {{push: {{to: [{backed.root}/remote]}}}}]}}, "
                    "drill: {runs_on: controller, stages: [{fetch: "
                    f"{{from: {backed.root}/remote}}}}, decrypt, extract, check]}}}}")  # fmt: skip
    found = drill(backed, code=10)
    assert (found["result"], found["failures"]) == ("stale", [])
    shutil.rmtree(backed.root / "remote")
    (kept(backed) / "seen.json").unlink()
    found = drill(backed, code=10)
    assert (found["result"], found["newest"], found["snapshots"]) == ("stale", None, [])


def test_hosts_that_fail_do_not_stop_the_others(backed: Ground) -> None:
    backed.write("hosts.yml", HOSTS + "".join(f"    vps{it}: {{{LOCAL}}}\n" for it in (2, 3)))
    for host in ("vps2", "vps3"):
        backup(backed, host)
    (backed.inventory / "keys/hosts/vps2.asc").unlink()
    done = backed.call("drill", "./prod", "--json")
    assert done.code == 9
    assert [(it["host"], it["result"]) for it in done.data["drills"]] == [
        ("vps1", "passed"), ("vps2", "failed"), ("vps3", "passed"),
    ]  # fmt: skip
    assert failures(done.data["drills"][1]) == [("HB-HOST-KEY-MISSING", "look")]
    assert backed.call("drill", "./prod", "--limit", "vps1,vps3", "--forks", "1").code == 0


def test_one_snapshot_from_one_place(backed: Ground) -> None:
    backup(backed)
    found = drill(backed, "--snapshot", "1", "--from", f"{backed.root}/store")
    assert [it["snapshot"][:7] for it in found["snapshots"]] == ["000001-"]
    assert found["place"] == f"{backed.root}/store"
    page = next(Path(it) for it in found["files"] if it.endswith(".html")).read_text()
    assert "the newest was not brought back" in page
    evidence = set((backed.root / "remote/vps1/drill").iterdir())
    for words in (("--snapshot", "9"), ("--from", "/nowhere")):
        slip = drill(backed, *words, code=9)
        assert (slip["result"], slip["error"]["name"]) == ("failed", "HB-SNAPSHOT-MISSING")
    assert set((backed.root / "remote/vps1/drill").iterdir()) == evidence
    drill(backed, "--from", f"{backed.root}/store")
    assert json.loads((kept(backed) / "seen.json").read_text())["turn"] == 0
    told = backed.call("status", "./prod", "--json").data["hosts"][0]["drill"]
    assert told["result"] == "never", "what was asked for stands for the declared drill"


def test_a_host_without_a_drill_is_named_and_stops_no_other(backed: Ground) -> None:
    backed.write("hosts.yml", HOSTS + f"    vps2: {{{LOCAL}}}\n")
    backed.write("host_vars/vps2.yml", pipelines(backed, STORED))
    done = backed.call("drill", "./prod", "--json")
    assert (done.code, [it["result"] for it in done.data["drills"]], done.data["undrilled"]) == (
        0,
        ["passed"],
        ["vps2"],
    )
    assert "vps2: declares no drill" in backed.call("drill", "./prod").out


def test_where_no_host_has_a_drill_is_no_success(ground: Ground) -> None:
    ground.settings(pipelines(ground, STORED))
    done = ground.call("drill", "./prod")
    assert done.code == 3
    assert "[HB-PIPELINE-MISSING]" in done.err


def test_the_worst_of_several_drills_is_told(backed: Ground) -> None:
    drills = [
        f"{name}: {{{{runs_on: controller, stages: [{{{{fetch: {{{{from: {{root}}/{name}, pipeline: nightly}}}}}}}}, "
        "decrypt, extract, check]}}"
        for name in ("remote", "lost")
    ]
    backed.write("host_vars/vps1.yml", pipelines(backed, STORED, *drills))
    done = backed.call("drill", "./prod", "--json")
    assert [(it["drill"], it["result"]) for it in done.data["drills"]] == [("remote", "passed"), ("lost", "stale")]
    told = backed.call("status", "./prod", "--json").data["hosts"][0]["drill"]
    assert (told["pipeline"], told["result"]) == ("lost", "failed")


def test_a_drill_that_would_bring_back_less_is_refused(ground: Ground) -> None:
    ground.settings("hermes_backup_pipelines: {drill: {runs_on: controller, stages: [{fetch: {from: /x}}, decrypt, "
                    "{extract: {only: [SOUL.md]}}, check]}}")  # fmt: skip
    ((where, name, what),) = ground.faults()
    assert (name, where.partition(":")[0]) == ("HB-CONFIG-INVALID", "group_vars/all.yml")
    assert what.endswith("a drill brings everything back")


def test_a_drill_of_a_pipeline_that_there_is_not(ground: Ground) -> None:
    ground.settings("hermes_backup_pipelines: {nightly: {stages: [archive, {encrypt: {recipients: "
                    f"[{ground.recipient.fingerprint}]}}}}, {{store: {{path: {ground.root}/store}}}}]}}, drill: "
                    "{runs_on: controller, stages: [{fetch: {from: /x, pipeline: nihgtly}}, decrypt, extract, "
                    "check]}}")  # fmt: skip
    ((where, name, what),) = ground.faults()
    assert (name, where.partition(":")[0]) == ("HB-CONFIG-INVALID", "group_vars/all.yml")
    assert what.endswith("no pipeline 'nihgtly' makes snapshots")


def test_interrupted_it_leaves_nothing(backed: Ground, tmp_path: Path) -> None:
    """Stopped while a command of the user's runs: the scratch folder goes, and the status says so."""
    (tmp_path / "tmp").mkdir()
    text = (backed.inventory / "group_vars/all.yml").read_text()
    backed.write("group_vars/all.yml", text + "hermes_backup_pipelines: {nightly: {stages: [archive, {encrypt: "
                 f"{{recipients: [{backed.recipient.fingerprint}]}}}}, {{push: {{to: [{backed.root}/remote]}}}}]}}, "
                 f"drill: {{runs_on: controller, stages: [{{fetch: {{from: {backed.root}/remote}}}}, decrypt, extract, "
                 "{check: {commands: [[sleep, '61.5']]}}]}}")  # fmt: skip
    child = backed.start("drill", "./prod", TMPDIR=str(tmp_path / "tmp"))
    until(lambda: [it for it in left_running(Path("61.5")) if it == "sleep 61.5"])
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 130
    status = json.loads((kept(backed) / "status.json").read_text())
    assert status["state"] == "interrupted"
    assert list((tmp_path / "tmp").glob("hb-*")) == []
    assert left_running(Path("61.5")) == []


def test_a_locked_key_is_unlocked_by_a_credential(ground: Ground, key_maker: KeyMaker) -> None:
    """An agent without a terminal, as under systemd; it forgets what it learned when it is ended."""
    locked = key_maker.home()
    gpg(locked, "--passphrase", "open sesame", "--quick-generate-key", "l <l@example.org>", "future-default", "default",
        "never")  # fmt: skip
    key = key_maker.recipient(locked)
    (locked / "gpg-agent.conf").write_text("pinentry-program /bin/false\n")
    ground.write("keys/operator.asc", key.public)
    made = Ground(ground.root, key)
    made.settings(f"hermes_backup_gnupghome: {locked}")
    backup(made)
    folder = ground.root / "credentials"
    folder.mkdir()
    for words, code in ((None, 9), ("open barley", 9), ("open sesame", 0)):
        subprocess.run(["gpgconf", "--homedir", str(locked), "--kill", "all"], check=True)
        if words is not None:
            (folder / "gpg-passphrase").write_text(f"{words}\n")
        done = made.call("drill", "./prod", "--json", CREDENTIALS_DIRECTORY=str(folder))
        assert done.code == code, (words, done.out)
        assert not code or failures(done.data["drills"][0])[0][0] == "HB-KEY-PASSPHRASE"
        assert "sesame" not in done.out + done.err
