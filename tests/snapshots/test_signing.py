from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_backup.errors import HOST_KEY_MISSING, KEY_INVALID, SIGNATURE_BAD, STAGE_FAILED, Fault
from hermes_backup.snapshots import signing
from hermes_backup.snapshots.manifest import to_json
from hermes_backup.snapshots.signing import HostKey, Pinned
from tests.keys import agents
from tests.snapshots.made import manifest_of, name_of

TEXT = to_json(manifest_of(name_of(1)))


def test_what_is_signed_is_read(host_key: HostKey, pinned: Pinned) -> None:
    assert pinned.fingerprint == host_key.fingerprint
    assert pinned.read(host_key.sign(TEXT)) == TEXT


@given(
    st.lists(
        st.text(
            st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_characters="\x85\u2028\u2029"), max_size=20
        )
    )
)
@settings(max_examples=15, deadline=None)
def test_any_lines_survive(host_key: HostKey, pinned: Pinned, lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in ["- dash", "From x", *lines, "-----"])
    assert pinned.read(host_key.sign(text)) == text


def test_a_line_that_gpg_would_cut_is_not_signed(host_key: HostKey) -> None:
    with pytest.raises(Fault, match="another text") as caught:
        host_key.sign("x" * 30_000 + "\n")
    assert caught.value.kind is STAGE_FAILED


def spoilt(good: bytes, other: bytes) -> dict[str, bytes]:
    """Return what must not pass, by what was done to it."""
    head, rest = good.split(b"\n\n", 1)
    body = rest.split(b"-----BEGIN PGP SIGNATURE-----")[0]
    return {
        "empty": b"",
        "unsigned": TEXT.encode(),
        "another key": other,
        "edited": good.replace(b'"files": 3', b'"files": 4'),
        "junk before": b"junk\n" + good,
        "junk behind": good + b"junk\n",
        "twice": good + good,
        "good then other": good + other,
        "blank before": b"\n" + good,
        "cut": good[:-40],
        "no signature": head + b"\n\n" + body,
        "cut text": good.replace(b"{\n", b"", 1),
        "grown text": good.replace(b"\n\n{", b"\n\n\n{", 1),
        "binary": bytes(range(256)),
        "signature of another text": good.replace(body, body.replace(b"web-1", b"web-2")),
    }


def test_what_must_not_pass(host_key: HostKey, other_key: HostKey, pinned: Pinned, tmp_path: Path) -> None:
    good = host_key.sign(TEXT)
    bad = spoilt(good, other_key.sign(TEXT))
    for what, content in bad.items():
        with pytest.raises(Fault) as caught:
            pinned.read(content)
        assert caught.value.kind is SIGNATURE_BAD, what
    paths = []
    for index, content in enumerate([good, *bad.values(), good]):
        paths.append(tmp_path / f"{index}.manifest.asc")
        paths[-1].write_bytes(content)
    results = pinned.read_many(paths)
    assert results[0] == results[-1] == TEXT
    assert [isinstance(one, Fault) for one in results[1:-1]] == [True] * len(bad)
    assert isinstance(results[1], Fault)
    assert results[1].where == "1.manifest.asc"


def test_other_signed_forms_do_not_pass(host_key: HostKey, pinned: Pinned, tmp_path: Path) -> None:
    (tmp_path / "text").write_text(TEXT)
    for form in (["--sign", "--armor"], ["--detach-sign", "--armor"], ["--sign"]):
        argv = ["gpg", "--homedir", str(host_key.folder), "--batch", "--yes", "--output", str(tmp_path / "out"), *form]
        subprocess.run([*argv, str(tmp_path / "text")], check=True, capture_output=True)
        with pytest.raises(Fault, match="not one signed text"):
            pinned.read((tmp_path / "out").read_bytes())


