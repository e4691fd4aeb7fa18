"""Search indexes that are left out of a backup: a restore makes them again, and they answer as at home."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.home.against import against
from hermes_backup.home.comparing import compare
from hermes_backup.home.databases.copying import discard
from hermes_backup.home.selection import Rules
from hermes_backup.pipeline.agent import Options
from hermes_backup.pipeline.handover import Handover, Wanted, read_head, write_head
from hermes_backup.pipeline.restoring import Restored
from hermes_backup.pipeline.status import Status
from hermes_backup.snapshots.differences import compare_databases
from hermes_backup.snapshots.index import to_lines
from hermes_backup.snapshots.manifest import Database
from hermes_backup.snapshots.names import RESTORE_TEXT
from hermes_backup.snapshots.remaking import to_lines as remakings_to_lines
from hermes_backup.stages.check import Check
from hermes_backup.stages.checks.databases import contents, databases
from hermes_backup.stages.checks.patience import patience
from hermes_backup.stages.checks.remaking import remade
from hermes_backup.stages.remaking import remakings
from hermes_backup.stages.things import Finding, Tree
from tests.home.full_text import CARRYING, SCRIPTS, change, hits, make, tables_of
from tests.home.lean_copies import copy_lean
from tests.pipeline.checking import checked
from tests.pipeline.forge import FOLDER, Forge, bring_back, entry, members_of, refused, tar_of
from tests.pipeline.handing import sent
from tests.pipeline.test_restore_text import Meet, meet, name_of
from tests.site import Site

__all__ = ["meet"]

TERM = "lighthouse"
UNMADE = "CREATE VIRTUAL TABLE fts USING fts5(content, tokenize='nosuch')"


def stages(site: Site, how: str = "", archive: Any = None) -> list[Any]:
    """The stages of a usual backup that does so with search indexes; by default it says nothing of them."""
    _, *more = site.usual(archive=archive)
    return [{"sqlite": {"search_indexes": how} if how else None}, *more]


@pytest.fixture
def lean(site: Site) -> Site:
    """A site whose database has a search index, backed up without it."""
    (site.home / "state.db").unlink()
    make(site.home / "state.db", CARRYING)
    run(site)
    return site


def run(site: Site, *what: Any) -> Status:
    status = site.run(stages(site, *what))
    assert (status.state, status.exit_code) == ("done", 0), status
    return status


def back(site: Site, name: str = "back", **how: Any) -> Restored:
    return bring_back(site, target=site.root / name, **how)


def tables(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {it for (it,) in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'trigger')")}


def found(path: Path) -> list[int]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [it for (it,) in connection.execute("SELECT rowid FROM fts WHERE fts MATCH ? ORDER BY rowid", (TERM,))]


def quiet(done: int, total: int) -> None:
    """Hear nothing."""


def tree_of(site: Site, name: str) -> Tree:
    """What was restored without its indexes, as a check sees it."""
    return back(site, name, leave_indexes=True).report.tree


def placed(site: Site, name: str) -> Tree:
    return replace(tree_of(site, name), root=site.root / name)


def test_a_restore_makes_them_again(lean: Site) -> None:
    done = back(lean)
    home, restored = lean.home / "state.db", lean.root / "back" / "state.db"
    assert tables(restored) == tables(home)
    assert found(restored) == found(home) != []
    (told,) = [it for it in done.report.findings if it.what == "state.db: search indexes"]
    assert (told.verdict, "searches find what they found" in told.evidence) == ("ok", True)
    assert restored.stat().st_mtime == home.stat().st_mtime
    with contextlib.closing(sqlite3.connect(restored)) as connection:
        connection.execute("INSERT INTO messages (id, role, content) VALUES (77, 'user', 'another lighthouse')")
        connection.commit()
    assert found(restored) == [*found(home), 77]


def test_a_restore_makes_them_again_in_any_database(site: Site) -> None:
    names = ("other.db", "memories/more.db")
    for name in names:
        make(site.home / name, CARRYING)
    run(site)
    done = back(site)
    assert {it.path: it.left_out for it in done.manifest.databases} == {
        "state.db": (),
        **dict.fromkeys(names, ("fts",)),
    }
    for name in names:
        home, restored = site.home / name, site.root / "back" / name
        assert tables(restored) == tables(home)
        assert found(restored) == found(home) == [1, 2]
    told = {it.what: it.verdict for it in done.report.findings if "search indexes" in it.what}
    assert told == {f"{name}: search indexes": "ok" for name in names}


def test_it_is_told_how_far_it_is(lean: Site) -> None:
    tree = placed(lean, "tree")
    size = (tree.root / "state.db").stat().st_size
    heard: list[tuple[int, int]] = []
    assert [it.ok for it in remade(tree, full=False, told=lambda *it: heard.append(it))] == [True]
    assert heard[-1] == (size, size)


def test_hermes_may_be_left_to_make_them(lean: Site) -> None:
    back(lean, leave_indexes=True)
    left = tables(lean.home / "state.db") - tables(lean.root / "back" / "state.db")
    assert {"fts", "fts_data", "fts_content", "fts_insert", "fts_delete", "fts_update"} <= left


def test_the_snapshot_says_what_it_lacks_and_not_how_it_was_searched(lean: Site) -> None:
    done = back(lean)
    (database,) = [it for it in done.manifest.databases if it.left_out]
    assert (database.path, database.left_out) == ("state.db", ("fts",))
    assert database.contents.keys() == database.tables.keys() == {"messages"}
    folder = lean.store / "vps1" / "nightly"
    (manifest,) = folder.glob("*.manifest.asc")
    assert TERM not in manifest.read_text()
    assert "new.content" not in manifest.read_text()


def printed(site: Site, text: str) -> list[dict[str, Any]]:
    """What the pipe in RESTORE.txt prints of each index."""
    (step,) = re.findall(r"^ +(gpg --decrypt .*left_out.*)$", text, re.MULTILINE)
    setup = f"FROM={site.store / FOLDER}; SNAPSHOT={name_of(site)}; "
    env = {"GNUPGHOME": str(site.recipient.gnupghome), "PATH": "/usr/bin:/bin"}
    said = subprocess.run(["bash", "-c", setup + step], env=env, capture_output=True, text=True, check=True).stdout
    return [json.loads(it)["left_out"] for it in said.splitlines()]


@pytest.mark.parametrize("name", ["carrying", "joining"])
def test_restore_txt_says_who_makes_them_and_gives_the_statements(site: Site, meet: Meet, name: str) -> None:
    """They are run on what its own commands unpacked, in the order that it says."""
    home, names = site.home / "state.db", tables_of(SCRIPTS[name])
    home.unlink()
    change(make(home, SCRIPTS[name]), "INSERT INTO fts(fts, rank) VALUES ('rank', 'bm25(3.0)')")
    status = run(site)
    text = (site.store / FOLDER / RESTORE_TEXT).read_text()
    assert "Search indexes of databases are left out" in text
    assert "Hermes makes them again at its first start" in " ".join(text.split())
    reader = meet(status.public_key, site.recipient.gnupghome)
    done = reader.execute(text, site.store / FOLDER, name_of(site))
    assert done.returncode == 0, done.stderr
    database = reader.folder / "out" / "state.db"
    assert not [it for it in tables(database) if it.startswith("fts")]
    told = printed(site, text)
    assert [(it["database"], it["table"]) for it in told] == [("state.db", it) for it in names]
    assert told[0]["settings"]
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for it in told:
            fill = f"{it['insert']} WHERE {it['condition']}" if it["condition"] else it["insert"]
            for statement in (it["create"], *it["settings"], fill, *it["triggers"]):
                connection.execute(statement)
    assert tables(database) == tables(home)
    for path in (home, database):
        change(path, "INSERT INTO messages (id, role, content) VALUES (77, 'user', 'another lighthouse')")
    for table in names:
        words = (TERM, "nüchtern", "weather", "来週まで", "harbour")
        assert hits(database, *words, table=table) == hits(home, *words, table=table)
        assert hits(database, TERM, table=table)[0][-1] == 77


def test_without_lean_copies_nothing_is_said_of_them(site: Site) -> None:
    site.run()
    assert "left_out" not in (site.store / "vps1" / "nightly" / RESTORE_TEXT).read_text()


def test_some_paths_bring_theirs(lean: Site) -> None:
    back(lean, "one", only=["state.db"])
    assert found(lean.root / "one" / "state.db")
    done = back(lean, "other", only=["SOUL.md"])
    assert not [it for it in done.report.findings if "indexes" in it.what]


@pytest.mark.parametrize("full", [False, True])
def test_an_index_that_cannot_be_made_is_told_and_fails_a_drill(lean: Site, full: bool) -> None:
    tree = placed(lean, "tree")
    (told,) = tree.remakings
    broken = replace(tree, remakings=(told.model_copy(update={"create": UNMADE}),))
    (finding,) = remade(broken, full=full, told=quiet)
    assert finding.verdict == ("failed" if full else "unproven")
    assert ("Hermes makes them" in finding.evidence) != full
    assert "fts" not in tables(tree.root / "state.db")


@pytest.mark.parametrize("full", [False, True])
def test_an_index_that_answers_otherwise_is_told_and_fails_a_drill(lean: Site, full: bool) -> None:
    tree = placed(lean, "tree")
    (told,) = tree.remakings
    first, *rest = told.searches
    other = told.model_copy(update={"searches": (first.model_copy(update={"hits": first.hits + 1}), *rest)})
    (finding,) = remade(replace(tree, remakings=(other,)), full=full, told=quiet)
    assert (finding.verdict, "1 of " in finding.evidence) == ("failed" if full else "unproven", True)
    assert first.term not in finding.evidence
    assert found(tree.root / "state.db")


def test_an_index_that_is_not_what_its_trigger_would_make_fails_a_drill(lean: Site) -> None:
    tree = placed(lean, "tree")
    (told,) = tree.remakings
    other = told.model_copy(update={"searches": (), "insert": told.insert.replace("|| ' ' ||", "|| 'x' ||")})
    assert other != told.model_copy(update={"searches": ()})
    (finding,) = remade(replace(tree, remakings=(other,)), full=True, told=quiet)
    assert (finding.verdict, finding.evidence) == ("failed", "not proven again to be made of other tables: fts")


def test_a_row_that_reads_otherwise_is_not_what_was_saved(lean: Site) -> None:
    tree = placed(lean, "tree")

    def asked() -> Finding:
        (finding,) = (it for it in databases(tree, counts="manifest", full=False, told=quiet) if it.what == "state.db")
        return finding

    assert asked().ok
    with contextlib.closing(sqlite3.connect(tree.root / "state.db")) as connection:
        connection.execute("UPDATE messages SET content = content || '.' WHERE id = 1")
        connection.commit()
    assert (asked().verdict, asked().evidence) == ("failed", "other content than was saved: messages")


def hostile(forge: Forge, **spoilt: Any) -> None:
    """Publish a home whose list of files says otherwise how its search index is made, signed by its host's key."""
    home = make(forge.site.root / "made.db", CARRYING)
    copy = forge.site.root / "lean.db"
    done = copy_lean(home, copy, deadline=30, name="state.db")
    (told,) = remakings(done)
    archive = tar_of(entry("state.db", copy.read_bytes()))
    listing = b"".join((*to_lines(members_of(archive)), *remakings_to_lines([told.model_copy(update=spoilt)])))
    database = Database(
        path="state.db", page_size=done.facts.page_size, pages=done.facts.pages, tables=dict(done.facts.tables),
        contents={name: it.sha256 for name, it in done.contents.items()}, left_out=("fts",),
    )  # fmt: skip
    forge.publish(archive, listing=listing, databases=(database,))
    for it in (home, copy):
        discard(it)


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ({"settings": ("DELETE FROM messages",)}, "DELETE messages"),
        ({"triggers": ("DELETE FROM messages",)}, "a trigger that does more"),
        ({"insert": "INSERT INTO messages (id) SELECT 77"}, "INSERT messages"),
    ],
)
def test_a_restore_refuses_statements_that_do_anything_but_make_an_index(
    forge: Forge, spoilt: dict[str, Any], said: str
) -> None:
    key = forge.key.public()
    hostile(forge)
    assert found(bring_back(forge.site, key=key).target / "state.db")
    shutil.rmtree(forge.site.root / "back")
    shutil.rmtree(forge.site.store)
    hostile(forge, **spoilt)
    refused(forge.site, "HB-RESTORE-REFUSED", key=key, match=said)
    bring_back(forge.site, key=key, leave_indexes=True)


