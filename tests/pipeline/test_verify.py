"""Verification needs no private key and finds what a restore would stumble over; the chain; how data is encrypted."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from hermes_backup.errors import REMOTE_UNREACHABLE, Fault
from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.pipeline.rollback import Record
from hermes_backup.pipeline.surveying import survey
from hermes_backup.pipeline.verifying import verify
from hermes_backup.snapshots.catalog import read_catalog
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.streams.coder import Chunks, Coder
from hermes_backup.streams.gpg import EncryptTo, EncryptWith
from tests.keys import KeyMaker, Recipient, gpg
from tests.pipeline.forge import (
    BEGUN,
    FOLDER,
    Forge,
    bring_back,
    entry,
    faults,
    pinned,
    refused,
    tar_of,
    verified,
)
from tests.site import Site
from tests.snapshots.places import Cold

ARCHIVE = tar_of(entry("SOUL.md", b"I am.\n"))


def chain(forge: Forge, numbers: Sequence[int] = (1, 2, 3)) -> list[str]:
    """Publish snapshots that follow each other; return the hashes of their manifests."""
    hashes: list[str] = []
    for number in numbers:
        name = forge.publish(ARCHIVE, number=number, previous=hashes[-1] if hashes else None)
        hashes.append(hash_of(forge, str(name)))
    return hashes


def hash_of(forge: Forge, name: str) -> str:
    path = forge.site.store / FOLDER / f"{name}.manifest.asc"
    return subprocess.run(["sha256sum", path], capture_output=True, check=True, text=True).stdout.split()[0]


def replaced(forge: Forge, number: int, archive: bytes, previous: str | None) -> None:
    """Make a snapshot anew under its old name, with the same key."""
    for path in (forge.site.store / FOLDER).glob(f"{number:06d}-*"):
        path.unlink()
    forge.publish(archive, number=number, previous=previous)


def test_what_is_whole_is_proven_without_any_private_key(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        site.run()
    monkeypatch.setenv("GNUPGHOME", str(site.root / "nothing"))
    found = verified(site)
    assert faults(found) == []
    assert found.warnings == ()
    assert [it.name.sequence for it in found.verdicts] == [1, 2, 3]
    assert all(it.size > 1000 for it in found.verdicts)
    assert not (site.root / "nothing").exists()
    assert [it.name.sequence for it in verified(site, wanted="2").verdicts] == [2]


def test_an_empty_place_has_nothing_to_verify_and_a_missing_snapshot_is_told(site: Site) -> None:
    site.run()
    found = verified(site, place=FolderPlace(site.root / "nothing"))
    assert (found.verdicts, found.chain) == ((), ())
    with pytest.raises(Fault) as caught:
        verified(site, wanted="77")
    assert (caught.value.kind.name, int(caught.value.kind.exit_code)) == ("HB-SNAPSHOT-MISSING", 3)


def test_files_of_others_are_counted_and_left(site: Site) -> None:
    site.run()
    (site.store / FOLDER / "holiday.jpg").write_bytes(b"sun")
    assert verified(site).foreign == 1
    assert (site.store / FOLDER / "holiday.jpg").read_bytes() == b"sun"


def test_an_unbroken_chain(forge: Forge) -> None:
    chain(forge)
    assert faults(verified(forge.site, forge.key.public())) == []


def test_a_replaced_snapshot_in_the_middle_breaks_the_chain(forge: Forge) -> None:
    first = chain(forge)[0]
    replaced(forge, 2, tar_of(entry("SOUL.md", b"I was another.\n")), previous=first)
    found = verified(forge.site, forge.key.public())
    assert [it.fault for it in found.verdicts] == [None, None, None], "each for itself is signed and whole"
    assert faults(found) == ["HB-CHAIN-BROKEN"]
    assert int(found.chain[0].kind.exit_code) == 9
    assert "000003-" in found.chain[0].what


def test_a_snapshot_that_names_another_predecessor_breaks_the_chain(forge: Forge) -> None:
    chain(forge)
    replaced(forge, 2, ARCHIVE, previous="0" * 64)
    said = [it.what for it in verified(forge.site, forge.key.public()).chain]
    assert [it[:7] for it in said] == ["000002-", "000003-"]


def test_a_gap_is_no_break(forge: Forge) -> None:
    hashes = chain(forge, (1, 2, 5))
    found = verified(forge.site, forge.key.public())
    assert (faults(found), found.warnings) == ([], ())
    forge.publish(ARCHIVE, number=3, previous=hashes[1])
    assert faults(verified(forge.site, forge.key.public())) == []


def test_two_of_one_number_are_told(site: Site) -> None:
    site.run()
    site.run()
    (site.folder / "ledger.json").unlink()
    for path in (site.store / FOLDER).glob("000002-*"):
        path.rename(path.with_name(f"x{path.name}"))
    time.sleep(1.1)  # names have whole seconds
    site.run()
    for path in (site.store / FOLDER).glob("x000002-*"):
        path.rename(path.with_name(path.name[1:]))
    found = verified(site)
    assert faults(found) == ["HB-CHAIN-BROKEN"]
    assert "same sequence number" in found.chain[0].what


@pytest.mark.parametrize("number", [1, 2], ids=["the-first", "a-later-one"])
def test_what_an_ended_run_left_is_told_once_signed_ones_follow_each_other_past_it(forge: Forge, number: int) -> None:
    hashes = chain(forge, range(1, number))
    left = forge.publish(ARCHIVE, number=number, begun=BEGUN - timedelta(seconds=9))
    (forge.site.store / FOLDER / f"{left}.manifest.asc").unlink()
    own = forge.key.public()
    assert faults(verified(forge.site, own)) == ["HB-MANIFEST-BAD"], "the newest may have lost its manifest"
    forge.publish(ARCHIVE, number=number, previous=hashes[-1] if hashes else None)
    found = verified(forge.site, own)
    assert faults(found) == []
    assert [it.name.sequence for it in found.verdicts] == [*range(1, number + 1)]
    (said,) = found.warnings
    assert said == f"{left} is left of a run that was killed; you can delete its files"


def test_what_an_ended_run_left_is_known_by_its_number_when_retention_takes_its_neighbour(forge: Forge) -> None:
    hashes = chain(forge, (1, 2))
    left = forge.publish(ARCHIVE, number=3, begun=BEGUN - timedelta(seconds=9))
    (forge.site.store / FOLDER / f"{left}.manifest.asc").unlink()
    forge.publish(ARCHIVE, number=3, previous=hashes[-1])
    for path in (forge.site.store / FOLDER).glob("000002-*"):
        path.unlink()
    found = verified(forge.site, forge.key.public())
    assert faults(found) == []
    assert [it.split()[0] for it in found.warnings] == [str(left)]


def test_a_manifest_that_was_taken_away_is_missed_by_its_successor(forge: Forge) -> None:
    chain(forge)
    next((forge.site.store / FOLDER).glob("000002-*.manifest.asc")).unlink()
    found = verified(forge.site, forge.key.public())
    assert (faults(found), found.warnings) == (["HB-MANIFEST-BAD"], ())


def test_a_gap_among_the_newest_is_told_where_no_rule_explains_it(forge: Forge) -> None:
    chain(forge, (1, 2, 3, 4))
    for path in (forge.site.store / FOLDER).glob("000003-*"):
        path.unlink()
    found = verified(forge.site, forge.key.public())
    assert faults(found) == []
    assert ["no rule of prune explains it" in it for it in found.warnings] == [True]
    assert verified(forge.site, forge.key.public(), "4").warnings == ()


@pytest.mark.parametrize("lost", ["newest", "all", "another manifest"])
def test_a_newest_that_somebody_knows_to_have_been_there_is_missed(forge: Forge, lost: str) -> None:
    hashes = chain(forge)
    config = forge.site.config(forge.site.usual())
    catalog = read_catalog(forge.place, "vps1", "nightly")
    sha256 = "0" * 64 if lost == "another manifest" else hashes[-1]
    records = (Record(catalog.listed[-1].name, "a drill", sha256),)
    whose = (config, pipeline_of(config, "nightly"), forge.place)
    with pinned(forge.site, forge.key.public()) as pin:
        if lost != "another manifest":
            assert verify(*whose, catalog, pin, records=records, progress=lambda *_: None).chain == ()
            for path in (forge.site.store / FOLDER).glob("000003-*" if lost == "newest" else "0*"):
                path.unlink()
        catalog = read_catalog(forge.place, "vps1", "nightly")
        found = verify(*whose, catalog, pin, records=records, progress=lambda *_: None)
    assert faults(found) == ["HB-ROLLBACK"]
    assert str(records[0].name) in found.chain[0].what


def test_a_manifest_that_is_not_given_is_named_and_all_others_are_verified(forge: Forge) -> None:
    chain(forge)
    place = Cold(forge.site.store)
    place.cold = ("000002-",)
    found = verified(forge.site, forge.key.public(), place=place)
    assert [it.fault and it.fault.kind.name for it in found.verdicts] == [None, "HB-SNAPSHOT-UNREADABLE", None]
    assert (found.chain, found.warnings) == ((), ())


def test_a_clock_that_went_back_is_a_warning(forge: Forge) -> None:
    hashes = chain(forge, (1, 2))
    forge.publish(ARCHIVE, number=4, begun=BEGUN - timedelta(days=9), previous=hashes[-1])
    found = verified(forge.site, forge.key.public())
    assert faults(found) == []
    assert len(found.warnings) == 1
    assert "begun before" in found.warnings[0]


def test_encrypted_to_fewer_or_more_than_the_manifest_says(forge: Forge, key_maker: KeyMaker) -> None:
    second, third = key_maker.make(), key_maker.make()
    home = key_maker.home()
    for key in (forge.site.recipient, second, third):
        subprocess.run(["gpg", "--homedir", str(home), "--batch", "--import"], input=key.public.encode(), check=True)
    both = (forge.site.recipient.fingerprint, second.fingerprint)
    cases: list[tuple[tuple[str, ...], str | None]] = [
        (both, None),
        (both[:1], "to 1 recipients and 0 passphrases, the manifest says 2 and 0"),
        ((*both, third.fingerprint), "to 3 recipients"),
    ]
    for number, (fingerprints, said) in enumerate(cases, 1):
        name = forge.publish(ARCHIVE, number=number * 10, coders=[EncryptTo(fingerprints, home)], recipients=both)
        (verdict,) = verified(forge.site, forge.key.public(), wanted=str(name)).verdicts
        if said is None:
            assert verdict.fault is None
        else:
            assert verdict.fault is not None
            assert (verdict.fault.kind.name, said in verdict.fault.what) == ("HB-DATA-DAMAGED", True)


def test_a_delta_of_a_delta_is_refused_as_by_restore(forge: Forge) -> None:
    key = forge.key.public()
    first = forge.publish(ARCHIVE)
    second = forge.publish(ARCHIVE, number=2, previous=hash_of(forge, str(first)), kind="delta", base=str(first))
    forge.publish(ARCHIVE, number=3, previous=hash_of(forge, str(second)), kind="delta", base=str(second))
    bring_back(forge.site, "2", key=key, target=forge.site.root / "second")
    refused(forge.site, "HB-DATA-DAMAGED", match="is a delta", wanted="3", key=key)
    for wanted in ("", "3"):
        *sound, last = verified(forge.site, key, wanted).verdicts
        assert [(it.name.sequence, it.fault) for it in sound] == [(1, None), (2, None)]
        assert last.fault is not None
        assert (last.fault.kind.name, "is a delta" in last.fault.what) == ("HB-DATA-DAMAGED", True)
    for path in (forge.site.store / FOLDER).glob("000001-*"):
        path.unlink()
    assert faults(verified(forge.site, key, "3")) == ["HB-BASE-MISSING", "HB-DATA-DAMAGED"]


class Plain:
    """A coder that leaves the data as it is and calls it encrypted."""

    suffix = ".gpg"

    def code(self, chunks: Chunks) -> Chunks:
        yield from chunks


class ByGpg:
    """What gpg makes of the data with other words than ours."""

    suffix = ".gpg"

    def __init__(self, recipient: Recipient, *words: str) -> None:
        self._recipient = recipient
        self._words = words

    def code(self, chunks: Chunks) -> Chunks:
        argv = ["gpg", "--homedir", str(self._recipient.gnupghome), "--batch", "--trust-model", "always", *self._words]
        options = ["--pinentry-mode", "loopback", "--passphrase", "secret", "-r", self._recipient.fingerprint]
        yield subprocess.run([*argv, *options], input=b"".join(chunks), capture_output=True, check=True).stdout


def test_data_that_only_its_name_calls_encrypted(forge: Forge, tmp_path: Path, key_maker: KeyMaker) -> None:
    me = forge.site.recipient
    secret = tmp_path / "passphrase"
    secret.write_text("secret\n")
    old = key_maker.make("rsa2048", "default", "never")
    gpg(old.gnupghome, "--passphrase", "", "--quick-add-key", old.fingerprint, "rsa2048", "encr", "never")
    coders: list[tuple[Coder, str]] = [
        (Plain(), "does not start as an OpenPGP message"),
        (ByGpg(me, "--store"), "a packet of kind"),
        (ByGpg(me, "--sign", "-z", "0"), "a packet of kind"),
        (ByGpg(old, "--rfc2440", "--encrypt"), "a packet of kind 9"),
        (ByGpg(me, "--symmetric", "--encrypt"), "1 recipients and 1 passphrases, the manifest says 1 and 0"),
        (EncryptWith(secret, me.gnupghome), "0 recipients and 1 passphrases, the manifest says 1 and 0"),
    ]
    for number, (coder, said) in enumerate(coders, 1):
        name = forge.publish(ARCHIVE, number=number * 10, coders=[coder])
        (verdict,) = verified(forge.site, forge.key.public(), wanted=str(name)).verdicts
        assert verdict.fault is not None, said
        assert verdict.fault.kind.name == "HB-DATA-DAMAGED"
        assert said in verdict.fault.what


def test_unencrypted_data_under_an_encrypted_name_is_not_restored(forge: Forge) -> None:
    forge.publish(ARCHIVE, coders=[Plain()])
    refused(forge.site, "HB-DATA-DAMAGED", key=forge.key.public())
    forge.publish(ARCHIVE, number=2, coders=[ByGpg(forge.site.recipient, "--store")])
    refused(forge.site, "HB-DATA-DAMAGED", key=forge.key.public())


def test_passphrases_are_proven_too(forge: Forge, tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("secret\n")
    me = forge.site.recipient
    changes = {"encryption": "passphrase", "recipients": ()}
    forge.publish(ARCHIVE, coders=[EncryptWith(secret, me.gnupghome)], **changes)
    assert faults(verified(forge.site, forge.key.public())) == []
    forge.publish(ARCHIVE, number=3, coders=[EncryptTo((me.fingerprint,), me.gnupghome)], **changes)
    assert faults(verified(forge.site, forge.key.public())) == ["HB-DATA-DAMAGED"]


def test_unencrypted_as_declared_is_whole(site: Site) -> None:
    site.run([*site.usual()[:2], site.usual()[3]])
    assert faults(verified(site)) == []


class Failing(FolderPlace):
    """A place whose line is cut as soon as something is read."""

    def read(self, path: str) -> Chunks:
        raise Fault(REMOTE_UNREACHABLE, "the line is cut", where=path)

    def fetch_many(self, folder: str, names: Sequence[str], target: Path) -> Mapping[str, Fault]:
        return FolderPlace(self.root).fetch_many(folder, names, target)


def test_a_place_that_cannot_be_read_to_the_end_proves_nothing(site: Site) -> None:
    site.run()
    assert faults(verified(site, place=Failing(site.store))) == ["HB-REMOTE-UNREACHABLE"]


@pytest.mark.parametrize(("cold", "verdict"), [("000001-", "unproven"), ("000003-", "failed")])
def test_a_drill_is_failed_by_a_newest_that_is_not_given_and_by_no_older_one(
    forge: Forge, cold: str, verdict: str
) -> None:
    chain(forge)
    place = Cold(forge.site.store)
    place.cold = (cold,)
    pipeline = pipeline_of(forge.site.config(forge.site.usual()), "nightly")
    with pinned(forge.site, forge.key.public()) as pin:
        found = [it for it in survey(place, "vps1", "nightly", pin).findings(pipeline, pin) if it.what.startswith(cold)]
    assert [it.verdict for it in found] == [verdict]
