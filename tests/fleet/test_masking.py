"""What is told of values and of runs when something lies in the vault: how much of a text a secret takes along."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timezone

import pytest

from hermes_backup.errors import STAGE_FAILED, Fault
from hermes_backup.fleet.masking import mask, masked_text
from hermes_backup.fleet.outcome import HostRun
from hermes_backup.pipeline.status import PartialFile, Status, Trouble

RCLONE = """[b2]
type = s3
access_key_id = AKIA5150SESAM
secret_access_key = Zq83mLp0vTx7
token = {"access_token":"ya29opensesame","expiry":"2026-11-22T03:00:00Z"}
note: horse-battery-staple
"""
START = datetime(2026, 11, 22, 3, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("secret", "value", "told"),
    [
        ("/", "/", "********"),
        ("/", "/srv/hermes", "/srv/hermes"),
        ("q7z", " q7z\n", "********"),
        ("q7z", "a q7z b", "a q7z b"),
        ("tar", ["tar", "start"], ["********", "start"]),
        ("prod", "/srv/prod/x", "/srv/********/x"),
        ("prod", "/srv/prod-2/product/re_prod", "/srv/********-2/product/re_prod"),
        ("hunter2", "hunter2", "********"),
        ("hunter2", "/xhunter2", "/xhunter2"),
        ("hunter22", "/xhunter22y", "/x********y"),
        ("hunter22\n", "/xhunter22y", "/x********y"),
        ("", "anything", "anything"),
        ("\n", "anything", "anything"),
    ],
)
def test_the_shorter_a_secret_the_more_must_stand_alone(secret: str, value: object, told: object) -> None:
    assert mask(value, [secret]) == told


@pytest.mark.parametrize(
    ("secret", "text", "told"),
    [
        ("q7z", "'q7z' is no rate", "'********' is no rate"),
        ("q7z", "\"q7z\" and 'aq7z' and q7z", "\"********\" and 'aq7z' and q7z"),
        ("/", "no such file: '/srv/x' on host's disk", "no such file: '/srv/x' on host's disk"),
        ("prod", "prod: product 'prod'", "********: product '********'"),
        ("x", "curl: password=correct refused, token: abc", "curl: password=******** refused, token: ********"),
        ("x", "https://me:horse@host/ said no", "https://********@host/ said no"),
        ("x", "stages[1].passphrase_credential: '/x' is none", "stages[1].passphrase_credential: '/x' is none"),
    ],
)
def test_a_sentence_is_told_without_secrets(secret: str, text: str, told: str) -> None:
    assert masked_text(text, [secret]) == told


@pytest.mark.parametrize(
    "said",
    [
        "AKIA5150SESAM",
        "Zq83mLp0vTx7",
        "xZq83mLp0vTx7x",
        "secret_access_key = Zq83mLp0vTx7",
        "ya29opensesame",
        "horse-battery-staple",
    ],
)
def test_each_line_of_a_secret_and_each_value_in_it_is_one(said: str) -> None:
    for told in (masked_text(f"b2: {said} is refused", [RCLONE]), mask([f"/x/{said}"], [RCLONE])[0]):
        assert not any(it in told for it in ("AKIA", "Zq83", "ya29", "horse")), told
        assert "********" in told
    assert masked_text("s3 is down", [RCLONE]) == "s3 is down"


def test_a_run_is_told_without_secrets_wherever_they_stand() -> None:
    secrets = ["bucket-4711", RCLONE]
    status = Status(
        run_id="r",
        pid=1,
        host="vps1",
        pipeline="nightly",
        started=START,
        updated=START,
        places=("r2:bucket-4711/x", "/srv/plain", "private:kept"),
        partial=(PartialFile(path="a/bucket-4711", reason="no Zq83mLp0vTx7"), PartialFile(path="b", reason="changed")),
        warnings=("bucket-4711 is slow",),
        plan=("push to r2:bucket-4711",),
        error=Trouble(name="HB-STAGE-FAILED", what="x", where="push: r2:bucket-4711"),
    )
    fault = Fault(STAGE_FAILED, "password=horse", where="private: push: r2:bucket-4711", mend="see bucket-4711")
    told = HostRun("private", status, fault, "bucket-4711\ntoken: abc").masked(secrets)
    assert told.status is not None
    assert told.status.places == ("r2:********/x", "/srv/plain", "private:kept")
    assert [(it.path, it.reason) for it in told.status.partial] == [("a/********", "no ********"), ("b", "changed")]
    assert told.status.error is not None
    assert told.status.error.where == "push: r2:********"
    assert (told.status.warnings, told.status.plan) == (("******** is slow",), ("push to r2:********",))
    assert told.fault is not None
    assert (told.fault.what, told.fault.where) == ("password=********", "private: push: r2:********")
    assert (told.fault.mend, told.log) == ("see ********", "********\ntoken: ********")


@pytest.mark.parametrize("remote", ["private:hermes", "b2-private:hermes/x", "tokens:bucket", "secret-store:a.b"])
def test_the_name_of_a_remote_assigns_nothing(remote: str) -> None:
    assert mask([remote], []) == [remote]
    assert masked_text(f"push to {remote}", []) == f"push to {remote}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("PGPASSWORD=abc", "PGPASSWORD=********"),
        ("x-api-key: abc", "x-api-key: ********"),
        ('{"client_secret":"abc def"}', '{"client_secret":********}'),
        (":s3,secret_access_key=abc", ":s3,secret_access_key=********"),
        ("a" * 100 + "_password = 'x y'", "a" * 100 + "_password = ********"),
    ],
)
def test_what_stands_behind_a_secret_s_name_is_masked(text: str, told: str) -> None:
    assert mask(text, []) == told


@pytest.mark.parametrize(
    "piece", ["a", "pass", "secret ", "token=", "'", "password='", "://", "-", "a.b-c_", "hunter22"]
)
@pytest.mark.parametrize("secrets", [(), ("hunter22", "prod", "/", RCLONE)])
def test_a_long_text_takes_no_longer_than_it_must(piece: str, secrets: Sequence[str]) -> None:
    text = (piece * 100_000)[:100_000]
    for reading in (mask, masked_text):
        began = time.process_time()
        reading(text, secrets)
        assert time.process_time() - began < 1
