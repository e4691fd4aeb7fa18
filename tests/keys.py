"""Recipients for tests: real keys, made by the real gpg, one set a session."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes import Process, processes


@dataclass(frozen=True)
class Recipient:
    """A key pair: its GNUPGHOME, its fingerprint, its armored public key."""

    gnupghome: Path
    fingerprint: str
    public: str


def gpg(home: Path, *words: str, time: str = "") -> str:
    """Run gpg in a home of its own; ``time`` is the clock that it shall believe, as gpg's --faked-system-time."""
    faked = ["--faked-system-time", time] if time else []
    done = subprocess.run(
        ["gpg", "--homedir", str(home), "--batch", "--no-tty", "--pinentry-mode", "loopback", *faked, *words],
        capture_output=True,
        check=False,
        text=True,
        input="",
    )
    assert done.returncode == 0, f"gpg {' '.join(words)} ended with {done.returncode}:\n{done.stderr}"
    return done.stdout


def agents(folder: Path) -> list[Process]:
    """Return the gpg-agents that serve a folder."""
    return [it for it in processes() if b"gpg-agent" in it.words and os.fsencode(folder) in it.words]


def fingerprint_of(home: Path) -> str:
    """Return the fingerprint of the first key of a home."""
    listing = gpg(home, "--with-colons", "--list-keys")
    return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))


class KeyMaker:
    """Makes key pairs and ends their agents."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._homes: list[Path] = []

    def home(self) -> Path:
        """Return a new, empty GNUPGHOME, its agent running: gpg waits five seconds for one it starts itself (2.2)."""
        home = self._folder / f"k{len(self._homes)}"
        home.mkdir(mode=0o700)
        self._homes.append(home)
        agent = ["gpg-agent", "--homedir", str(home), "--daemon"]
        subprocess.run(agent, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return home

    def make(self, *spec: str, time: str = "") -> Recipient:
        """Make a key; ``spec`` is algorithm, usage and expiry of --quick-generate-key."""
        home = self.home()
        words = spec or ("future-default", "default", "never")
        gpg(
            home,
            "--passphrase",
            "",
            "--quick-generate-key",
            f"key {len(self._homes)} <k@example.org>",
            *words,
            time=time,
        )
        return self.recipient(home)

    def recipient(self, home: Path) -> Recipient:
        """Return what a home holds, as it stands."""
        fingerprint = fingerprint_of(home)
        return Recipient(home, fingerprint, gpg(home, "--armor", "--export", fingerprint))

    def close(self) -> None:
        """End the agents that key making started."""
        for home in self._homes:
            subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)


@pytest.fixture(scope="session")
def key_maker() -> Iterator[KeyMaker]:
    """A maker of keys in a folder with a short name, as gpg-agent's sockets want it."""
    with tempfile.TemporaryDirectory(prefix="hbk", ignore_cleanup_errors=True) as folder:
        maker = KeyMaker(Path(os.path.realpath(folder)))
        yield maker
        maker.close()


@pytest.fixture(scope="session")
def recipient(key_maker: KeyMaker) -> Recipient:
    """A key that can encrypt."""
    return key_maker.make()
