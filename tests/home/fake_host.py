"""A host that is a folder: users, their homes and whatever else a test puts there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.home.discovery import FoundHome, discover

ME = os.getuid()


@dataclass(frozen=True)
class FakeHost:
    root: Path

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def user(self, name: str, uid: int = ME, home: str = "", *, lent: tuple[int, int] | None = None) -> str:
        """Make a user; all are ourselves by number unless said otherwise, for only root may give files away."""
        home = home or ("/root" if name == "root" else f"/home/{name}")
        self.at(home).mkdir(parents=True, exist_ok=True)
        self.add("/etc/passwd", f"{name}:x:{uid}:{uid}:,,,:{home}:/bin/bash\n")
        if lent:
            self.add("/etc/subuid", f"{name}:{lent[0]}:{lent[1]}\n")
        return home

    def add(self, path: str, text: str) -> None:
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        with self.at(path).open("a") as file:
            file.write(text)

    def write(self, path: str, text: str) -> None:
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        self.at(path).write_text(text)

    def home(self, path: str) -> Path:
        """Make what looks like a Hermes home."""
        self.write(f"{path}/SOUL.md", "I am found.\n")
        return self.at(path)

    def unit(self, path: str, *lines: str) -> None:
        self.write(path, "\n".join(["[Unit]", "Description=Hermes", "[Service]", *lines, "[Install]", ""]))

    def found(self) -> tuple[FoundHome, ...]:
        return discover(self.root)

    def hows(self) -> dict[str, str]:
        """What is found, by its path on the host."""
        return {f"/{it.path.relative_to(self.root)}": it.how for it in self.found()}