def test_a_statement_that_never_ends_is_given_up_and_hermes_makes_the_index(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hermes_backup.stages.checks.remaking.patience", lambda size: 1.0 if size < 1 << 20 else 3600.0)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    hostile(forge, insert=f"INSERT INTO fts (content) {endless} SELECT 'x' FROM n")
    done = bring_back(forge.site, key=forge.key.public())
    told = {it.what: (it.verdict, it.evidence) for it in done.report.findings}
    assert told["state.db: search indexes"] == (
        "unproven",
        "it was not done by its deadline; Hermes makes them at its first start",
    )
    assert told["state.db: contents"][0] == "ok"
    assert tables(done.target / "state.db") == {"messages"}


def test_there_is_time_in_proportion_and_never_little() -> None:
    assert patience(0) == 300
    assert 3200 < patience(1 << 30) < 3600


def test_contents_are_compared_after_the_last_statement(lean: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever changed a table while the index was made again."""

    def made_and_spoilt(path: Path, *_: Any, **__: Any) -> None:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE messages SET content = 'other' WHERE id = 1")
            connection.commit()

    monkeypatch.setattr("hermes_backup.stages.checks.remaking.rebuild", made_and_spoilt)
    refused(lean, "HB-RESTORE-CHECK", match="state.db: contents: other content than was saved: messages")
    back(lean, leave_indexes=True)


def test_a_table_that_nobody_saved_is_not_what_was_saved(lean: Site) -> None:
    tree = placed(lean, "tree")
    assert [it.ok for it in contents(tree, {"state.db"})] == [True]
    change(tree.root / "state.db", "CREATE TABLE fts_content (a); CREATE TABLE more (a)")
    (finding,) = contents(tree, {"state.db"})
    assert (finding.verdict, finding.evidence) == ("failed", "other content than was saved: more")
    change(tree.root / "state.db", "DROP TABLE messages")
    (finding,) = contents(tree, {"state.db"})
    assert finding.evidence == "other content than was saved: messages, more"


def test_without_room_for_them_nothing_is_written(lean: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = placed(lean, "tree")
    before = (tree.root / "state.db").read_bytes()
    monkeypatch.setattr("hermes_backup.stages.checks.remaking.free_in", lambda _: 5)
    (finding,) = remade(tree, full=False, told=quiet)
    assert finding.verdict == "unproven"
    assert f"they need about {4 * len(before)} bytes, 5 are free" in finding.evidence
    assert (tree.root / "state.db").read_bytes() == before


def test_what_goes_to_a_host_tells_it_how(lean: Site) -> None:
    tree = placed(lean, "tree")
    config = lean.config(lean.usual())
    head = Handover(Wanted(purpose="replace"), config, tree.manifest, tree.members, tree.remakings)
    assert read_head(BytesIO(b"".join(write_head(head)))) == head


def test_homes_are_compared_without_how_an_index_is_cut(lean: Site) -> None:
    back(lean)
    with contextlib.closing(sqlite3.connect(lean.root / "back" / "state.db")) as connection:
        connection.execute("INSERT INTO fts(fts) VALUES ('optimize')")
        connection.commit()
    assert compare(lean.home, lean.root / "back", Rules()).differing == ()
    tree = placed(lean, "tree")
    counts = {it.path: it.tables for it in tree.manifest.databases}
    seen = against(lean.home, Rules(), tree.members, counts)
    assert (seen.rows, [it for it in seen.changed if it.endswith(".db")]) == ((), [])


@pytest.mark.parametrize("crashed", [False, True])
def test_a_comparison_leaves_nothing_in_the_home(site: Site, crashed: bool) -> None:
    run(site, "auto")
    tree = back(site).report.tree
    counts = {it.path: it.tables for it in tree.manifest.databases}
    with contextlib.closing(sqlite3.connect(site.home / "state.db")) as connection:
        connection.execute("INSERT INTO messages (content) VALUES ('later')")
        connection.commit()
        if crashed:  # its log lies there, and nobody has it open
            for side in ("", "-wal"):
                shutil.copyfile(f"{site.home}/state.db{side}", f"{site.root}/crashed{side}")
    if crashed:
        for side in ("", "-wal"):
            shutil.copyfile(f"{site.root}/crashed{side}", f"{site.home}/state.db{side}")
    before = {it: (it.lstat().st_mtime_ns, it.lstat().st_size) for it in site.home.rglob("*")}
    seen = against(site.home, Rules(), tree.members, counts)
    assert [(it.live, it.then) for it in seen.rows] == [(201, 200)]
    assert {it: (it.lstat().st_mtime_ns, it.lstat().st_size) for it in site.home.rglob("*")} == before


def test_a_database_that_may_not_lack_anything_is_whole(site: Site) -> None:
    with contextlib.closing(sqlite3.connect(site.home / "state.db")) as connection:
        connection.execute("CREATE VIRTUAL TABLE own USING fts5(text)")
        connection.execute("INSERT INTO own VALUES ('nowhere else')")
        connection.commit()
    run(site)
    back(site)
    with contextlib.closing(sqlite3.connect(site.root / "back" / "state.db")) as connection:
        assert connection.execute("SELECT count(*) FROM own WHERE own MATCH 'nowhere'").fetchone() == (1,)
    shutil.rmtree(site.root / "back")


def test_a_drill_makes_them_again_and_lets_fts5_compare(lean: Site) -> None:
    findings = checked(lean, Check(depth="full"))
    assert findings["state.db: contents"].evidence == "1 tables, each with the content that was saved"
    assert findings["state.db: contents"].ok
    assert findings["state.db: search indexes"].ok
    assert {it.verdict for it in findings.values()} <= {"ok", "unproven"}


def test_a_drill_fails_where_they_cannot_be_made(lean: Site) -> None:
    def spoil(root: Path) -> None:
        with contextlib.closing(sqlite3.connect(root / "state.db")) as connection:
            connection.execute("CREATE VIEW fts AS SELECT 1")
            connection.commit()

    findings = checked(lean, Check(depth="full"), spoil=spoil)
    assert findings["state.db: search indexes"].verdict == "failed"


@pytest.mark.parametrize("leave", [False, True])
def test_in_place_of_the_home(lean: Site, leave: bool) -> None:
    before = found(lean.home / "state.db")
    (lean.home / "state.db").unlink()
    done, _ = sent(lean, leave_indexes=leave).put()
    assert any("search indexes" in it for it in done.checked) != leave
    assert ("fts" in tables(lean.home / "state.db")) != leave
    if not leave:
        assert found(lean.home / "state.db") == before


IMAGE = {"format": "squashfs"}


@pytest.mark.parametrize("how", ["", "auto", "keep", "rebuild"])
def test_an_image_holds_all_of_them(site: Site, how: str) -> None:
    """It is mounted and used at once, before anything could be made again."""
    make(site.home / "other.db", CARRYING)
    run(site, how, IMAGE)
    done = back(site, leave_indexes=True)
    assert [it.left_out for it in done.manifest.databases] == [(), ()]
    assert tables(site.root / "back" / "other.db") == tables(site.home / "other.db")
    assert found(site.root / "back" / "other.db") == found(site.home / "other.db") != []


@pytest.mark.parametrize(
    ("how", "archive", "said"),
    [
        ("", None, "without search indexes that can be made again"),
        ("auto", IMAGE, "with its search indexes as they are"),
        ("", IMAGE, "with its search indexes as they are"),
        ("rebuild", IMAGE, "with its search indexes made anew"),
    ],
)
def test_a_dry_run_says_what_becomes_of_them(site: Site, how: str, archive: Any, said: str) -> None:
    status = site.run(stages(site, how, archive), options=Options("test", dry_run=True))
    assert [it for it in status.plan if it.startswith("sqlite: ")] == [
        f"sqlite: copy every SQLite file consistently, {said}, then check the copy"
    ]


@pytest.mark.parametrize("archive", [None, IMAGE])
def test_they_are_made_anew_where_that_is_declared(site: Site, archive: Any) -> None:
    make(site.home / "other.db", CARRYING)
    before = found(site.home / "other.db")
    with contextlib.closing(sqlite3.connect(site.home / "other.db", isolation_level=None)) as connection:
        connection.execute("UPDATE fts_data SET block = x'00' WHERE id > 10")
    run(site, "rebuild", archive)
    events = (site.folder / "events.jsonl").read_text()
    assert "other.db: fts is made anew" in events
    assert "other.db: search in fts does not answer as it should" in events
    done = back(site)
    restored = site.root / "back" / "other.db"
    assert found(restored) == before
    (database,) = (it for it in done.manifest.databases if it.path == "other.db")
    assert (database.left_out, database.contents) == ((), {})
    with contextlib.closing(sqlite3.connect(restored)) as connection:
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage"
        assert database.tables.keys() == {it for (it,) in connection.execute(names)} > {"fts_data", "messages"}
    assert int(restored.stat().st_mtime) == int((site.home / "other.db").stat().st_mtime)


@pytest.mark.parametrize("how", ["auto", "keep", "rebuild"])
def test_the_same_home_is_no_new_snapshot(site: Site, how: str) -> None:
    make(site.home / "other.db", CARRYING)
    run(site, how)
    again = site.run(stages(site, how), options=Options("test", if_changed=True))
    assert (again.state, again.exit_code) == ("unchanged", 0)


@pytest.mark.parametrize("how", ["auto", "keep", "rebuild"])
def test_a_home_that_was_brought_back_is_the_same_home(site: Site, how: str) -> None:
    make(site.home / "other.db", CARRYING)
    run(site, how)
    done = back(site)
    seen = compare(site.home, site.root / "back", Rules())
    assert seen.differing == ()
    assert dict(seen.databases) == {"other.db": 4, "state.db": 200}
    tree = done.report.tree
    other = against(site.home, Rules(), tree.members, {it.path: it.tables for it in tree.manifest.databases})
    assert (other.added, other.changed, other.rows, other.unknown) == ((), (), (), ())


def test_snapshots_do_not_differ_by_what_is_left_out(site: Site) -> None:
    make(site.home / "other.db", CARRYING)
    kept, lean, renewed = (
        next(it for it in back(site, how).manifest.databases if it.path == "other.db")
        for how in ("keep", "auto", "rebuild")
        if run(site, how)
    )
    assert "fts_data" in kept.tables
    assert "fts_data" not in lean.tables
    assert compare_databases([kept], [lean]) == compare_databases([lean], [renewed]) == ()