def test_two_keys_that_sign_one_text_do_not_pass(
    host_key: HostKey, other_key: HostKey, pinned: Pinned, tmp_path: Path
) -> None:
    good, other = host_key.sign(TEXT), other_key.sign(TEXT)
    marker = b"-----BEGIN PGP SIGNATURE-----"
    for content in (good + marker + other.split(marker)[1], other.split(marker)[0] + marker + good.split(marker)[1]):
        (read,) = pinned.read_all([content])
        # only the very text that the host signed could pass, under its one signature
        assert isinstance(read, Fault) or (read == TEXT and content.count(marker) == 1)


def test_a_thousand_manifests_are_read_quickly(host_key: HostKey, pinned: Pinned, tmp_path: Path) -> None:
    signed = host_key.sign(TEXT)
    paths = [tmp_path / f"{index}.asc" for index in range(1000)]
    for path in paths:
        path.write_bytes(signed)
    start = time.monotonic()
    assert pinned.read_many(paths) == [TEXT] * 1000
    assert time.monotonic() - start < 10


def test_the_key_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "key"
    made: list[str] = []

    def make() -> None:
        made.append(HostKey.ensure(folder, "web-1").fingerprint)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1
    assert folder.stat().st_mode & 0o777 == 0o700
    with HostKey.load(folder) as key:
        assert key.fingerprint == made[0]


def test_the_key_can_only_sign_and_does_not_expire(host_key: HostKey) -> None:
    argv = ["gpg", "--homedir", str(host_key.folder), "--batch", "--with-colons", "--list-keys"]
    told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    (public,) = [line.split(":") for line in told.splitlines() if line.startswith("pub:")]
    assert public[3] == "22"  # EdDSA
    assert public[6] == ""
    assert set(public[11]) <= set("scSC")
    assert "sub:" not in told


def test_a_folder_with_too_long_a_name_for_sockets(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25) / "key"
    with HostKey.ensure(folder, "web-1") as key, Pinned.load(key.public(), tmp_path) as pinned:
        assert pinned.read(key.sign(TEXT)) == TEXT
    assert agents(tmp_path) == []


def test_an_agent_that_a_killed_run_left_does_not_sign(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25) / "key"
    with HostKey.ensure(folder, "web-1") as key:
        made = key.fingerprint
    with tempfile.TemporaryDirectory(prefix="hb-") as short:
        link = Path(short) / "h"
        link.symlink_to(folder)
        subprocess.run(["gpgconf", "--homedir", str(link), "--launch", "gpg-agent"], check=True)
        assert agents(link)
    with HostKey.ensure(folder, "web-1") as key, Pinned.load(key.public(), tmp_path) as pinned:
        assert key.fingerprint == made
        assert pinned.read(key.sign(TEXT)) == TEXT
    assert agents(link) == []


def test_no_agent_is_left_behind(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="hb-") as short:
        with HostKey.ensure(Path(short) / "key", "web-1") as key:
            key.sign(TEXT)
            assert agents(Path(short))
        end = time.monotonic() + 5
        while agents(Path(short)) and time.monotonic() < end:
            time.sleep(0.05)
        assert agents(Path(short)) == []


@pytest.mark.parametrize("when", ["19700102T000000", "20400101T000000"])
def test_a_wrong_clock_does_not_stop_signing(
    when: str, host_key: HostKey, pinned: Pinned, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(signing, "_OPTIONS", (*signing._OPTIONS, "--faked-system-time", when))
        signed = host_key.sign(TEXT)
    assert pinned.read(signed) == TEXT


def test_what_cannot_be_pinned(host_key: HostKey, other_key: HostKey, tmp_path: Path) -> None:
    for armored in ("", "junk", host_key.public() + other_key.public(), "-----BEGIN PGP PRIVATE KEY BLOCK-----"):
        with pytest.raises(Fault) as caught:
            Pinned.load(armored, tmp_path)
        assert caught.value.kind in (KEY_INVALID, HOST_KEY_MISSING)


def test_no_host_key(tmp_path: Path) -> None:
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(Fault) as caught:
            HostKey.load(folder)
        assert caught.value.kind is HOST_KEY_MISSING
