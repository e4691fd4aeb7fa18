"""The host's key, and what it signed.

Anyone who has a recipient's public key can make an archive. So the host signs each manifest in clear, and
whoever restores accepts only what gpg gives back as signed by the one key pinned for that host.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import gnupg

from hermes_backup.errors import DISK_FULL, HOST_KEY_MISSING, KEY_INVALID, SIGNATURE_BAD, STAGE_FAILED, Fault
from hermes_backup.snapshots import signatures
from hermes_backup.streams import process
from hermes_backup.streams.keys import end_agent, fingerprints
from hermes_backup.streams.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_STAGE = "sign"
_SOCKET_PATH = 106  # unix(7) has room for 107; gpg 2.2 and 2.4 fail at that (seen)
_LONGEST_SOCKET = "/S.gpg-agent.browser"
# no options of a user; a clock before the key's birth must not stop a backup (prune minds the clock)
_OPTIONS = ("--no-options", "--no-auto-key-locate", "--ignore-time-conflict", "--ignore-valid-from")
_NOTED = ".public.asc"
_KEY = """\
Key-Type: EDDSA
Key-Curve: ed25519
Key-Usage: sign
Name-Real: hermes-backup {host}
Expire-Date: 0
%no-protection
%commit
"""


class HostKey:
    """The key that a host signs its manifests with: ed25519, for signing only, without passphrase or expiry.

    Use it as a context manager: leaving it ends the gpg-agent that signing started.
    """

    def __init__(self, folder: Path, fingerprint: str, public: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self._public = public

    @classmethod
    def ensure(cls, folder: Path, host: str, given: Path | None = None) -> HostKey:
        """Return the key in ``folder`` (a GNUPGHOME, 0700); if there is none yet, it is ``given`` or made for ``host``.

        ``given`` is a file with the armored key, for hosts that come and go.

        Raises:
            Fault: KEY_INVALID when gpg cannot make a key or the folder holds several, DISK_FULL, TOOL_MISSING.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        with _alone(folder):
            if given is None and (known := _noted(folder)) is not None:
                return cls(folder, *known)
            return cls(folder, *_ensured(folder, host, given))

    @classmethod
    def load(cls, folder: Path) -> HostKey:
        """Return the key in ``folder``.

        Raises:
            Fault: HOST_KEY_MISSING, KEY_INVALID when there are several, TOOL_MISSING.
        """
        if not folder.is_dir():
            raise Fault(HOST_KEY_MISSING, "there is no host key", where=str(folder))
        with _alone(folder):
            return cls(folder, *(_noted(folder) or _read(folder)))

    def public(self) -> str:
        """Return the public key, armored: what is pinned."""
        return self._public

    def secret(self) -> str:
        """Return the private key, armored: what a host that comes and goes is given."""
        with _alone(self.folder), _gpg(self.folder) as gpg:
            return str(gpg.export_keys(self.fingerprint, secret=True, expect_passphrase=False))

    def sign(self, text: str) -> bytes:
        """Return the text signed in clear; it ends in a newline, and no line is longer than gpg signs whole.

        Raises:
            Fault: STAGE_FAILED when gpg does not sign, or gives back another text than it was given.
        """
        with _alone(self.folder), _short(self.folder) as home:
            options = ("--batch", "--no-tty", *_OPTIONS, "--local-user", self.fingerprint)
            signed = process.run(["gpg", "--homedir", home, *options, "--clearsign"], stage=_STAGE, input=text.encode())
        if signed.returncode or not signed.stdout:
            (self.folder / f"{self.fingerprint}{_NOTED}").unlink(missing_ok=True)
            what = f"the host's key does not sign: {_words(signed.stderr)}"
            raise Fault(STAGE_FAILED, what, where=str(self.folder))
        with self.pinned() as pinned:
            if pinned.read(signed.stdout) != text:
                raise Fault(STAGE_FAILED, "gpg signed another text than it was given", where=str(self.folder))
        return signed.stdout

    @contextlib.contextmanager
    def pinned(self) -> Iterator[Pinned]:
        """Read what this key signed: its own keyring holds no other, so it needs no copy."""
        with scratch() as room:
            yield Pinned(self.folder, self.fingerprint, room)

    def close(self) -> None:
        """End the gpg-agent of this key; signing again starts another."""
        with _alone(self.folder), _short(self.folder) as home:
            _end_agents(home)

    def __enter__(self) -> HostKey:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Pinned:
    """One host's public key: the only one whose signature counts. A context manager, as HostKey."""

    def __init__(self, home: Path, fingerprint: str, room: Path) -> None:
        self._home = home
        self._room = room
        self._proven: dict[bytes, str] = {}
        self.fingerprint = fingerprint

    @classmethod
    def load(cls, armored: str, folder: Path) -> Pinned:
        """Return the one key in ``armored``; ``folder`` exists, to work in.

        Raises:
            Fault: KEY_INVALID when it is not exactly one public key, TOOL_MISSING.
        """
        if "PRIVATE KEY" in armored:
            raise Fault(KEY_INVALID, "the file holds a private key where a public one belongs")
        home = Path(tempfile.mkdtemp(prefix="pinned-", dir=folder))
        options = ("--batch", "--no-tty", "--no-autostart", *_OPTIONS, "--no-auto-check-trustdb", "--with-colons")
        argv: list[process.Argument] = [
            "gpg",
            "--homedir",
            home,
            *options,
            "--import-options",
            "import-show",
            "--import",
        ]
        done = process.run(argv, stage=_STAGE, input=armored.encode())
        if "No space left on device" in done.stderr:
            raise _refused("a key cannot be pinned", done.stderr, home)
        return cls(home, _only(fingerprints(done.stdout), home), home)

    def read(self, asc: bytes) -> str:
        """Return the text that the pinned key signed, as gpg gives it out.

        Raises:
            Fault: SIGNATURE_BAD for anything but one whole text with one valid signature by the pinned key.
        """
        (text,) = self.read_all([asc])
        if isinstance(text, Fault):
            raise text
        return text

    def read_many(self, paths: Sequence[Path]) -> list[str | Fault]:
        """Return the signed text of each file, or the Fault that ``read`` would raise, in one call of gpg."""
        return self.read_all([path.read_bytes() for path in paths], [path.name for path in paths])

    def read_all(self, contents: Sequence[bytes], names: Sequence[str] = ()) -> list[str | Fault]:
        """Return what ``read_many`` returns, for contents in memory; ``names`` are for the errors."""
        names = names or [""] * len(contents)
        digests = [hashlib.sha256(content).digest() for content in contents]
        with tempfile.TemporaryDirectory(prefix="read-", dir=self._room) as made:
            folder = Path(made)
            new = [index for index, digest in enumerate(digests) if digest not in self._proven]
            shaped = [index for index in new if signatures.is_one_signed_text(contents[index])]
            for index in shaped:
                (folder / f"{index}.asc").write_bytes(contents[index])
            verdicts = self._verdicts(folder, shaped)
            faults: dict[int, Fault] = {}
            for index in new:
                problem = verdicts.get(index, "it is not one signed text")
                problem = problem or self._take(folder / str(index), digests[index])
                faults[index] = Fault(SIGNATURE_BAD, problem, where=names[index])
        return [self._proven[it] if it in self._proven else faults[index] for index, it in enumerate(digests)]

    def close(self) -> None:
        """Remove the copy of the key."""
        shutil.rmtree(self._room, ignore_errors=True)

    def __enter__(self) -> Pinned:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _verdicts(self, scratch: Path, indexes: Sequence[int]) -> dict[int, str]:
        # one gpg for many: it writes the text of N.asc to N, and its status lines say which file is which
        options = ("--batch", "--no-tty", "--no-autostart", *_OPTIONS, "--trust-model", "always")
        argv: list[process.Argument] = ["gpg", "--homedir", self._home, *options, "--status-fd", "1"]
        argv += ["--multifile", "--decrypt", "--"]
        verdicts: dict[str, str] = {}
        left = [f"{index}.asc" for index in indexes]
        while left:
            done = process.run([*argv, *left], stage=_STAGE, cwd=scratch)
            seen = dict(signatures.blocks(done.stdout.decode("utf-8", "replace")))
            if not seen:
                break
            verdicts.update((name, signatures.problem(lines, self.fingerprint)) for name, lines in seen.items())
            left = [name for name in left if name not in seen]  # gpg stops at a bad signature (seen with 2.2)
        return {index: verdicts.get(f"{index}.asc", "gpg did not look at it") for index in indexes}

    def _take(self, path: Path, digest: bytes) -> str:
        """Take the text that gpg gave out as what a content says; return what is wrong, if anything is."""
        try:
            self._proven[digest] = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError):
            return "gpg gave out no text"
        return ""


