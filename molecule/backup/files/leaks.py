#!/usr/bin/python3
"""Look for secrets where none may be: in arguments and environments of all processes, in the journal, in files.

Reads JSON: `secrets` (by name), `canary` (a text that must be found), `processes` (words of command lines that must be
seen at work meanwhile), `roots` (folders), `allowed` (regular expressions of files that may hold secrets).
Prints JSON: `found`, `allowed` and `canary` (where), and `unseen` (processes that nobody saw).
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

PATIENCE = 60
LARGEST = 64 << 20

given = json.load(sys.stdin)
wanted = {name: text.encode() for name, text in given["secrets"].items()}
canary = given["canary"].encode()
found, allowed, canaries = set(), set(), set()
unseen = set(given["processes"])


def look(where, content, may=False):
    for name, secret in wanted.items():
        if secret in content:
            (allowed if may else found).add(f"{name}: {where}")
    if canary in content:
        canaries.add(where.split(":")[0])


def processes():
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
            look(f"argv: {words[:80]}", words)
            look(f"environ: {words[:80]}", (entry / "environ").read_bytes())
        except OSError:  # it is gone
            continue
        unseen.difference_update({it for it in unseen if it.encode() in words})


def files():
    may = re.compile("|".join(given["allowed"]))
    for root in given["roots"]:
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) < LARGEST:
                    try:
                        look(f"file: {path}", pathlib.Path(path).read_bytes(), bool(may.search(path)))
                    except OSError:
                        continue


end = time.monotonic() + PATIENCE
while unseen and time.monotonic() < end:
    processes()
    time.sleep(0.1)
for _ in range(20):  # while they are at work
    processes()
    time.sleep(0.1)
files()
if shutil.which("journalctl"):
    look("journal", subprocess.run(["journalctl", "--all", "--output=export"], capture_output=True).stdout)
said = {"found": sorted(found), "allowed": sorted(allowed), "canary": sorted(canaries), "unseen": sorted(unseen)}
json.dump(said, sys.stdout)
