"""Real servers on the loopback, for tests: S3 by ``rclone serve s3``, SFTP by OpenSSH's sshd.

Each is ended by its own process id, and each answers only to keys made for the test.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Set
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
PATH = f"{BIN}:{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RCLONE = shutil.which("rclone", path=PATH) or "rclone"
_START = 15.0


@pytest.fixture(scope="session", autouse=True)
def clean_process_environment() -> Iterator[None]:
    """What the entry of the program does: rclone by PATH, and nothing that changes how tools behave."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", PATH)
        for name in os.environ:
            if name.startswith(("AWS_", "RCLONE_", "GNUPG", "GPG_", "SSH_AUTH_SOCK")):
                patch.delenv(name)
        yield


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    """Return when something listens on the port."""
    end = time.monotonic() + _START
    while time.monotonic() < end:
        if child.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")


class Server:
    """A child that serves one port until the block ends, or until it is killed in a test."""

    port: int
    log: Path

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.child: subprocess.Popen[bytes] | None = None

    def argv(self) -> list[str]:
        """Return the command that serves ``self.port`` in the foreground."""
        raise NotImplementedError

    def start(self) -> None:
        """Start on the port that it has, and wait until it listens."""
        with self.log.open("ab") as log:
            env = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
            # it ends with us, too, should we be killed
            argv = ["setpriv", "--pdeathsig", "KILL", "--", *self.argv()]
            self.child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
            )
        wait_for(self.port, self.child, self.log)

    def kill(self) -> None:
        """End it at once, with the processes that it started for its connections."""
        if self.child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, 9)  # its own session: nobody else's processes are in it
        self.child.wait()
        self.child = None

    def words(self) -> str:
        """Return what it has logged so far."""
        return self.log.read_text(errors="replace")

    def __enter__(self) -> Server:
        for _ in range(3):
            self.port = free_port()
            try:
                self.start()
            except RuntimeError:
                self.kill()  # somebody took the port in between
            else:
                return self
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()


class S3Server(Server):
    """``rclone serve s3`` over a folder; ``bucket`` exists. The log names every request."""

    access_key = "AKIAHERMESTEST"
    secret_key = "notasecretoutsidethistest"
    bucket = "snapshots"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.root = folder / "objects"
        (self.root / self.bucket).mkdir(parents=True, exist_ok=True)

    def argv(self) -> list[str]:
        keys = f"{self.access_key},{self.secret_key}"
        address = f"127.0.0.1:{self.port}"
        rclone = [RCLONE, "--config", "/dev/null", "serve", "s3", str(self.root)]
        return [*rclone, "--auth-key", keys, "--addr", address, "-vv", "--vfs-cache-mode", "off"]

    def section(self, name: str, *, secret: str | None = None) -> str:
        """Return the lines for rclone.conf; another ``secret`` makes the server refuse."""
        return (
            f"[{name}]\ntype = s3\nprovider = Rclone\nendpoint = http://127.0.0.1:{self.port}\n"
            f"access_key_id = {self.access_key}\nsecret_access_key = {secret or self.secret_key}\n"
        )


class Front:
    """Stands before an S3 server and answers 403 to what ``refuses`` says, by method and path.

    ``asked`` is every request, in order: method and path.
    """

    answer = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"

    def __init__(self, server: S3Server) -> None:
        self.server = server
        self.asked: list[tuple[str, str]] = []
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                front.asked.append((self.command, self.path))
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if front.refuses(self.command, self.path):
                    self.reply(403, front.answer, {"Content-Type": "text/xml"})
                    return
                upstream = http.client.HTTPConnection("127.0.0.1", front.server.port, timeout=30)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in {"connection", "expect"}}
                upstream.request(self.command, self.path, body, headers)
                got = upstream.getresponse()
                kept = ("ETag", "Last-Modified", "Content-Type", "Content-Length" if self.command == "HEAD" else "")
                self.reply(got.status, got.read(), {name: got.headers[name] for name in kept if name in got.headers})
                upstream.close()

            def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    def refuses(self, method: str, path: str) -> bool:
        """Say whether a request is refused."""
        raise NotImplementedError

    @property
    def section(self) -> str:
        """Return the lines for rclone.conf of a remote called ``r2``."""
        return self.server.section("r2").replace(f":{self.server.port}\n", f":{self._http.server_address[1]}\n")

    def __enter__(self) -> Front:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class PutOnlyFront(Front):
    """As put-only credentials would: whatever is not PUT or POST gets 403."""

    def refuses(self, method: str, path: str) -> bool:
        del path
        return method not in {"PUT", "POST"}


class ColdFront(Front):
    """As cold storage does: objects are listed and described, and those with ``cold`` in their names are not given."""

    answer = (
        b"<Error><Code>InvalidObjectState</Code>"
        b"<Message>The operation is not valid for the object's storage class</Message></Error>"
    )
    cold: tuple[str, ...] = ()
    methods: Set[str] = frozenset({"GET"})

    def refuses(self, method: str, path: str) -> bool:
        return method in self.methods and any(it in path.partition("?")[0] for it in self.cold)


class SftpServer(Server):
    """OpenSSH with ``internal-sftp`` and no shell: as root in a chroot, else in the folder as it is."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.chroot = os.geteuid() == 0
        # sshd wants every folder above the chroot to be root's alone, so it cannot lie under pytest's folder
        self._base = Path(tempfile.mkdtemp(prefix="hb-sftp-", dir="/run" if self.chroot else None))
        self._base.chmod(0o755)
        self.root = self._base / "files"
        self.root.mkdir()
        self.address_root = "/files" if self.chroot else str(self.root)
        for key in ("host", "client"):
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(keygen, check=True, capture_output=True)
        shutil.copy(folder / "client.pub", self._base / "authorized_keys")
        (self._base / "authorized_keys").chmod(0o644)

    def argv(self) -> list[str]:
        if self.chroot:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {self._base}/authorized_keys\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            "LogLevel ERROR\nMaxStartups 100\nMaxSessions 100\n"
            "Subsystem sftp internal-sftp\nForceCommand internal-sftp\n"
            + (f"ChrootDirectory {self._base}\n" if self.chroot else "")
        )
        return ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)]

    def section(self, name: str) -> str:
        """Return the lines for rclone.conf; the server's key is pinned."""
        import getpass

        known = self.folder / "known_hosts"
        kind, key, *_ = (self.folder / "host.pub").read_text().split()
        known.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        return (
            f"[{name}]\ntype = sftp\nhost = 127.0.0.1\nport = {self.port}\nuser = {getpass.getuser()}\n"
            f"key_file = {self.folder}/client\nknown_hosts_file = {known}\n"
        )

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        shutil.rmtree(self._base, ignore_errors=True)


def write_config(path: Path, *sections: str) -> Path:
    """Write an rclone.conf that only its owner reads."""
    path.touch(mode=0o600)
    path.write_text("\n".join(sections))
    return path


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One S3 server for the tests that leave it running."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    with server:
        yield server


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """One SFTP server for the tests that leave it running."""
    if not Path("/usr/sbin/sshd").exists():
        pytest.skip("sshd is not installed")
    server = SftpServer(tmp_path_factory.mktemp("sftp"))
    with server:
        yield server
