"""A snapshot as a read-only folder: for root by a mount, for others without write bits, and gone at every end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_inside import make_desk
from tests.cli.test_snapshots import Desk
from tests.keys import Recipient
from tests.site import PROGRAM
from tests.waiting import until

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root mounts")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, recipient: Recipient) -> Desk:
    desk = make_desk(tmp_path_factory.mktemp("mount"), recipient)
    (desk.root / "home" / "skills" / "report" / "odd").mkdir(mode=0o500)
    desk.backup()
    return desk


def begin(desk: Desk, target: Path, *before: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start a mount, and wait until it says that it is there."""
    child = subprocess.Popen(
        [*before, *PROGRAM, "mount", "prod", "vps1", str(target), "--json"], cwd=desk.root, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **folders(desk, target), **environment},
    )  # fmt: skip
    assert child.stdout is not None
    said = b""
    while not said.endswith(b"}\n"):
        line = child.stdout.readline()
        assert line, child.communicate()[1].decode()
        said += line
    assert json.loads(said)["at"] == str(target)
    return child


def folders(desk: Desk, target: Path) -> dict[str, str]:
    """Where the program keeps what it needs, for each of these tests by itself."""
    made = {"XDG_CACHE_HOME": desk.root / "cache", "XDG_STATE_HOME": state(target), "TMPDIR": temporary(target)}
    return {name: str(it) for name, it in made.items()}


def temporary(target: Path) -> Path:
    return common(target.parent / "tmp")


def state(target: Path) -> Path:
    return common(target.parent / "state")


def records(target: Path) -> list[Path]:
    """What is written down of mounts."""
    return list(state(target).glob("hermes-backup/mounts/*"))


def common(folder: Path) -> Path:
    folder.mkdir(exist_ok=True, mode=0o1777)
    folder.chmod(0o1777)
    return folder


def ended(child: subprocess.Popen[bytes], number: int, code: int = 0) -> None:
    child.send_signal(number)
    _, said = child.communicate(timeout=120)
    assert (child.returncode, said) == (code, b"")


def left(target: Path) -> list[str]:
    """What is left in the folders that a mount uses, and mounted."""
    beside = [it for it in target.parent.iterdir() if it.name not in ("tmp", "state")]
    found = [str(it) for it in (*beside, *temporary(target).iterdir(), *records(target))]
    mounts = Path("/proc/self/mountinfo").read_text()
    return found + [line for line in mounts.splitlines() if str(target.parent) in line]


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "view"
    yield folder / "snapshot"
    subprocess.run(["umount", "--lazy", str(folder / "snapshot")], capture_output=True, check=False)


@pytest.fixture(autouse=True)
def parent(target: Path) -> None:
    target.parent.mkdir()


@as_root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_root_sees_a_read_only_mount_until_a_signal(desk: Desk, target: Path, number: int) -> None:
    child = begin(desk, target)
    assert (target / "SOUL.md").read_text() == "I am the test.\n"
    assert (target / "current").readlink() == Path("skills/report")
    with pytest.raises(OSError, match="Read-only"):
        (target / "new").write_text("x")
    (line,) = (it for it in Path("/proc/self/mountinfo").read_text().splitlines() if f" {target} " in it)
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(line.split()[5].split(","))
    assert (target.stat().st_uid, target.stat().st_mode & 0o777) == (0, 0o700)
    ended(child, number)
    assert left(target) == []


@as_root
def test_a_delta_is_shown_as_a_full_snapshot_is(target: Path, tmp_path: Path, recipient: Recipient) -> None:
    changing = make_desk(tmp_path / "changing", recipient)
    changing.make_deltas()
    changing.backup()
    (changing.root / "home" / "SOUL.md").write_text("I have grown.\n")
    changing.backup()
    assert changing.deltas() == [False, True]
    child = begin(changing, target)
    assert (target / "SOUL.md").read_text() == "I have grown.\n"
    assert (target / "notes.bin").read_bytes() == (changing.root / "home" / "notes.bin").read_bytes()
    assert (target / "current").readlink() == Path("skills/report")
    with pytest.raises(OSError, match="Read-only"):
        (target / "new").write_text("x")
    ended(child, signal.SIGINT)
    assert left(target) == []


