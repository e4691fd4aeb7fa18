"""From where a restore takes a snapshot, and which keys it needs."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.errors import Fault
from hermes_backup.pipeline.choosing import choose
from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.pipeline.looking import Shelf
from hermes_backup.pipeline.places import pinned_key
from hermes_backup.pipeline.restoring import restore
from hermes_backup.pipeline.unpacking import Source
from hermes_backup.snapshots.signing import HostKey
from tests.keys import KeyMaker, Recipient, fingerprint_of, gpg
from tests.pipeline.forge import FOLDER, Witness, bring_back, pinned, refused
from tests.servers import S3Server, SftpServer, write_config
from tests.site import Site

WORDS = "correct horse battery staple\n"


@pytest.fixture
def rclone_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of the operator, whose rclone.conf the trusted machine uses."""
    home = tmp_path / "operator"
    (home / ".config" / "rclone").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return home / ".config" / "rclone" / "rclone.conf"


def pushed(site: Site, *remotes: str) -> list[Any]:
    """The stages of a pipeline without a store."""
    return [*site.usual()[:3], {"push": {"to": list(remotes), "attempts": 1}}]


def with_passphrase(site: Site, file: Path) -> list[Any]:
    stages = site.usual()
    stages[2] = {"encrypt": {"passphrase_credential": str(file)}}
    return stages


@pytest.fixture
def empty_gnupg(key_maker: KeyMaker) -> Path:
    """A GNUPGHOME without any key."""
    return key_maker.home()


def test_from_a_store_whose_name_no_remote_could_have(site: Site) -> None:
    stages = [*site.usual()[:3], {"store": {"path": str(site.root / "My Backups, 2026")}}]
    site.run(stages)
    done = bring_back(site, stages=stages)
    assert (done.target / "SOUL.md").exists()
    assert done.source == str(site.root / "My Backups, 2026")
    again = bring_back(site, stages=stages, source=done.source, target=site.root / "again")
    assert (again.target / "SOUL.md").exists()


def test_from_a_folder_through_rclone(site: Site) -> None:
    stages = pushed(site, str(site.remote))
    site.run(stages)
    assert (bring_back(site, stages=stages).target / "SOUL.md").exists()


@pytest.mark.parametrize("kind", ["s3", "sftp"])
def test_from_a_server(site: Site, kind: str, rclone_home: Path, request: pytest.FixtureRequest) -> None:
    own = f"{site.root.name}/hermes"
    if kind == "s3":
        s3: S3Server = request.getfixturevalue("s3_server")
        remote, section = f"r2:{s3.bucket}/{own}", s3.section("r2")
    else:
        sftp: SftpServer = request.getfixturevalue("sftp_server")
        remote, section = f"nas:{sftp.address_root}/{own}", sftp.section("nas")
    write_config(rclone_home, section)
    stages = pushed(site, remote)
    assert site.run(stages, rclone_config=section).state == "done"
    done = bring_back(site, stages=stages, target=site.root / "back")
    assert (done.target / "SOUL.md").read_text() == "I am the test.\n"
    assert done.source == remote


def test_a_remote_that_is_down_is_passed_over(site: Site) -> None:
    stages = pushed(site, str(site.remote))
    site.run(stages)
    both = pushed(site, "gone:nowhere", str(site.remote))
    done = bring_back(site, stages=both)
    assert done.source == str(site.remote)
    refused(site, "HB-REMOTE-UNREACHABLE", code=5, stages=both, source="gone:nowhere", target=site.root / "other")
    refused(site, "HB-REMOTE-UNREACHABLE", code=5, stages=pushed(site, "gone:nowhere"), target=site.root / "other")


def test_the_newest_of_all_places_is_the_latest(site: Site) -> None:
    both = site.usual({"push": {"to": [str(site.remote)]}})
    site.run(both)
    (site.home / "SOUL.md").write_text("newer")
    site.run(pushed(site, str(site.remote)))
    assert (bring_back(site, stages=both).target / "SOUL.md").read_text() == "newer"
    old = bring_back(site, stages=both, source=str(site.store), target=site.root / "old")
    assert (old.target / "SOUL.md").read_text() == "I am the test.\n"
    refused(site, "HB-SNAPSHOT-MISSING", code=3, stages=both, source="/elsewhere", target=site.root / "x")


