"""``schedule``: units that systemd takes, and none where it does not."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.fleet.ground import Ground

SYSTEMD = Path("/run/systemd/system").is_dir()


def test_the_units_are_sound_to_systemd_whatever_the_folder_is_called(ground: Ground, tmp_path: Path) -> None:
    odd = ground.root / '50% of $HOME "and" more'
    (ground.root / "prod").rename(odd)
    done = ground.call("schedule", "prune", str(odd), "--dry-run")
    assert done.code == 3
    assert "cannot name a unit of systemd" in done.err
    (odd / "prod").mkdir()
    for it in [it for it in odd.iterdir() if it.name != "prod"]:
        it.rename(odd / "prod" / it.name)
    done = ground.call("schedule", "prune", str(odd / "prod"), "--dry-run", "--on-calendar", "Mon *-*-* 05:30")
    assert done.code == 0, done.err
    for name, text in re.findall(r"# \S+/(hermes-backup-prune-prod\.\w+)\n(.*?)(?=\n# /|\Z)", done.out, re.DOTALL):
        (tmp_path / name).write_text(text)
    files = sorted(tmp_path.glob("hermes-backup-prune-prod.*"))
    assert len(files) == 2
    checked = subprocess.run(["systemd-analyze", "verify", *map(str, files)], capture_output=True, text=True)
    complaints = [line for line in checked.stderr.splitlines() if "hermes-backup" in line]
    assert (checked.returncode, complaints) == (0, [])
    assert (
        'prune "' + str(odd / "prod" / "hosts.yml").replace("%", "%%").replace("$", "$$").replace('"', '\\"')
        in done.out
    )


@pytest.mark.parametrize("calendar", ["tomorrowish", "*-*-* 25:00", "", "daily\nExecStart=/bin/true"])
def test_a_schedule_that_is_none_is_refused(ground: Ground, calendar: str) -> None:
    done = ground.call("schedule", "prune", "./prod", "--on-calendar", calendar)
    assert done.code == 3
    assert "[HB-CONFIG-INVALID]" in done.err


@pytest.mark.skipif(SYSTEMD, reason="this machine's systemd would take it")
def test_without_systemd_nothing_is_left(ground: Ground) -> None:
    done = ground.call("schedule", "prune", "./prod")
    assert done.code == 5
    assert "[HB-SCHEDULE-FAILED]" in done.err
    assert not list(Path("/etc/systemd/system").glob("hermes-backup-prune-*"))


def test_a_drill_runs_as_its_pipeline_is_scheduled(ground: Ground) -> None:
    done = ground.call("schedule", "drill", "./prod", "--dry-run", GNUPGHOME="/srv/keys", TMPDIR="/var/tmp")
    assert done.code == 0, done.err
    assert "OnCalendar=*-01,04,07,10-05 04:00\nPersistent=true" in done.out
    assert ' drill "' in done.out
    assert 'Environment="GNUPGHOME=/srv/keys"\nEnvironment="TMPDIR=/var/tmp"' in done.out
    done = ground.call("schedule", "drill", "./prod", "--dry-run", "--on-calendar", "Mon *-*-* 05:00",
                       "--passphrase-file", "/etc/50% secret")  # fmt: skip
    assert "OnCalendar=Mon *-*-* 05:00" in done.out
    assert "LoadCredential=gpg-passphrase:/etc/50%% secret\n" in done.out
    ground.settings("hermes_backup_pipelines: {nightly: {stages: [archive, {encrypt: {recipients: "
                    f"[{ground.recipient.fingerprint}]}}}}, {{store: {{path: {ground.root}/store}}}}]}}}}")  # fmt: skip
    done = ground.call("schedule", "drill", "./prod", "--dry-run")
    assert (done.code, "[HB-PIPELINE-MISSING]" in done.err) == (3, True)
