"""A machine that is reached by SSH: a real sshd on the loopback that lets this user in with a key of the test."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server


class Machine(Server):
    """OpenSSH with a shell, for this user alone."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for key in ("host", "client"):
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(keygen, check=True, capture_output=True)
        shutil.copy(folder / "client.pub", folder / "authorized_keys")

    def argv(self) -> list[str]:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        )
        return ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)]

    def variables(self, *, known: bool = True) -> str:
        """Return the Ansible variables that lead here; the host's key is known, or it is not."""
        kind, key, *_ = (self.folder / "host.pub").read_text().split()
        hosts = self.folder / ("known" if known else "unknown")
        hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n" if known else "")
        options = f"-o UserKnownHostsFile={hosts} -o IdentitiesOnly=yes -o ControlMaster=no -o ControlPath=none"
        return (
            f"ansible_host: 127.0.0.1\nansible_port: {self.port}\nansible_user: {getpass.getuser()}\n"
            f"ansible_ssh_private_key_file: {self.folder}/client\nansible_ssh_common_args: {options}\n"
        )


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine."""
    folder = tmp_path / "machine"
    folder.mkdir()
    with Machine(folder) as made:
        yield made
