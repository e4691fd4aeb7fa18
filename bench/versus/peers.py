"""restic, borg and duplicity as Debian has them, and ``hermes backup``.

The first three know nothing of SQLite: a copy of the database is made first, as their users do, and takes the place
of the live one. ``hermes backup`` copies it itself.
"""

from __future__ import annotations

from pathlib import Path

from tests.hermes.environment import hermes_python

from bench.contestants import Key
from bench.versus.contestant import Contestant, back, repository, shell, word

RESTIC, BORG, DUPLICITY, HERMES = "restic", "borg", "duplicity", "hermes backup"
_LIVE = ("state.db", "state.db-wal", "state.db-shm", "logs")


def peers(home: Path, work: Path, key: Key) -> tuple[Contestant, ...]:
    """Return all; each has a folder of its own in ``work``."""
    return (
        _restic(home, work / "restic"),
        _borg(home, work / "borg"),
        _duplicity(home, work / "duplicity", key),
        _hermes(home, work / "hermes"),
    )


def copied(home: Path, staged: Path) -> str:
    """Return the command that makes a consistent copy of the database."""
    return f"rm -rf {word(staged)}; mkdir -p {word(staged)}; sqlite3 {word(home / 'state.db')} " + word(
        f".backup '{staged}/state.db'"
    )


def _restic(home: Path, folder: Path) -> Contestant:
    folder.mkdir(parents=True)
    (folder / "password").write_text("correct horse battery staple\n", encoding="ascii")
    staged = folder / "staged"
    without = " ".join(f"--exclude {word(home / it)}" for it in _LIVE)
    restore = f"restic restore latest --target {word(back(folder))}"
    return Contestant(
        name=RESTIC,
        kind="peer",
        folder=folder,
        env={
            "RESTIC_REPOSITORY": str(repository(folder)),
            "RESTIC_PASSWORD_FILE": str(folder / "password"),
            "RESTIC_CACHE_DIR": str(folder / "cache"),
        },
        prepare=("restic", "init"),
        backup=shell(
            copied(home, staged), f"restic backup {without} {word(home)} {word(staged)}", f"rm -rf {word(staged)}"
        ),
        restore=shell(restore),
        one=shell(f"{restore} --include {word(home / 'SOUL.md')}"),
        version=("restic", "version"),
        note="of a copy by sqlite3; encrypted, deduplicated",
    )


def _borg(home: Path, folder: Path) -> Contestant:
    staged = folder / "staged"
    without = " ".join(f"--exclude {word(home / it)}" for it in _LIVE)
    newest = '"::$(borg list --last 1 --short)"'
    inside = f"cd {word(back(folder))}"
    return Contestant(
        name=BORG,
        kind="peer",
        folder=folder,
        env={
            "BORG_REPO": str(repository(folder)),
            "BORG_PASSPHRASE": "correct horse battery staple",
            "BORG_BASE_DIR": str(folder / "cache"),
        },
        prepare=("borg", "init", "--encryption", "repokey"),
        backup=shell(
            copied(home, staged),
            f"borg create --compression zstd,3 {without} '::{{now:%Y-%m-%dT%H:%M:%S.%f}}' {word(home)} {word(staged)}",
            f"rm -rf {word(staged)}",
        ),
        restore=shell(inside, f"borg extract {newest}"),
        one=shell(inside, f"borg extract {newest} {word(str(home / 'SOUL.md').lstrip('/'))}"),
        version=("borg", "--version"),
        note="of a copy by sqlite3; repokey, zstd,3",
    )


def _duplicity(home: Path, folder: Path, key: Key) -> Contestant:
    staged = folder / "staged"
    gpg = f"--encrypt-key {key.fingerprint} --gpg-options {word(f'--homedir {key.home} --trust-model always')}"
    common = f"--archive-dir {word(folder / 'cache')} {gpg} --no-print-statistics"
    without = " ".join(f"--exclude {word(home / it)}" for it in _LIVE)
    chosen = f"{without} --include {word(staged)} --include {word(home)} --exclude '**'"
    url = word(f"file://{repository(folder)}")
    restore = f"duplicity restore --force {common}"
    soul = f"--file-to-restore {word(str(home / 'SOUL.md').lstrip('/'))}"
    return Contestant(
        name=DUPLICITY,
        kind="peer",
        folder=folder,
        env={"PASSPHRASE": ""},
        backup=shell(copied(home, staged), f"duplicity {common} {chosen} / {url}", f"rm -rf {word(staged)}"),
        restore=shell(f"{restore} {url} {word(back(folder))}"),
        one=shell(f"{restore} {soul} {url} {word(back(folder) / 'SOUL.md')}"),
        version=("duplicity", "--version"),
        note="of a copy by sqlite3; gpg, incremental",
    )


def _hermes(home: Path, folder: Path) -> Contestant:
    program = word(hermes_python().with_name("hermes"))
    archive = repository(folder)
    newest = f'"$(ls -t {word(archive)}/*.zip | head -1)"'
    return Contestant(
        name=HERMES,
        kind="peer",
        folder=folder,
        env={"HOME": str(folder / "cache"), "HERMES_DISABLE_LAZY_INSTALLS": "1"},
        backup=shell(
            f'said="$(HERMES_HOME={word(home)} {program} backup --output {word(archive)}/$(date +%s.%N).zip)"',
            'case $said in *"Backup complete"*) ;; *) echo "$said"; exit 1 ;; esac',  # an incomplete one exits 0, too
        ),
        restore=shell(f"HERMES_HOME={word(back(folder))} {program} import --force {newest}"),
        alone=True,
        version=shell(f"{program} --version"),
        note="a zip, not encrypted; whole each day",
    )
