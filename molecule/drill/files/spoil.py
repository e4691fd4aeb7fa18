#!/usr/bin/python3
"""Spoil the snapshots in a folder in one way: spoil.py FOLDER WAY. The newest two must be there."""

import pathlib
import re
import subprocess
import sys
import tempfile


def gpg(home, *words, said=b""):
    options = ["--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    return subprocess.run(["gpg", *options, *words], input=said, capture_output=True, check=True).stdout


def main(folder, way):
    older, newest = sorted(folder.glob("*.manifest.asc"))[-2:]
    data = [next(folder.glob(it.name.removesuffix(".manifest.asc") + ".tar.*")) for it in (older, newest)]
    if way == "flipped":
        content = bytearray(data[1].read_bytes())
        content[len(content) // 2] ^= 1
        data[1].write_bytes(content)
    elif way == "edited":
        text = newest.read_text()
        newest.write_text(re.sub(r'("messages": )(\d+)', lambda it: it[1] + str(int(it[2]) - 1), text))
    elif way == "older":
        data[1].write_bytes(data[0].read_bytes())
    elif way == "resigned":
        with tempfile.TemporaryDirectory() as home:
            gpg(home, "--quick-generate-key", "thief@example.org", "future-default", "default", "never")
            text = newest.read_text().split("\n\n", 1)[1].split("-----BEGIN PGP SIGNATURE", 1)[0]
            text = re.sub(r'("messages": )(\d+)', lambda it: it[1] + str(int(it[2]) - 1), text)
            newest.write_bytes(gpg(home, "--clear-sign", said=text.encode()))
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    elif way == "gone":
        for file in folder.glob(newest.name.removesuffix(".manifest.asc") + ".*"):
            file.unlink()
    else:
        sys.exit(f"no way {way}")


main(pathlib.Path(sys.argv[1]), sys.argv[2])