@as_root
def test_an_empty_folder_is_there_again(desk: Desk, target: Path) -> None:
    target.mkdir(mode=0o750)
    ended(begin(desk, target), signal.SIGTERM)
    assert (target.stat().st_mode & 0o777, list(target.iterdir())) == (0o750, [])


@as_root
def test_somebody_who_stands_in_it_does_not_keep_it(desk: Desk, target: Path) -> None:
    child = begin(desk, target)
    inside = subprocess.Popen(["sleep", "60"], cwd=target / "skills")
    ended(child, signal.SIGINT)
    inside.kill()
    inside.wait()
    assert left(target) == []


@as_root
def test_the_next_mount_ends_a_killed_one(desk: Desk, target: Path) -> None:
    child = begin(desk, target)
    child.kill()
    child.communicate()
    assert (target / "SOUL.md").exists()
    other = target.with_name("other")
    ended(begin(desk, other), signal.SIGINT)
    assert left(target) == []


@as_root
def test_a_killed_one_is_found_again_from_another_folder_for_temporaries(desk: Desk, target: Path) -> None:
    child = begin(desk, target)
    assert {it.parent.stat().st_mode & 0o777 for it in records(target)} == {0o700}
    child.kill()
    child.communicate()
    other = common(target.parent / "tmp" / "other")
    ended(begin(desk, target.with_name("other"), TMPDIR=str(other)), signal.SIGINT)
    assert not target.exists()
    assert records(target) == []
    assert [it.name for it in target.parent.iterdir() if it.name.startswith(".hermes")] == []


@as_root
def test_the_next_mount_leaves_a_live_one_alone(desk: Desk, target: Path) -> None:
    child = begin(desk, target)
    ended(begin(desk, target.with_name("other")), signal.SIGINT)
    assert (target / "SOUL.md").exists()
    ended(child, signal.SIGINT)
    assert left(target) == []


@as_root
def test_what_lies_there_after_a_killed_one_is_left_alone(desk: Desk, target: Path) -> None:
    child = begin(desk, target)
    child.kill()
    child.communicate()
    subprocess.run(["umount", str(target)], check=True)
    (target / "mine").write_text("precious")
    ended(begin(desk, target.with_name("other")), signal.SIGINT)
    assert (target / "mine").read_text() == "precious"


def test_a_folder_that_holds_something_is_refused(desk: Desk, target: Path) -> None:
    target.mkdir()
    (target / "mine").write_text("precious")
    done = desk.call("mount", "prod", "vps1", "latest", str(target), **folders(desk, target))
    assert (done.returncode, "HB-TARGET-NOT-EMPTY" in done.stderr) == (2, True), done.stderr
    assert [it.name for it in target.iterdir()] == ["mine"]
    missing = desk.call("mount", "prod", "vps1", "9", str(target.with_name("x")), **folders(desk, target))
    assert missing.returncode == 3
    assert desk.call("mount", "prod", "vps1", "1", "2", "3").returncode == 2
    assert desk.call("mount", "prod", "vps1").returncode == 2


def test_a_damaged_snapshot_is_not_shown(desk: Desk, target: Path) -> None:
    shutil.copytree(desk.root / "inventory", target.parent / "inventory")
    shutil.copytree(desk.root / "remote", target.parent / "remote")
    variables = target.parent / "inventory" / "prod" / "group_vars" / "all.yml"
    variables.write_text(variables.read_text().replace(f"{desk.root}/remote", f"{target.parent}/remote"))
    spoilt = Desk(target.parent)
    (data,) = spoilt.remote.glob("*.tar.zst.gpg")
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    done = spoilt.call("mount", "prod", "vps1", str(target), **folders(spoilt, target))
    assert (done.returncode, "HB-DATA-DAMAGED" in done.stderr) == (9, True), done.stderr
    assert not target.exists()