@pytest.mark.parametrize("wanted", ["latest", "2"])
def test_a_delta_comes_from_the_place_that_has_its_base(site: Site, wanted: str) -> None:
    (site.home / "notes.bin").write_bytes(random.Random(1).randbytes(300_000))
    both = site.usual({"push": {"to": [str(site.remote)]}}, archive={"delta": {}})
    site.run(both)
    (site.home / "SOUL.md").write_text("newer")
    site.run(both)
    config = site.config(both)
    pipeline = pipeline_of(config, "nightly")
    assert [it for it in site.snapshots() if it.startswith("000002-") and ".delta." in it]
    for path in (site.store / FOLDER).glob("000001-*"):
        path.unlink()
    with pinned(site) as pin:
        chosen = choose(config, pipeline, wanted, "", pin, Witness())
        for place, listed in (chosen, Shelf(config, pipeline, pin).choose(wanted, Witness())):
            assert (place.label, listed.name.sequence) == (str(site.remote), 2)
        done = restore(Source(config, pipeline, chosen, pin), site.root / "back", Witness())
        assert (done.target / "SOUL.md").read_text() == "newer"
        assert choose(config, pipeline, wanted, str(site.store), pin, Witness())[1].name.sequence == 2, (
            "it says what is missing"
        )
    fault = refused(site, "HB-BASE-MISSING", stages=both, source=str(site.store), target=site.root / "other")
    assert "--from" in fault.mend


def test_a_store_on_the_host_is_no_place_for_its_controller(site: Site) -> None:
    site.run()
    refused(site, "HB-SNAPSHOT-MISSING", code=3, match="keeps snapshots nowhere", own_controller=False)


def test_without_a_pinned_key_or_with_another_one(site: Site, other_key: HostKey, tmp_path: Path) -> None:
    site.run()
    with pytest.raises(Fault) as caught, pinned_key(tmp_path / "no-pins", "vps1"):
        pass
    assert (caught.value.kind.name, int(caught.value.kind.exit_code)) == ("HB-HOST-KEY-MISSING", 8)
    fault = refused(site, "HB-SIGNATURE-BAD", key=other_key.public())
    assert "another key" in fault.what


def test_where_the_private_key_is_not(site: Site, empty_gnupg: Path) -> None:
    assert site.run().error is None
    refused(site, "HB-KEY-SECRET-MISSING", code=8, gnupghome=str(empty_gnupg))


def test_with_a_private_key_that_nobody_unlocked(site: Site, key_maker: KeyMaker) -> None:
    home = key_maker.home()
    spec = ("locked <l@example.org>", "future-default", "default", "never")
    gpg(home, "--passphrase", "secret", "--quick-generate-key", *spec)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
    locked = Recipient(home, fingerprint_of(home), gpg(home, "--armor", "--export"))
    stages = site.usual()
    stages[2] = {"encrypt": {"recipients": [locked.fingerprint]}}
    site.run(stages, public_keys=[locked.public])
    fault = refused(site, "HB-KEY-PASSPHRASE", code=8, stages=stages, gnupghome=str(home), match="locked")
    assert "gpg-agent" in fault.mend


def test_any_one_of_the_recipients_will_do(site: Site, key_maker: KeyMaker) -> None:
    second = key_maker.make()
    stages = site.usual()
    stages[2] = {"encrypt": {"recipients": [site.recipient.fingerprint, second.fingerprint]}}
    site.run(stages, public_keys=[site.recipient.public, second.public])
    for number, home in enumerate((site.recipient.gnupghome, second.gnupghome)):
        done = bring_back(site, stages=stages, gnupghome=str(home), target=site.root / f"back{number}")
        assert (done.target / "SOUL.md").exists()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file with a passphrase."""
    file = tmp_path / "passphrase"
    file.write_text(WORDS)
    return file


def test_a_passphrase_right_wrong_and_missing(site: Site, secret: Path, empty_gnupg: Path) -> None:
    stages = with_passphrase(site, secret)
    site.run(stages)
    done = bring_back(site, stages=stages, gnupghome=str(empty_gnupg))
    assert (done.target / "SOUL.md").exists()
    words: dict[str, Any] = {"stages": stages, "gnupghome": str(empty_gnupg), "target": site.root / "other"}
    for content in ("wrong horse\n", "\n", ""):
        secret.write_text(content)
        refused(site, "HB-KEY-PASSPHRASE", code=8, **words)
    secret.unlink()
    refused(site, "HB-KEY-PASSPHRASE", code=8, **words)


def test_what_a_snapshot_was_made_with_counts_not_what_is_declared_now(
    site: Site, secret: Path, empty_gnupg: Path
) -> None:
    stages = with_passphrase(site, secret)
    site.run(stages)
    refused(site, "HB-KEY-PASSPHRASE", code=8, match="none is declared", gnupghome=str(empty_gnupg))
    site.run()
    secret.write_text("another\n")
    assert (bring_back(site, stages=stages).target / "SOUL.md").exists()


def test_unencrypted_snapshots_come_back_too(site: Site, empty_gnupg: Path) -> None:
    stages = [*site.usual()[:2], site.usual()[3]]
    site.run(stages)
    done = bring_back(site, stages=stages, gnupghome=str(empty_gnupg))
    assert (done.target / "SOUL.md").exists()
    assert done.manifest.encryption == "none"
