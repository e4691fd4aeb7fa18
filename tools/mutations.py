"""Take the checks of the product out, one at a time: do the tests notice?

Usage: python tools/mutations.py [--write] [WORD...]   those whose names have all words

Each entry of tests/mutations.yml changes one place of the code, in a copy, and names the tests that must fail then.
``--write`` notes the result in docs/mutations.md. Ends with 1 where a change was not noticed, or cannot be made.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tests" / "mutations.yml"
PAGE = ROOT / "docs" / "mutations.md"
FAILED = 1  # pytest's exit status where tests ran and some failed
_FIRST = re.compile(r"^(?:FAILED|ERROR) (?P<test>.+?)(?: - |$)", re.MULTILINE)
_HEAD = """# Checks taken out

Each line is a check of the product. `python tools/mutations.py` takes it out of a copy of the code and runs the tests
that should notice; all are part of `make test`. `tests/mutations.yml` has the changes. Written by the tool itself, on
commit {commit}, {date}: {caught} of {all} were noticed.

| without this | the first test that fails |
|---|---|
"""


@dataclass(frozen=True)
class Mutation:
    """A change of one place in a file, and the tests that must notice it."""

    name: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]


def mutations(words: Sequence[str]) -> Iterator[Mutation]:
    """Read the list; only those whose names have all words."""
    for it in YAML(typ="safe").load(LIST):
        if all(word in it["name"] for word in words):
            yield Mutation(it["name"], it["file"], it["find"], it["replace"], tuple(it["tests"]))


def noticed(mutation: Mutation, copy: Path) -> str:
    """Run its tests on a copy of the code that has the change; return the first that fails, or nothing.

    Raises:
        ValueError: the change cannot be made in exactly one place, or the tests cannot be run.
    """
    path = copy / mutation.file
    before = path.read_text(encoding="utf-8")
    if before.count(mutation.find) != 1:
        raise ValueError(f"{mutation.file} has its text {before.count(mutation.find)} times")
    path.write_text(before.replace(mutation.find, mutation.replace), encoding="utf-8")
    try:
        argv = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-rfE", "--tb=no", *mutation.tests]
        told = {**os.environ, "PYTHONPATH": str(copy / "src"), "COLUMNS": "300"}
        done = subprocess.run(argv, cwd=copy, env=told, capture_output=True, text=True, check=False)
    finally:
        path.write_text(before, encoding="utf-8")
    if done.returncode not in (0, FAILED):
        raise ValueError(f"pytest ended with {done.returncode}: {done.stdout[-400:]}{done.stderr[-400:]}")
    found = _FIRST.search(done.stdout)
    return found["test"] if found and done.returncode else ""


def copied(target: Path) -> Path:
    """Copy what git knows of, as it is in the working tree."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    return target


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Try all that are asked for, and tell of each."""
    write = "--write" in arguments
    chosen = list(mutations([it for it in arguments if it != "--write"]))
    rows = []
    with tempfile.TemporaryDirectory(prefix="hermes-backup-mutations-") as folder:
        copy = copied(Path(folder))
        for it in chosen:
            try:
                test = noticed(it, copy)
            except ValueError as error:
                test = ""
                say(f"  {error}")
            say(f"{'noticed' if test else 'NOT NOTICED'}: {it.name}: {test}")
            rows.append((it.name, test))
    caught = sum(bool(test) for _, test in rows)
    say(f"{caught} of {len(rows)} were noticed")
    if write:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, check=True)
        date = datetime.now(timezone.utc).date()
        head = _HEAD.format(commit=commit.stdout.decode().strip(), date=date, caught=caught, all=len(rows))
        lines = "".join(f"| {name} | {f'`{test}`' if test else '**none**'} |\n" for name, test in rows)
        PAGE.write_text(head + lines, encoding="utf-8")
    return 0 if caught == len(rows) and rows else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
