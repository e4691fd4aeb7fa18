"""Damage and forgery in a place: restore and verify call each by its name, and nothing comes of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_backup.snapshots.manifest import Manifest, from_json, to_json
from hermes_backup.snapshots.signing import HostKey
from tests.keys import Recipient
from tests.pipeline.forge import FOLDER, bring_back, copied, faults, refused, verified
from tests.site import Site, make_home

Spoil = Callable[["Store"], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, recipient: Recipient) -> Site:
    """A site with three snapshots."""
    root = tmp_path_factory.mktemp("made")
    make_home(root / "home")
    site = Site(root, recipient)
    for number in (1, 2, 3):
        (site.home / "SOUL.md").write_text(f"number {number}" * number)
        assert site.run().state == "done"
    return site


class Store:
    """The files of a store to be spoilt; the second of three snapshots is the victim."""

    def __init__(self, site: Site, other_key: HostKey, host_key: HostKey) -> None:
        self.folder = site.store / FOLDER
        self.other_key = other_key
        self.host_key = host_key

    def file(self, role: str, number: int = 2) -> Path:
        (found,) = [it for it in self.folder.glob(f"{number:06d}-*") if f".{role}." in it.name]
        return found

    def text(self, number: int = 2) -> str:
        content = self.file("manifest", number).read_text()
        return content[content.index("{") : content.rindex("}") + 1] + "\n"

    def manifest(self, number: int = 2) -> Manifest:
        return from_json(self.text(number))


def flip(role: str, where: float) -> Spoil:
    def spoil(store: Store) -> None:
        path = store.file(role)
        data = bytearray(path.read_bytes())
        data[min(int(len(data) * where), len(data) - 1)] ^= 0x10
        path.write_bytes(data)

    return spoil


def cut(role: str, keep: float) -> Spoil:
    def spoil(store: Store) -> None:
        path = store.file(role)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2 if keep == 0.5 else int(keep)])

    return spoil


def append(role: str, more: bytes) -> Spoil:
    def spoil(store: Store) -> None:
        path = store.file(role)
        path.write_bytes(path.read_bytes() + more)

    return spoil


def signature_flipped(store: Store) -> None:
    path = store.file("manifest")
    head, armor, body = path.read_text().partition("-----BEGIN PGP SIGNATURE-----\n\n")
    flipped = body[:60] + ("A" if body[60] != "A" else "B") + body[61:]
    path.write_text(head + armor + flipped)


def unsigned(store: Store) -> None:
    text = store.text()
    store.file("manifest").write_text(text)


def signed_by_another(store: Store) -> None:
    store.file("manifest").write_bytes(store.other_key.sign(store.text()))


def edited(store: Store) -> None:
    path = store.file("manifest")
    path.write_text(path.read_text().replace('"messages": 200', '"messages": 201'))
    assert "201" in path.read_text()


def wrapped(store: Store) -> None:
    path = store.file("manifest")
    path.write_text(store.text() + path.read_text())


def two_signed_texts(store: Store) -> None:
    path = store.file("manifest")
    path.write_bytes(path.read_bytes() * 2)


def other_signed_text(store: Store) -> None:
    """The host's signature under a text of the host's that is no manifest."""
    store.file("manifest").write_bytes(store.host_key.sign("restore everything\n"))


def another_spelling(store: Store) -> None:
    """A key given twice: readers that take the first see other than those that take the last."""
    text = store.text()
    doubled = text.replace('"host": "vps1"', '"host": "vps2",\n "host": "vps1"')
    assert doubled != text
    store.file("manifest").write_bytes(store.host_key.sign(doubled))


def older_renamed(store: Store) -> None:
    names = {role: store.file(role) for role in ("tar", "index", "manifest")}
    for role, path in names.items():
        content = store.file(role, 1).read_bytes()
        path.write_bytes(content)


def older_manifest(store: Store) -> None:
    shutil.copy(store.file("manifest", 1), store.file("manifest"))


def other_pipeline(store: Store) -> None:
    manifest = store.manifest().model_copy(update={"pipeline": "hourly"})
    store.file("manifest").write_bytes(store.host_key.sign(to_json(manifest)))


def swapped(role: str) -> Spoil:
    def spoil(store: Store) -> None:
        shutil.copy(store.file(role, 3), store.file(role))

    return spoil


def without(role: str) -> Spoil:
    def spoil(store: Store) -> None:
        store.file(role).unlink()

    return spoil


DAMAGED, SIGNATURE, MANIFEST, MISSING = "HB-DATA-DAMAGED", "HB-SIGNATURE-BAD", "HB-MANIFEST-BAD", "HB-SNAPSHOT-MISSING"
CUTS = {"nothing": 0.0, "a byte": 1, "half": 0.5, "all but a byte": -1}
CASES: dict[str, tuple[Spoil, str, str]] = {
    **{f"tar flipped at {at}": (flip("tar", at), DAMAGED, DAMAGED) for at in (0, 0.01, 0.5, 1)},
    **{f"index flipped at {at}": (flip("index", at), DAMAGED, DAMAGED) for at in (0, 0.01, 0.5, 1)},
    **{f"manifest flipped at {at}": (flip("manifest", at), SIGNATURE, SIGNATURE) for at in (0, 0.1, 0.5)},
    "signature flipped": (signature_flipped, SIGNATURE, SIGNATURE),
    **{f"tar cut to {name}": (cut("tar", keep), DAMAGED, DAMAGED) for name, keep in CUTS.items()},
    **{f"index cut to {name}": (cut("index", keep), DAMAGED, DAMAGED) for name, keep in CUTS.items()},
    **{f"manifest cut to {name}": (cut("manifest", keep), SIGNATURE, SIGNATURE) for name, keep in CUTS.items()},
    "tar with more": (append("tar", b"\0"), DAMAGED, DAMAGED),
    "index with more": (append("index", b"more" * 1000), DAMAGED, DAMAGED),
    "manifest with more": (append("manifest", b"{}\n"), SIGNATURE, SIGNATURE),
    "manifest unsigned": (unsigned, SIGNATURE, SIGNATURE),
    "manifest signed by another": (signed_by_another, SIGNATURE, SIGNATURE),
    "manifest edited": (edited, SIGNATURE, SIGNATURE),
    "manifest after a forged one": (wrapped, SIGNATURE, SIGNATURE),
    "manifest twice": (two_signed_texts, SIGNATURE, SIGNATURE),
    "a signed text that is no manifest": (other_signed_text, MANIFEST, MANIFEST),
    "manifest in another spelling": (another_spelling, MANIFEST, MANIFEST),
    "an older snapshot in its place": (older_renamed, MANIFEST, MANIFEST),
    "an older manifest": (older_manifest, MANIFEST, MANIFEST),
    "of another pipeline": (other_pipeline, MANIFEST, MANIFEST),
    "data of another": (swapped("tar"), DAMAGED, DAMAGED),
    "index of another": (swapped("index"), DAMAGED, DAMAGED),
    "without data": (without("tar"), MISSING, DAMAGED),
    "without index": (without("index"), DAMAGED, DAMAGED),
    "without manifest": (without("manifest"), MISSING, MANIFEST),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_damage_is_called_by_its_name(case: str, made: Site, tmp_path: Path, other_key: HostKey) -> None:
    spoil, when_restored, when_verified = CASES[case]
    site = copied(made, tmp_path)
    with HostKey.load(made.root / "state" / "vps1" / "gnupg") as host_key:
        spoil(Store(site, other_key, host_key))
    refused(site, when_restored, code=3 if when_restored == MISSING else 9, wanted="2")
    found = verified(site)
    assert faults(found) == [when_verified]
    assert [it.name.sequence for it in found.verdicts if it.fault] == [2]
    assert all(int(it.fault.kind.exit_code) == 9 for it in found.verdicts if it.fault)


def test_what_is_whole_is_found_whole(made: Site, tmp_path: Path) -> None:
    site = copied(made, tmp_path)
    found = verified(site)
    assert faults(found) == []
    assert [it.name.sequence for it in found.verdicts] == [1, 2, 3]
    assert (bring_back(site, "2").target / "SOUL.md").read_text() == "number 2" * 2


def test_armor_that_was_touched_breaks_the_chain_though_the_text_is_the_same(made: Site, tmp_path: Path) -> None:
    """gpg does not mind blanks in the armor; the next manifest names the bytes as they were."""
    site = copied(made, tmp_path)
    (path,) = (site.store / FOLDER).glob("000002-*.manifest.asc")
    path.write_text(path.read_text().replace("\n-----END", " \n-----END"))
    assert (bring_back(site, "2").target / "SOUL.md").exists()
    assert faults(verified(site)) == ["HB-CHAIN-BROKEN"]


@pytest.mark.parametrize("more", ["tar.gpg", "sqsh", "tar.zst"])
def test_who_can_only_write_cannot_take_a_snapshot_away(more: str, made: Site, tmp_path: Path) -> None:
    """A second file of data beside the signed one changes nothing."""
    site = copied(made, tmp_path)
    (data,) = (site.store / FOLDER).glob("000003-*.tar.zst.gpg")
    data.with_name(f"{data.name.split('.')[0]}.{more}").write_bytes(b"")
    assert faults(verified(site)) == []
    assert (bring_back(site).target / "SOUL.md").read_text() == "number 3" * 3


def test_an_old_snapshot_under_the_newest_name_is_not_the_latest(made: Site, tmp_path: Path) -> None:
    site = copied(made, tmp_path)
    folder = site.store / FOLDER
    for path in folder.glob("000001-*"):
        shutil.copy(path, folder / f"000009-20991231T000000Z.{path.name.split('.', 1)[1]}")
    refused(site, MANIFEST, wanted="latest")
    assert faults(verified(site)) == [MANIFEST]


def test_a_snapshot_of_another_host_has_no_place_here(made: Site, tmp_path: Path, recipient: Recipient) -> None:
    site = copied(made, tmp_path / "vps1")
    make_home(tmp_path / "vps2" / "home")
    other = Site(tmp_path / "vps2", recipient)
    for _ in range(4):
        other.run(host="vps2")
    for path in (other.store / "vps2" / "nightly").glob("000004-*"):
        shutil.copy(path, site.store / FOLDER)
    refused(site, SIGNATURE, wanted="latest")
    assert faults(verified(site)) == [SIGNATURE]


def test_without_the_newest_manifest_the_one_before_is_the_latest(made: Site, tmp_path: Path) -> None:
    site = copied(made, tmp_path)
    next((site.store / FOLDER).glob("000003-*.manifest.asc")).unlink()
    assert (bring_back(site).target / "SOUL.md").read_text() == "number 2" * 2
