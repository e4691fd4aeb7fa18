"""Recipients are examined before any work: each sort of useless key is refused by its name."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from hermes_backup.errors import Fault
from hermes_backup.streams.keys import daily_keyring, normal, private_keyring
from tests.keys import KeyMaker, Recipient, gpg

NOW = datetime.now(timezone.utc)


def examined(recipient: Recipient, tmp_path: Path, now: datetime = NOW) -> tuple[str, ...]:
    with private_keyring([recipient.public]) as keyring:
        return keyring.examine([recipient.fingerprint], now)


def refused(recipient: Recipient, tmp_path: Path, now: datetime = NOW) -> Fault:
    with pytest.raises(Fault) as caught:
        examined(recipient, tmp_path, now)
    assert caught.value.kind.exit_code == 8
    return caught.value


def test_a_good_key_passes_silently(recipient: Recipient, tmp_path: Path) -> None:
    assert examined(recipient, tmp_path) == ()


def test_the_keyring_is_gone_afterwards(recipient: Recipient) -> None:
    with private_keyring([recipient.public]) as keyring:
        assert keyring.homedir is not None
        assert keyring.homedir.stat().st_mode & 0o777 == 0o700
    assert not keyring.homedir.exists()


def test_the_guide_s_sign_only_key_is_refused_with_the_mend(key_maker: KeyMaker, tmp_path: Path) -> None:
    made = key_maker.make("rsa3072", "sign", "0")
    fault = refused(made, tmp_path)
    assert fault.kind.name == "HB-KEY-SIGN-ONLY"
    assert made.fingerprint in fault.what
    assert "--quick-add-key" in fault.mend
    gpg(made.gnupghome, "--passphrase", "", "--quick-add-key", made.fingerprint, "rsa3072", "encr")
    assert examined(key_maker.recipient(made.gnupghome), tmp_path) == ()


def test_an_expired_key_is_refused_and_the_clock_suspected(key_maker: KeyMaker, tmp_path: Path) -> None:
    made = key_maker.make("future-default", "default", "20200601T000000", time="20200101T000000")
    fault = refused(made, tmp_path)
    assert fault.kind.name == "HB-KEY-EXPIRED"
    assert "2020-06-01" in fault.what
    assert f"{NOW:%Y-%m-%d}" in fault.what


def test_a_key_that_will_have_expired_is_judged_by_the_run_s_clock(key_maker: KeyMaker, tmp_path: Path) -> None:
    made = key_maker.make("future-default", "default", "90d")
    assert examined(made, tmp_path) == ()
    (warning,) = examined(made, tmp_path, NOW + timedelta(days=70))
    assert "expires on" in warning
    assert refused(made, tmp_path, NOW + timedelta(days=91)).kind.name == "HB-KEY-EXPIRED"


def test_a_revoked_key_is_refused(key_maker: KeyMaker, tmp_path: Path) -> None:
    made = key_maker.make()
    certificate = made.gnupghome / "openpgp-revocs.d" / f"{made.fingerprint}.rev"
    armor = certificate.read_text().replace(":-----BEGIN", "-----BEGIN")
    (tmp_path / "revoke.asc").write_text(armor)
    gpg(made.gnupghome, "--import", str(tmp_path / "revoke.asc"))
    (tmp_path / "revoke.asc").unlink()
    assert refused(key_maker.recipient(made.gnupghome), tmp_path).kind.name == "HB-KEY-REVOKED"


def test_one_of_two_missing_is_named(recipient: Recipient, tmp_path: Path) -> None:
    other = "A" * 40
    with private_keyring([recipient.public]) as keyring, pytest.raises(Fault) as caught:
        keyring.examine([recipient.fingerprint, other], NOW)
    assert caught.value.kind.name == "HB-KEY-MISSING"
    assert other in caught.value.what


@pytest.mark.parametrize("garbage", ["", "not a key", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n"])
def test_garbage_is_no_key(garbage: str, tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught, private_keyring([garbage]):
        pass
    assert caught.value.kind.name == "HB-KEY-INVALID"


def test_a_private_key_is_not_taken_for_a_public_one(recipient: Recipient, tmp_path: Path) -> None:
    secret = gpg(recipient.gnupghome, "--armor", "--export-secret-keys", recipient.fingerprint)
    with pytest.raises(Fault) as caught, private_keyring([secret]):
        pass
    assert caught.value.kind.name == "HB-KEY-INVALID"


@pytest.mark.parametrize("text", ["deadbeef", "A" * 39, "Z" * 40, "--output x", ""])
def test_only_full_fingerprints_are_taken(text: str) -> None:
    with pytest.raises(Fault) as caught:
        normal(text)
    assert caught.value.kind.name == "HB-KEY-INVALID"


def test_a_fingerprint_may_be_written_with_blanks_and_small_letters() -> None:
    assert normal("0x" + "ab12 " * 10) == "AB12" * 10


def kept(folder: Path) -> list[str]:
    return sorted(it.name for it in folder.iterdir())


def test_keys_are_examined_once_a_day(recipient: Recipient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with daily_keyring(tmp_path, [recipient.public], NOW) as first:
        known = first.keys()
    assert [it.fingerprint for it in known] == [recipient.fingerprint]
    (name,) = kept(tmp_path)
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path / "no programs"))
        with daily_keyring(tmp_path, [recipient.public], NOW + timedelta(minutes=5)) as again:
            assert again.keys() == known
            assert again.homedir == tmp_path / name
    with daily_keyring(tmp_path, [recipient.public], NOW + timedelta(days=1)) as tomorrow:
        assert tomorrow.homedir != tmp_path / name
    with daily_keyring(tmp_path, [], NOW) as other:
        assert other.keys() == ()
    assert len(kept(tmp_path)) == 2


@pytest.mark.parametrize("content", ["", "[{}]", "{}", '[{"fingerprint": 1}]'])
def test_a_kept_keyring_that_is_damaged_is_not_used(recipient: Recipient, tmp_path: Path, content: str) -> None:
    with daily_keyring(tmp_path, [recipient.public], NOW):
        pass
    (name,) = kept(tmp_path)
    (tmp_path / name / "examined.json").write_text(content)
    with daily_keyring(tmp_path, [recipient.public], NOW) as ring:
        assert ring.examine([recipient.fingerprint], NOW) == ()


def test_kept_keyrings_of_days_long_gone_are_removed(recipient: Recipient, tmp_path: Path) -> None:
    with daily_keyring(tmp_path, [recipient.public], NOW):
        pass
    (name,) = kept(tmp_path)
    long_ago = time.time() - 3 * 24 * 3600
    os.utime(tmp_path / name, (long_ago, long_ago))
    with daily_keyring(tmp_path, [recipient.public], NOW + timedelta(days=3)):
        pass
    assert len(kept(tmp_path)) == 1
    assert kept(tmp_path) != [name]


def test_a_kept_keyring_that_a_power_cut_emptied_is_not_used_and_replaced(recipient: Recipient, tmp_path: Path) -> None:
    with daily_keyring(tmp_path, [recipient.public], NOW):
        pass
    (name,) = kept(tmp_path)
    (tmp_path / name / "pubring.kbx").write_bytes(b"")
    with daily_keyring(tmp_path, [recipient.public], NOW) as ring:
        assert ring.homedir != tmp_path / name
        assert ring.examine([recipient.fingerprint], NOW) == ()
    with daily_keyring(tmp_path, [recipient.public], NOW) as ring:
        assert ring.homedir == tmp_path / name
