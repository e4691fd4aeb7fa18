"""The agent as it travels: its wheel and those it needs, for hosts that reach no package index.

One tar for each sort of host, kept in the cache under a digest of what is in it. pip itself travels too, so that
a host needs neither ``ensurepip`` nor Debian's ``python3-venv``.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from hermes_backup import APP, __version__
from hermes_backup.errors import PACKAGES_MISSING, Fault
from hermes_backup.streams.process import Argument, python, run

_GLIBC = (17, 24, 26, 28, 31, 34)
_PYTHON = re.compile(r"3\.[0-9]{1,2}", re.ASCII)
_MACHINE = re.compile(r"[a-z0-9_]{2,20}", re.ASCII)
_SHOWN = 600
_KEPT = 8
_MADE_OF = ("src", "playbooks", "roles", "inventory", "pyproject.toml", "README.md")


@dataclass(frozen=True, order=True)
class Sort:
    """A sort of host, as far as its packages go: Python's version (``3.11``) and the machine (``x86_64``)."""

    python: str
    machine: str


@dataclass(frozen=True)
class Carried:
    """A tar of wheels: ``digest`` is of the names and contents in it."""

    tar: Path
    digest: str


def carry(sort: Sort) -> Carried:
    """Return the wheels for one sort of host, built and fetched unless they are in the cache.

    Raises:
        Fault: PACKAGES_MISSING with pip's words, or when a host said something that is no version or machine.
    """
    if _PYTHON.fullmatch(sort.python) is None or _MACHINE.fullmatch(sort.machine) is None:
        raise Fault(PACKAGES_MISSING, f"no wheels are made for Python {sort.python!r} on {sort.machine!r}")
    cache = platformdirs.user_cache_path(APP) / "wheels"
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    known = cache / f"{_source_digest()}-{sort.python}-{sort.machine}"
    if known.is_file():
        digest = known.read_text(encoding="ascii").strip()
        if (cache / f"{digest}.tar").is_file():
            return Carried(cache / f"{digest}.tar", digest)
    with tempfile.TemporaryDirectory(prefix="making-", dir=cache) as name:
        folder = Path(name)
        _fetch(folder, _own_wheel(folder), sort)
        digest = _digest(folder)
        _pack(folder, cache / f"{digest}.tar")
    known.write_text(digest, encoding="ascii")
    _forget_old(cache)
    return Carried(cache / f"{digest}.tar", digest)


def _forget_old(cache: Path) -> None:
    for pattern in ("*.tar", "*-3.*"):
        for old in sorted(cache.glob(pattern), key=lambda it: it.stat().st_mtime, reverse=True)[_KEPT:]:
            old.unlink(missing_ok=True)


def _own_wheel(folder: Path) -> Path:
    source = _checkout()
    words: list[Argument] = ["wheel", "--no-deps", "--wheel-dir", folder]
    _pip(*words, *([source] if source else [f"hermes-backup=={__version__}"]))
    return next(folder.glob("hermes_backup-*.whl"))


def _fetch(folder: Path, wheel: Path, sort: Sort) -> None:
    platforms = [f"manylinux_2_{minor}_{sort.machine}" for minor in _GLIBC] + [f"manylinux2014_{sort.machine}"]
    words: list[Argument] = ["download", "--dest", folder, "--only-binary", ":all:", "--implementation", "cp"]
    words += ["--python-version", sort.python]
    words += [word for it in platforms for word in ("--platform", it)]
    _pip(*words, f"{wheel}[notify]", "pip")


def _pip(*words: Argument) -> None:
    # the user's own settings of pip (an index, certificates) are in the environment, so all of it is handed on
    done = run([*python(), "-m", "pip", "--quiet", "--disable-pip-version-check", *words], stage="deploy",
               env=os.environ)  # fmt: skip
    if done.returncode != 0:
        raise Fault(PACKAGES_MISSING, f"pip {words[0]!s}: {done.stderr.strip()[-_SHOWN:]}", where="this machine")


def _pack(folder: Path, target: Path) -> None:
    beside = target.with_suffix(f".{os.getpid()}.new")
    with tarfile.open(beside, "w") as tar:
        for wheel in sorted(folder.glob("*.whl")):
            entry = tarfile.TarInfo(wheel.name)
            entry.size, entry.mode = wheel.stat().st_size, 0o644
            with wheel.open("rb") as content:
                tar.addfile(entry, content)
    beside.replace(target)


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for wheel in sorted(folder.glob("*.whl")):
        with wheel.open("rb") as content:
            whole.update(f"{wheel.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


def _checkout() -> Path | None:
    """Return the folder of the sources where this program runs from a checkout."""
    folder = Path(__file__).resolve().parents[3]
    return folder if (folder / "pyproject.toml").is_file() and (folder / "src").is_dir() else None


def _source_digest() -> str:
    source = _checkout()
    whole = hashlib.sha256(__version__.encode())
    for part in _MADE_OF if source else ():
        path = (source or Path()) / part
        files = [path] if path.is_file() else sorted(it for it in path.rglob("*") if it.is_file())
        for file in files:
            if file.suffix != ".pyc":
                whole.update(f"{file}\0".encode() + file.read_bytes())
    return whole.hexdigest()[:16]
