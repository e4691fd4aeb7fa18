"""A failure at the head of a stream is told as what it is, whatever the processes in between make of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_backup.errors import STAGE_FAILED, Fault
from hermes_backup.streams.coder import Chunks
from hermes_backup.streams.gpg import EncryptTo
from hermes_backup.streams.keys import private_keyring
from tests.keys import Recipient


@pytest.fixture
def ring(recipient: Recipient) -> Iterator[Path]:
    with private_keyring([recipient.public]) as keyring:
        assert keyring.homedir is not None
        yield keyring.homedir


def failing(pause: float) -> Chunks:
    yield os.urandom(4 << 20)
    time.sleep(pause)
    raise Fault(STAGE_FAILED, "the head of the stream failed", where="archive")


@pytest.mark.parametrize("pause", [0.0, 0.5], ids=["reader is late", "reader waits"])
def test_the_cause_is_told_however_slow_the_reader_is(recipient: Recipient, ring: Path, pause: float) -> None:
    sealed = EncryptTo((recipient.fingerprint,), ring).code(failing(pause))
    next(sealed)
    time.sleep(0.0 if pause else 0.5)
    with pytest.raises(Fault, match="the head of the stream failed"):
        list(sealed)