@contextlib.contextmanager
def _gpg(folder: Path) -> Iterator[gnupg.GPG]:
    with _short(folder) as home:
        gpg = gnupg.GPG(
            gpgbinary=process.find("gpg"),
            gnupghome=str(home),
            options=[*_OPTIONS],
            env=process.clean_environment(),
        )
        gpg.encoding = "utf-8"
        yield gpg


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[Path]:
    """Give the folder a name short enough for the agent's sockets in it: gpg takes a link for the folder."""
    if len(os.fsencode(folder)) + len(_LONGEST_SOCKET) <= _SOCKET_PATH:
        yield folder
        return
    with scratch() as short:
        link = short / "h"
        link.symlink_to(folder)
        _end_agents(link)  # one that a killed run left looks where its own link to the folder was
        try:
            yield link
        finally:
            _end_agents(link)  # its socket's path ends with the link


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep two pipelines of one host from making two keys, or ending each other's agent in the middle."""
    with (folder / ".hermes-backup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _end_agents(home: Path) -> None:
    with contextlib.suppress(Fault):
        end_agent(home, stage=_STAGE)


def _ensured(folder: Path, host: str, given: Path | None) -> tuple[str, str]:
    """Return fingerprint and public half of the key that is there, given, or made now."""
    with _gpg(folder) as gpg:
        if not _listed(folder, secret=False):  # those need no agent, which might be what fails
            made = gpg.import_keys_file(str(given)) if given else gpg.gen_key(_KEY.format(host=host))
            if not getattr(made, "fingerprint", "") and not getattr(made, "fingerprints", ()):
                what = "gpg refuses the key that is given" if given else "gpg made no key"
                raise _refused(what, made.stderr, folder)
        fingerprint, public = _read(folder)
        if given is not None and fingerprint not in gpg.scan_keys(str(given)).fingerprints:
            what = f"the key that is given is not {fingerprint}, which has signed here"
            raise Fault(KEY_INVALID, what, where=str(given))
        return fingerprint, public


def _read(folder: Path) -> tuple[str, str]:
    """Ask gpg for the only key of a folder, and note the answer."""
    fingerprint = _only(_listed(folder, secret=True), folder)
    done = _asked(folder, "--armor", "--export-options", "export-minimal", "--export", fingerprint)
    public = done.stdout.decode("ascii", "replace")
    note = folder / f"{fingerprint}{_NOTED}"
    with contextlib.suppress(OSError):
        made = note.with_suffix(".new")
        made.write_text(public, encoding="ascii")
        made.replace(note)
    return fingerprint, public


def _noted(folder: Path) -> tuple[str, str] | None:
    """Return fingerprint and public half of a folder's key as they were noted, if no key came or went since.

    A note that is wrong does no harm: what the key signs is read with it before it counts.
    """
    try:
        (note,) = folder.glob(f"*{_NOTED}")
        there = [it for it in (folder / "pubring.kbx", folder / "private-keys-v1.d") if it.lstat()]
        if any(it.lstat().st_mtime_ns > note.lstat().st_mtime_ns for it in there):
            return None
        return note.name.removesuffix(_NOTED), note.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


def _asked(folder: Path, *words: str) -> process.Completed:
    with _short(folder) as home:
        return process.run(["gpg", "--homedir", home, "--batch", "--no-tty", *_OPTIONS, *words], stage=_STAGE)


def _listed(folder: Path, *, secret: bool) -> Sequence[str]:
    """Return the keys there are; a list that gpg could not make is not an empty one: no second key is made."""
    listed = _asked(folder, "--with-colons", "--list-secret-keys" if secret else "--list-keys")
    if listed.returncode:
        raise _refused("gpg cannot list its keys", listed.stderr, folder)
    return fingerprints(listed.stdout, "sec" if secret else "pub")


def _refused(what: str, stderr: str, folder: Path) -> Fault:
    kind = DISK_FULL if "No space left on device" in stderr else KEY_INVALID
    return Fault(kind, f"{what}: {_words(stderr)}", where=str(folder))


def _only(fingerprints: Sequence[str], folder: Path) -> str:
    if len(fingerprints) != 1:
        kind = KEY_INVALID if fingerprints else HOST_KEY_MISSING
        raise Fault(kind, f"{len(fingerprints)} keys where one is expected", where=str(folder))
    return str(fingerprints[0])


def _words(stderr: str) -> str:
    said = [line for line in stderr.splitlines() if line.startswith("gpg:")]
    return said[-1] if said else "gpg says nothing"
