"""Which recipient's key ends first, and what is wrong with it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hermes_backup.pipeline.config import HostConfig, parse_config
from hermes_backup.report.keys import KeyEnd, key_ends
from hermes_backup.streams.keys import Key, private_keyring
from tests.keys import KeyMaker, Recipient
from tests.report.made import NOW

STORE = {"store": {"path": "/srv/store"}}


def config(*recipients: str) -> HostConfig:
    stages = ["archive", {"encrypt": {"recipients": list(recipients)}}, STORE]
    plain = ["archive", STORE]
    pipelines = {"nightly": {"stages": stages}, "other": {"stages": stages}, "plain": {"stages": plain}}
    made = parse_config({"host": "vps1", "home": "/h", "state": "/s", "pipelines": pipelines})
    assert isinstance(made, HostConfig), made
    return made


def key(fingerprint: str, days: int | None) -> Key:
    until = None if days is None else NOW + timedelta(days=days)
    return Key(fingerprint, "Jo", "u", capable=True, usable=True, encrypts_until=until)


def ends(*days: int | None) -> tuple[KeyEnd, ...]:
    keys = [key(f"{number:040X}", it) for number, it in enumerate(days)]
    return key_ends(config(*(it.fingerprint for it in keys)), {it.fingerprint: it for it in keys}, NOW)


def said(end: KeyEnd) -> str:
    return "" if end.fault is None else end.fault.kind.name


def test_the_soonest_first_and_each_once() -> None:
    assert [it.until and (it.until - NOW).days for it in ends(None, 400, 90)] == [90, 400, None]


def test_it_warns_thirty_days_ahead() -> None:
    assert [said(it) for it in ends(31, 29)] == ["HB-KEY-EXPIRES", ""]
    assert "in 29 days" in str(ends(29)[0].fault)
    assert [said(it) for it in ends(-1, 10)] == ["HB-KEY-EXPIRED", "HB-KEY-EXPIRES"]


def test_a_key_that_is_not_there() -> None:
    (end,) = key_ends(config("F" * 40), {}, NOW)
    assert said(end) == "HB-KEY-MISSING"


def test_real_keys(key_maker: KeyMaker, recipient: Recipient) -> None:
    soon = key_maker.make("future-default", "default", "20d")
    with private_keyring((recipient.public, soon.public)) as ring:
        keys = {it.fingerprint: it for it in ring.keys()}  # noqa: SIM118 - a Keyring is no dict
    first, second = key_ends(config(recipient.fingerprint, soon.fingerprint), keys, datetime.now(timezone.utc))
    assert (first.fingerprint, said(first)) == (soon.fingerprint, "HB-KEY-EXPIRES")
    assert (second.until, said(second)) == (None, "")
