"""What every test of a fault looks at: how the run ended, what it left behind, and whether the next one works."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.pipeline.config import dump, pipeline_of
from hermes_backup.pipeline.status import Status
from hermes_backup.pipeline.verifying import verify
from hermes_backup.snapshots.catalog import read_catalog
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.manifest import Manifest, from_json
from hermes_backup.snapshots.place import is_temporary
from hermes_backup.snapshots.signing import HostKey, Pinned
from tests.processes import Process, descendants, processes
from tests.site import PROGRAM, Site
from tests.waiting import until

MEGABYTE = 1 << 20
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@dataclass(frozen=True)
class Ended:
    """A run that was a process of its own, at its end."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Ground:
    """A site, a folder for temporaries of its own, and the runs that a test started there."""

    site: Site
    scratch: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(
        self,
        stages: Sequence[Any] | None = None,
        *,
        under: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> subprocess.Popen[bytes]:
        """Start ``hermes-backup agent run nightly`` as a process of its own, under another program if need be."""
        site = self.site
        folder = site.root / "config"
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        stages = site.usual() if stages is None else stages
        (folder / "vps1.json").write_text(dump(site.config(stages, **settings)))
        argv = [*under, *PROGRAM, "agent", "run", "nightly", "--config", str(folder)]
        run = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(env or {})}, cwd="/"
        )
        self.started.append(run)
        return run

    def end(self, run: subprocess.Popen[bytes], timeout: float = 60) -> Ended:
        """Wait for a run's end."""
        out, err = run.communicate(timeout=timeout)
        return Ended(run.returncode, out.decode(), err.decode())

    def wait_for_stage(self, run: subprocess.Popen[bytes], stage: str, done: int = 0) -> Status:
        """Return when a run has come to a stage, and has done so many bytes of it."""

        def there() -> Status | None:
            assert run.poll() is None, self.end(run)
            with contextlib.suppress(OSError, ValueError):
                status = self.site.status()
                if status.pid == run.pid and status.stage == stage and status.done >= done:
                    return status
            return None

        found: Status = until(there, pause=0.002)
        return found

    def wait_for_upload(self, run: subprocess.Popen[bytes]) -> Process:
        """Return the rclone that uploads a run's archive, as soon as it is at it."""
        found = self.wait_for_child(run, "rclone", b"rcat", b".tar.")
        time.sleep(0.3)
        return found

    def wait_for_child(self, run: subprocess.Popen[bytes], program: str, *words: bytes) -> Process:
        """Return the first descendant of a run that runs a program, with these words among its arguments."""

        def there() -> Process | None:
            assert run.poll() is None, self.end(run)
            fitting = (it for it in descendants(run.pid) if it.program == program)
            return next((it for it in fitting if all(word in it.words for word in words)), None)

        found: Process = until(there, pause=0.002)
        return found

    def lasting(self) -> dict[str, str]:
        """Every file under a final name in store and remote, with a hash of its content; RESTORE.txt is remade."""
        return {
            str(path.relative_to(self.site.root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for top in (self.site.store, self.site.remote)
            for path in sorted(top.rglob("*"))
            if path.is_file() and not is_temporary(path.name) and path.name != "RESTORE.txt"
        }

    def left(self) -> list[str]:
        """What a run should not have left: private folders, temporaries, processes."""
        site = self.site
        found = [str(it) for pattern in ("run-*", ".*") for it in site.folder.glob(pattern)]
        found += [str(it) for top in (site.store, site.remote) for it in top.rglob(".*") if it.is_file()]
        found += [str(it) for it in self.scratch.iterdir()]
        return found + [str(it.words) for it in self.running()]

    def running(self) -> list[Process]:
        """The processes that belong to runs of this ground: each has our folder for temporaries in its environment."""
        mark = os.fsencode(self.scratch)
        keys = os.fsencode(self.site.recipient.gnupghome.parent)  # agents of the keys that tests make are not a run's
        return [
            it
            for it in processes()
            if it.pid != os.getpid() and (mark in it.environment or mark in it.words) and keys not in it.words
        ]

    def check_clean(self, seconds: float = 3.0) -> None:
        """Nothing of a run is left; a process that was just killed has a moment to be gone."""
        end = time.monotonic() + seconds
        while (left := self.left()) and time.monotonic() < end:
            time.sleep(0.05)
        assert not left, left

    def check_failed(self, status: Status, code: int, name: str, stage: str, before: Mapping[str, str]) -> None:
        """A run failed, said so and why, changed nothing that lasts, and left nothing behind."""
        assert status.error is not None, status
        assert (status.exit_code, status.error.name, status.stage) == (code, name, stage), status.error
        assert status.state == ("interrupted" if code == 130 else "failed")
        assert status.error.what
        assert status.error.mend
        assert self.lasting() == before
        self.check_clean()

    def check_next(self, stages: Sequence[Any] | None = None, **settings: Any) -> Status:
        """The next run succeeds, leaves nothing behind, and all snapshots are whole and follow each other."""
        status = self.site.run(stages, **settings)
        assert (status.state, status.exit_code) == ("done", 0), status
        self.check_clean()
        for place in status.places:
            if place.startswith("/"):
                self.check_whole(Path(place))
        return status

    def check_whole(self, root: Path) -> None:
        """Every finished snapshot is what was signed, in an unbroken chain; what has no manifest decrypts whole."""
        place = FolderPlace(root)
        config = self.site.config(self.site.usual())
        catalog = read_catalog(place, "vps1", "nightly")
        with HostKey.load(self.site.folder.parent / "gnupg") as key:
            public = key.public()
        with Pinned.load(public, self.site.root) as pinned:
            found = verify(config, pipeline_of(config, "nightly"), place, catalog, pinned, progress=lambda *_: None)
        finished = {it.name for it in catalog.listed if it.complete}
        assert finished
        assert [it.fault for it in found.verdicts if it.name in finished and it.fault] == []
        assert found.chain == ()
        for listed in catalog.listed:
            assert listed.state != "broken", listed
            if not listed.complete:
                for file in listed.files:
                    self.check_decrypts(root / "vps1" / "nightly" / file.name)

    def opened(self) -> Path:
        """Unpack the store's newest snapshot by plain tools, and return the folder."""
        data = max((self.site.store / "vps1" / "nightly").glob("*.tar.zst.gpg"))
        into = self.site.root / f"back-{data.name[:6]}"
        into.mkdir()
        home = self.site.recipient.gnupghome
        pipe = f"set -o pipefail; gpg --homedir '{home}' --batch -qd '{data}' | zstd -qd | tar -xp -C '{into}'"
        subprocess.run(["bash", "-c", pipe], check=True)
        return into

    def manifest(self) -> Manifest:
        """The store's newest manifest, as it stands; its signature is another matter."""
        text = max((self.site.store / "vps1" / "nightly").glob("*.asc")).read_text()
        return from_json(text[text.index("{") : text.rindex("}") + 1])

    def check_decrypts(self, path: Path) -> None:
        """A file can be decrypted to its end."""
        home = str(self.site.recipient.gnupghome)
        argv = ["gpg", "--homedir", home, "--batch", "--no-tty", "--decrypt", str(path)]
        done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 0, (path, path.stat().st_size, done.stderr)


def add_bulk(site: Site, megabytes: int) -> None:
    """Make the home larger by what does not compress."""
    for number in range(0, megabytes, 4):
        (site.home / f"bulk-{number}").write_bytes(os.urandom(min(4, megabytes - number) * MEGABYTE))


@pytest.fixture
def ground(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """A site whose runs have a short folder for temporaries of their own."""
    with tempfile.TemporaryDirectory(prefix="hbt", dir="/tmp", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        made = Ground(site, scratch)
        try:
            yield made
        finally:
            for run in made.started:
                if run.poll() is None:
                    run.kill()
                run.communicate()
            for process in made.running():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
