"""Simulated hosts: each a network namespace with a real sshd of its own, which knows its own key and nobody else's.

Everything happens in a network of this process's own: the bridge, the cables and the addresses are seen by nobody
else, and the kernel removes them with the last process in them. A host is a tree of processes, too: sshd is process
1 of its own, so what a host starts stays in it, and ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.measure import tree

_CLONE_NEWNET = 0x40000000
_BRIDGE = "hbf"
_NETWORK = "10.77.0"
_START = 60.0  # seconds that all hosts together may take to start
_MOST = 250
_SSHD = """
ListenAddress 0.0.0.0
Port 22
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {key}.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
SetEnv HOME={folder}
"""


@dataclass(frozen=True)
class Host:
    """A simulated host, its address, and a folder for all that is its own."""

    name: str
    address: str
    folder: Path


class Hosts:
    """Hosts that answer as long as the block lasts. Use :func:`enter_own_network` before.

    Attributes:
        key: the private key that every host lets in as root.
        known: a known_hosts file with the key of each.
        pid: the process that all hosts are below.
    """

    def __init__(self, folder: Path, count: int) -> None:
        if count > _MOST:
            raise SystemExit(f"bench: {count} hosts are too many for one network of {_MOST}")
        self.key, self.known = folder / "client", folder / "known_hosts"
        self.all = [Host(f"host{it:03}", f"{_NETWORK}.{it + 1}", folder / f"host{it:03}") for it in range(1, count + 1)]
        self.pid = 0
        self._holder: subprocess.Popen[str] | None = None

    def __enter__(self) -> Hosts:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._holder is not None:
            self._holder.kill()  # its children end with it
            self._holder.communicate()

    def cpu(self) -> float:
        """Return the CPU seconds that everything on the hosts has taken, what is over included."""
        return sum(map(_ticks, tree(self.pid))) / os.sysconf("SC_CLK_TCK")

    def _start(self) -> None:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        _make_key(self.key)
        known = []
        for host in self.all:
            host.folder.mkdir()
            _make_key(host.folder / "host")
            (host.folder / "sshd_config").write_text(_SSHD.format(folder=host.folder, key=self.key), encoding="utf-8")
            kind, key, *_ = (host.folder / "host.pub").read_text(encoding="ascii").split()
            known.append(f"{host.address} {kind} {key}\n")
        self.known.write_text("".join(known), encoding="ascii")
        script = "".join(f"{shlex.join(_argv(it))} 2>{shlex.quote(f'{it.folder}/log')} & echo $!\n" for it in self.all)
        argv = ["setpriv", "--pdeathsig", "KILL", "--", "/bin/sh", "-c", script + "wait"]
        env = {"PATH": f"{os.defpath}:/usr/sbin:/sbin"}
        self._holder = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=env)
        self.pid = self._holder.pid
        if self._holder.stdout is None:
            raise SystemExit("bench: hosts cannot be started")
        end = time.monotonic() + _START
        pids = [int(self._holder.stdout.readline()) for _ in self.all]
        _run("ip", "link", "add", _BRIDGE, "type", "bridge")
        _run("ip", "address", "add", f"{_NETWORK}.1/24", "dev", _BRIDGE)
        _run("ip", "link", "set", _BRIDGE, "up")
        for number, (host, pid) in enumerate(zip(self.all, pids, strict=True)):
            _until(functools.partial(_has_own_network, pid), end, host)
            _connect(f"{_BRIDGE}{number}", host, pid)
        for host in self.all:
            _until(functools.partial(_answers, host), end, host)


def enter_own_network() -> None:
    """Leave the machine's network for an empty one that this process and its children have for themselves."""
    lacking = [it for it in ("ip", "unshare", "nsenter", "setpriv", "sshd", "ssh", "xargs") if not _which(it)]
    if lacking:
        raise SystemExit(f"bench: not installed: {', '.join(lacking)}")
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        why = os.strerror(ctypes.get_errno())
        raise SystemExit(f"bench: no network namespace for the simulated hosts: {why}; this needs root")
    _run("ip", "link", "set", "lo", "up")


def _argv(host: Host) -> list[str]:
    apart = ["unshare", "--net", "--pid", "--mount-proc", "--fork", "--kill-child"]
    sshd = [_which("sshd"), "-D", "-e", "-f", f"{host.folder}/sshd_config"]
    return ["setpriv", "--pdeathsig", "KILL", "--", *apart, "--", *sshd]


def _connect(cable: str, host: Host, pid: int) -> None:
    """Lay a cable from the bridge to a host, and give the host its address."""
    inside = ("nsenter", "--net", "--target", str(pid), "--", "ip")
    ends = ("type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _run("ip", "link", "add", cable, "master", _BRIDGE, "up", *ends)
    _run(*inside, "link", "set", "lo", "up")
    _run(*inside, "address", "add", f"{host.address}/24", "dev", "eth0")
    _run(*inside, "link", "set", "eth0", "up")


def _has_own_network(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path("/proc", str(pid), "ns", "net").readlink() != Path("/proc/self/ns/net").readlink()
    return False


def _answers(host: Host) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host.address, 22), timeout=1) as link:
        return link.recv(4) == b"SSH-"
    return False


def _ticks(pid: int) -> int:
    """Return the time of a process, and of those below it that it waited for."""
    with contextlib.suppress(OSError):
        stat = Path("/proc", str(pid), "stat").read_bytes()
        return sum(map(int, stat[stat.rindex(b")") + 2 :].split()[11:15]))
    return 0


def _until(is_so: Callable[[], bool], end: float, host: Host) -> None:
    while not is_so():
        if time.monotonic() > end:
            said = (host.folder / "log").read_text(errors="replace")[-2000:]
            raise SystemExit(f"bench: {host.name} does not start: {said}")
        time.sleep(0.02)


def _make_key(path: Path) -> None:
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(path))


def _which(program: str) -> str:
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])) or ""


def _run(*argv: str) -> None:
    done = subprocess.run([_which(argv[0]), *argv[1:]], check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(argv)}: {done.stderr.strip()}")