@pytest.fixture
def others(desk: Desk, tmp_path: Path) -> Iterator[Desk]:
    """The same desk as somebody who is not root has it, in a folder that all may enter."""
    root = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    root.chmod(0o755)
    for name in ("inventory", "remote"):
        shutil.copytree(desk.root / name, root / name)
    variables = root / "inventory" / "prod" / "group_vars" / "all.yml"
    lines = variables.read_text().replace(str(desk.root), str(root)).splitlines()
    (gnupghome,) = (it.partition(": ")[2] for it in lines if "gnupghome" in it)
    shutil.copytree(gnupghome, root / "keys", ignore=shutil.ignore_patterns("S.*", "*.lock", ".#*"))
    variables.write_text("\n".join(lines).replace(gnupghome, f"{root}/keys") + "\n")
    (root / "view").mkdir()
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(root)], check=True)
    yield Desk(root)
    subprocess.run(["gpgconf", "--homedir", str(root / "keys"), "--kill", "all"], check=False, capture_output=True)
    subprocess.run(["chmod", "-R", "u+rwX", str(root)], check=True)
    shutil.rmtree(root)


def as_nobody(desk: Desk, target: Path) -> subprocess.Popen[bytes]:
    # the interpreter may lie where only root may read; that is all that this capability is for
    reading = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    words = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *reading)
    words = ("env", "--unset=COVERAGE_PROCESS_CONFIG", *words)  # which cannot be written as nobody
    environment = {"HOME": str(desk.root), "XDG_CACHE_HOME": str(desk.root / "cache")}
    return begin(desk, target, *words, **environment)


@as_root
def test_others_see_the_tree_without_write_bits(others: Desk) -> None:
    target = others.root / "view" / "snapshot"
    child = as_nobody(others, target)
    assert (target / "SOUL.md").read_text() == "I am the test.\n"
    modes = [it.lstat().st_mode for it in (target, *target.rglob("*")) if not it.is_symlink()]
    assert [oct(it) for it in modes if it & 0o222] == []
    assert len(modes) > 5
    assert str(target) not in Path("/proc/self/mountinfo").read_text()
    ended(child, signal.SIGTERM)
    assert left(target) == []


@as_root
def test_others_killed_are_cleaned_up_after_too(others: Desk) -> None:
    target = others.root / "view" / "snapshot"
    child = as_nobody(others, target)
    child.kill()
    child.communicate()
    assert (target / "SOUL.md").exists()
    ended(as_nobody(others, target), signal.SIGINT)
    assert left(target) == []


def test_one_that_was_killed_while_it_unpacked_leaves_nothing_plain(
    desk: Desk, target: Path, tmp_path: Path, recipient: Recipient
) -> None:
    """The next one looks there, wherever it shows its own."""
    large = make_desk(tmp_path / "large", recipient)
    (large.root / "home" / "zeros").write_bytes(bytes(1 << 28))  # quickly sent, and long to be unpacked
    large.backup()
    child = subprocess.Popen(
        [*PROGRAM, "mount", "prod", "vps1", str(target)], cwd=large.root, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **folders(large, target)},
    )  # fmt: skip
    until(lambda: list(target.parent.glob(".hermes-restore-*/tree/SOUL.md")))
    child.kill()
    child.wait(120)
    assert list(target.parent.glob(".hermes-restore-*/tree/SOUL.md"))
    assert not target.exists(), "it was done before it was killed"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ended(begin(desk, elsewhere / "snapshot", **folders(desk, target)), signal.SIGINT)
    assert left(target) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_it_is_shown_is_an_interruption(desk: Desk, target: Path, number: int) -> None:
    child = subprocess.Popen(
        [*PROGRAM, "mount", "prod", "vps1", str(target)], cwd=desk.root, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **folders(desk, target)},
    )  # fmt: skip
    until(lambda: bool(records(target)))
    child.send_signal(number)
    assert child.wait(120) in {130, 0}  # 0: it was there already
    assert left(target) == []


@pytest.mark.parametrize("block", ["_recorded", "private_folder", "_private", "opened", "unpacked"])
def test_a_signal_when_a_block_is_half_entered_leaves_nothing(desk: Desk, target: Path, block: str) -> None:
    argv = [sys.executable, "-m", "tests.cli.half_entered", block, "mount", "prod", "vps1", str(target)]
    here = str(Path(__file__).parents[2])
    done = subprocess.run(
        argv, cwd=desk.root, env={**os.environ, **folders(desk, target), "PYTHONPATH": here}, capture_output=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, b"stopped by a signal" in done.stderr) == (130, True), done.stderr.decode()
    assert left(target) == []
