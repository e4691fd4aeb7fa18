"""A home brought to a machine that comes and goes: until it is usable, and how fast it is then.

Its snapshot lies behind a real S3 server on this machine, so a network adds the same to all. Whoever mounts is as fast
as a disk from then on; a remote that is mounted instead is asked at every step.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import RCLONE, S3Server

from bench.contestants import HOST, PROGRAM, WHOLE
from bench.measure import run
from bench.table import Target
from hermes_backup.pipeline.config import HostConfig, dump, parse_config

_PIPELINE = "snapshot"
_SECONDS = 3.0  # of file operations on each
_FILES = 50


@dataclass(frozen=True)
class Figures:
    """Seconds until the home is usable, and file operations a second, each by who did it."""

    seconds: dict[str, float]
    operations: dict[str, float]

    def targets(self) -> list[Target]:
        """Compare them with what was hoped for."""
        mounted, download = self.seconds["mount-latest"], self.seconds["download alone"]
        times, untar = mounted / download, self.seconds["download and untar"]
        by_hand = self.seconds["download and gpg"]
        made = [
            Target("mount-latest against the download alone", "<= 1.1 times its time",
                   f"{times:.2f} times ({mounted:.2f} s, {download:.2f} s; download, gpg {by_hand:.2f} s; "
                   f"download, gpg, untar {untar:.2f} s)",
                   times <= 1.1),
        ]  # fmt: skip
        ours, disk = self.operations["mounted home"], self.operations["local disk"]
        made.append(
            Target("file operations in the mounted home against local disk", "<= 1.3 times the time",
                   f"{disk / ours:.2f} times ({ours:,.0f} and {disk:,.0f} a second)", disk / ours <= 1.3)
        )  # fmt: skip
        remote = self.operations.get("rclone mount")
        if remote is None:
            return made
        said = f"{ours / remote:,.0f} times ({remote:,.1f} a second)"
        return [
            *made,
            Target("… against rclone mount of the home over S3", "50 times as many", said, ours >= 50 * remote),
        ]


def measure(home: Path, work: Path, say: Callable[[str], None]) -> Figures:
    """Save a home in S3, bring it back in each way, and use it."""
    work.mkdir(parents=True)
    server = S3Server(work / "server")
    with server:
        machine = _Machine(home, work, server)
        say("a snapshot of the home in S3")
        machine.save()
        seconds = {}
        for name, way in machine.ways().items():
            say(name)
            seconds[name] = statistics.median(way() for _ in range(3))
        operations = {}
        say("file operations")
        with machine.mounted() as at:
            operations["mounted home"] = _operations(at)
        shutil.copytree(home, work / "disk", symlinks=True)
        operations["local disk"] = _operations(work / "disk")
        if Path("/dev/fuse").exists() and shutil.which("fusermount3"):
            with machine.remote_mount() as at:
                operations["rclone mount"] = _operations(at)
    return Figures(seconds, operations)


class _Machine:
    """A machine that has the home, and one after another that brings it."""

    def __init__(self, home: Path, work: Path, server: S3Server) -> None:
        self._home = home
        self._work = work
        self._server = server
        self._words = work / "words"
        self._words.write_text("some words for measuring\n", encoding="utf-8")
        self._rclone = work / "rclone.conf"
        self._section = server.section("s3")
        self._rclone.write_text(self._section, encoding="utf-8")
        self._bucket = f"s3:{server.bucket}"

    def save(self) -> None:
        """Make the image, and a tar of the same."""
        for name, archive in (("image", {"format": "squashfs"}), ("tar", {})):
            self._configure(name, self._home, archive)
            self._run(PROGRAM, "agent", "run", _PIPELINE, "--config", str(self._work / name), "--json")

    def ways(self) -> dict[str, Callable[[], float]]:
        """Return the ways to bring the home."""
        return {
            "download alone": self._download,
            "download and gpg": self._decrypt,
            "mount-latest": self._mount,
            "download and untar": self._untar,
        }

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """Have the home mounted."""
        at = self._work / "at"
        self._configure("image", at, {"format": "squashfs"})
        self._run(PROGRAM, "mount-latest", "--config", str(self._work / "image"), "--method", "overlay", "--json")
        try:
            yield at
        finally:
            layers = self._work / "image" / "state" / HOST / _PIPELINE
            for point in (at, layers / "layers" / "lower"):
                subprocess.run(["umount", str(point)], check=True)
            shutil.rmtree(layers / "layers")
            (layers / "attached.json").unlink()

    @contextmanager
    def remote_mount(self) -> Iterator[Path]:
        """Have the home itself in S3, mounted by rclone with everything cached that it can cache."""
        at = self._work / "remote"
        at.mkdir()
        self._run(RCLONE, "--config", str(self._rclone), "copy", str(self._home), f"{self._bucket}/home")
        argv = [RCLONE, "--config", str(self._rclone), "mount", f"{self._bucket}/home", str(at)]
        child = subprocess.Popen([*argv, "--vfs-cache-mode", "full", "--cache-dir", str(self._work / "cache")])
        try:
            while not os.path.ismount(at):
                time.sleep(0.1)
            yield at
        finally:
            subprocess.run(["fusermount3", "-uz", str(at)], check=True)
            child.wait()

    def _download(self) -> float:
        return self._run("sh", "-c", f"{self._cat('image')} > {self._work}/data && rm {self._work}/data")

    def _mount(self) -> float:
        begun = time.monotonic()
        with self.mounted() as at:
            (at / "SOUL.md").read_bytes()
            return time.monotonic() - begun

    def _decrypt(self) -> float:
        piped = f"{self._cat('image')} | {self._opened} > {self._work}/data && rm {self._work}/data"
        return self._run("bash", "-o", "pipefail", "-c", piped)

    def _untar(self) -> float:
        out = self._work / "untarred"
        out.mkdir()
        piped = f"{self._cat('tar')} | {self._opened} | tar --zstd -x -C {out}"
        taken = self._run("bash", "-o", "pipefail", "-c", piped)
        shutil.rmtree(out)
        return taken

    @property
    def _opened(self) -> str:
        return f"gpg --batch --quiet --pinentry-mode loopback --passphrase-file {self._words} --decrypt"

    def _cat(self, name: str) -> str:
        suffix = ".sqsh.gpg" if name == "image" else ".tar.zst.gpg"
        base = f"{RCLONE} --config {self._rclone}"
        listed = f"{self._bucket}/{name}/{HOST}/{_PIPELINE}"
        return f"{base} cat {listed}/$({base} lsf {listed} | grep -F {suffix} | grep -v index | tail -1)"

    def _configure(self, name: str, home: Path, archive: dict[str, str]) -> None:
        stages = [
            WHOLE,
            {"archive": archive},
            {"encrypt": {"passphrase_credential": str(self._words)}},
            {"push": {"to": [f"{self._bucket}/{name}"]}},
        ]
        made = parse_config({
            "host": HOST, "home": str(home), "state": str(self._work / name / "state"), "own_controller": True,
            "rclone_config": self._section, "pipelines": {_PIPELINE: {"stages": stages}},
        })  # fmt: skip
        if not isinstance(made, HostConfig):
            raise SystemExit(f"bench: the configuration is not valid any more: {made}")
        (self._work / name).mkdir(exist_ok=True)
        (self._work / name / f"{HOST}.json").write_text(dump(made), encoding="utf-8")

    def _run(self, *argv: str) -> float:
        child = self._server.child
        spared = child.pid if child is not None else 0
        return run(argv, folder=self._work, env={**os.environ, "HOME": str(self._work)}, spared=spared).seconds


def _operations(home: Path) -> float:
    """Do what an agent does to its files, for some seconds; return the operations a second."""
    folder = home / "bench"
    folder.mkdir()
    text = b"a note\n" * 500
    done = 0
    begun = time.monotonic()
    while (taken := time.monotonic() - begun) < _SECONDS:
        for number in range(_FILES):
            path = folder / f"{number}"
            path.write_bytes(text)
            path.read_bytes()
            path.stat()
            path.rename(folder / f"{number}.kept")
            (home / "SOUL.md").read_bytes()
            done += 5
            if time.monotonic() - begun >= _SECONDS:
                break
        for entry in list(folder.iterdir()):
            entry.unlink()
            done += 1
    return done / taken
