"""Copies of databases are checked while an archive is made of them; one that is no good decides before the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.home.databases import filling, lean
from hermes_backup.pipeline.agent import Options
from hermes_backup.pipeline.status import Status
from hermes_backup.snapshots.folder import FolderSink
from hermes_backup.stages import archive, copies
from tests.home.full_text import CARRYING, hits, make
from tests.home.making import count, make_database
from tests.pipeline.ground import Ground, ground
from tests.waiting import until

__all__ = ["ground"]
STAGES: dict[str, Callable[[Ground], list[Any]]] = {
    "full": lambda ground: ground.site.usual(),
    "delta": lambda ground: ground.site.usual(archive={"delta": {}}),
    "pushed": lambda ground: ground.site.usual({"push": {"to": [str(ground.site.remote)]}}),
}


@pytest.fixture
def spoilt(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """Lean copies lack a row: only their check can tell."""
    (ground.site.home / "state.db").unlink()
    make(ground.site.home / "state.db", CARRYING)
    honest = filling._insertion
    monkeypatch.setattr(filling, "_insertion", lambda *given: f"{honest(*given)} WHERE id <> 2")
    return ground


def check_whole(ground: Ground, status: Status) -> None:
    assert (status.state, status.exit_code) == ("done", 0), status
    (told,) = ground.manifest().databases
    assert (told.left_out, told.path) == ((), "state.db")
    log = (ground.site.folder / "events.jsonl").read_text()
    assert "state.db is copied whole: table messages did not come over as it is" in log


@pytest.mark.parametrize("how", STAGES)
def test_a_lean_copy_that_is_none_is_replaced_in_the_archive(spoilt: Ground, how: str) -> None:
    site = spoilt.site
    check_whole(spoilt, site.run(STAGES[how](spoilt)))
    spoilt.check_clean()
    assert len(list(site.store.rglob("*.manifest.asc"))) == 1
    copied = spoilt.opened() / "state.db"
    assert count(copied, "messages") == count(site.home / "state.db", "messages")
    assert hits(copied, "lighthouse") == hits(site.home / "state.db", "lighthouse")
    check_whole(spoilt, site.run(STAGES[how](spoilt)))


def test_it_is_the_same_home_all_the_same(spoilt: Ground) -> None:
    site = spoilt.site
    site.run()
    status = site.run(options=Options(run_id="again", if_changed=True))
    assert (status.state, status.exit_code) == ("unchanged", 0), status
    assert len(list(site.store.rglob("*.manifest.asc"))) == 1


def test_the_copies_go_while_the_snapshot_is_finished(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = FolderSink.commit
    committed: list[bool] = []

    def commit(sink: FolderSink, *, replace: bool = False) -> str:
        until(lambda: not list(ground.site.folder.glob("run-*/home")), 30)
        committed.append(replace)
        return honest(sink, replace=replace)

    monkeypatch.setattr(FolderSink, "commit", commit)
    status = ground.site.run()
    assert (status.state, status.exit_code) == ("done", 0), status
    assert committed == [False, True, False, False], "data, RESTORE.txt, index, manifest"
    assert (ground.opened() / "state.db").read_bytes().startswith(b"SQLite format 3")


@pytest.mark.parametrize("form", ["tar", "squashfs"])
def test_a_damaged_database_is_found_after_its_archive_was_made(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Its check begins when the first archive is made; the second holds the file as it lies."""
    site = ground.site
    path = make_database(site.home / "kanban.db", 500)
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\x55" * 4096)
    made: list[bool] = []
    passed = threading.Event()
    honest, facts = archive.make, lean.facts

    def making(*given: Any, **named: Any) -> Iterator[bytes]:
        yield from honest(*given, **named)
        made.append(True)
        passed.set()

    def late(target: Path, **named: Any) -> Any:
        if target.name == "kanban.db":
            assert passed.wait(60)
        return facts(target, **named)

    monkeypatch.setattr(archive, "make", making)
    monkeypatch.setattr(lean, "facts", late)
    status = site.run(site.usual(archive={"format": form}))
    assert (status.state, status.exit_code) == ("partial", 4)
    assert [(it.path, "damaged" in it.reason) for it in status.partial] == [("kanban.db", True)]
    assert len(made) == 2
    ground.check_clean()
    assert [it.path for it in ground.manifest().databases] == ["state.db"]
    if form == "tar":
        assert (ground.opened() / "kanban.db").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("beside", "order"), [(1, ["facts", "tar"]), (1 << 40, ["tar", "facts"])])
def test_what_is_too_large_to_be_checked_beside_the_stream_is_checked_before(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, beside: int, order: list[str]
) -> None:
    """Beside it the check begins when the archive has, so that their order is told."""
    seen: list[str] = []
    began = threading.Event()
    honest, facts = archive.make, lean.facts

    def making(*given: Any, **named: Any) -> Iterator[bytes]:
        seen.append("tar")
        began.set()
        yield from honest(*given, **named)

    def checked(*given: Any, **named: Any) -> Any:
        if order[0] == "tar":
            assert began.wait(60)
        seen.append("facts")
        return facts(*given, **named)

    monkeypatch.setattr(copies, "_BESIDE", beside)
    monkeypatch.setattr(archive, "make", making)
    monkeypatch.setattr(lean, "facts", checked)
    assert ground.site.run().state == "done"
    assert seen == order


def test_a_run_that_fails_meanwhile_does_not_wait_for_a_check(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that would go on for ever ends with the run, which was to be told that its store is no folder."""
    site = ground.site
    site.store.write_text("a file where the store should be")

    def endless(target: Path, *, look: Callable[[], None], **named: Any) -> Any:
        del target, named
        while True:
            look()

    monkeypatch.setattr(lean, "facts", endless)
    status = site.run()
    assert (status.state, status.exit_code) == ("failed", 5), status
    assert not any(it.name.startswith("check") for it in threading.enumerate())
    site.store.unlink()
    monkeypatch.undo()
    ground.check_next()
