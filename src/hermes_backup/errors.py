"""Every error that this program knows: a stable name, an exit code, what it means and how to mend it.

The catalog below is the source of ``docs/errors.md``. An error is raised as ``Fault(KIND, what, where=…)``;
its text says what happened this time, its kind says what to do about it.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command."""

    OK = 0
    BUG = 1
    USAGE = 2
    CONFIG = 3
    PARTIAL = 4
    STAGE = 5
    HOSTS = 6
    LOCKED = 7
    KEY = 8
    VERIFY = 9
    STALE = 10
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "done, and proven as far as the command claims",
    ExitCode.BUG: "unexpected: a bug",
    ExitCode.USAGE: "usage",
    ExitCode.CONFIG: "configuration invalid",
    ExitCode.PARTIAL: "done but partial: some files changed or could not be read, each named",
    ExitCode.STAGE: "a stage failed",
    ExitCode.HOSTS: "some hosts failed or were unreachable",
    ExitCode.LOCKED: "another run holds the lock",
    ExitCode.KEY: "a key is missing, expired, or cannot do its job",
    ExitCode.VERIFY: "verification, restore check or drill failed",
    ExitCode.STALE: "stale: the newest snapshot or drill is older than allowed or gone, or snapshots do not count",
    ExitCode.INTERRUPTED: "interrupted, and cleaned up",
}


@dataclass(frozen=True)
class Kind:
    """One sort of error: ``name`` is stable, ``means`` is a sentence, ``mend`` says what to do."""

    name: str
    exit_code: ExitCode
    means: str
    mend: str


class Fault(Exception):  # noqa: N818 - a fault has a kind, and the kinds have names
    """An error of a known kind: what happened, where, and what mends it."""

    def __init__(self, kind: Kind, what: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.where = where
        self.mend = mend or kind.mend

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what} [{self.kind.name}]"


_C = ExitCode
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says of a full disk and of a quota that is used up (write(2))."""

# Usage and configuration
INVENTORY_MISSING = Kind(
    "HB-INVENTORY-MISSING",
    _C.CONFIG,
    "No inventory has this name.",
    "Give a path or one of the names listed, or make one: hermes-backup init NAME.",
)
HOST_MISSING = Kind("HB-HOST-MISSING", _C.CONFIG, "The inventory has no such host.", "Give one of the hosts listed.")
PIPELINE_MISSING = Kind(
    "HB-PIPELINE-MISSING",
    _C.CONFIG,
    "The host has no pipeline of this name.",
    "Give one of the pipelines listed, or declare it under hermes_backup_pipelines.",
)
CONFIG_YAML = Kind("HB-CONFIG-YAML", _C.CONFIG, "A file is not valid YAML.", "Mend the YAML at the place named.")
CONFIG_INVALID = Kind(
    "HB-CONFIG-INVALID",
    _C.CONFIG,
    "A setting is unknown, missing or of the wrong type.",
    "Mend the setting at the place named; hermes-backup show prints what is in force.",
)
CONFIG_TEMPLATE = Kind(
    "HB-CONFIG-TEMPLATE",
    _C.CONFIG,
    "A Jinja2 template of the inventory could not be filled.",
    "Define the variable that it names, or mend the template.",
)
PIPELINE_ORDER = Kind(
    "HB-PIPELINE-ORDER",
    _C.CONFIG,
    "A stage stands where it cannot work.",
    "Let it stand where its input is made, and leave out no stage that it needs.",
)
AGENT_CONFIG_MISSING = Kind(
    "HB-AGENT-CONFIG-MISSING",
    _C.CONFIG,
    "This host has no rendered pipelines.",
    "Run hermes-backup run INVENTORY from the controller once, or give --config.",
)

# The home
HOME_MISSING = Kind(
    "HB-HOME-MISSING",
    _C.STAGE,
    "The Hermes home does not exist.",
    "Set hermes_backup_home to the folder that holds state.db and SOUL.md.",
)
HOME_AMBIGUOUS = Kind(
    "HB-HOME-AMBIGUOUS",
    _C.CONFIG,
    "No home is declared, and several are found.",
    "Set hermes_backup_home to one of them. Several are several hosts of the inventory, each with its own "
    "hermes_backup_home and hermes_backup_unit.",
)
HOME_EMPTY = Kind(
    "HB-HOME-EMPTY",
    _C.STAGE,
    "Nothing of the home is left to back up.",
    "Set hermes_backup_home, or loosen the exclusions: they leave nothing.",
)
HOME_OCCUPIED = Kind(
    "HB-HOME-OCCUPIED",
    _C.STAGE,
    "Something lies where the home is to be brought, and nothing says that it is older than the snapshots.",
    "Move it away to begin with the newest snapshot, or go on with it: --keep-home.",
)
HOME_DIVERGED = Kind(
    "HB-HOME-DIVERGED",
    _C.STAGE,
    "This machine has written to the home after another machine went on with it.",
    "Move the folder named away to begin with the newest snapshot, or go on with this one: --keep-home.",
)
HOME_LINK = Kind(
    "HB-HOME-LINK",
    _C.CONFIG,
    "The home is reached through a link that another user made.",
    "Declare the folder itself as hermes_backup_home; root follows only links that root made.",
)
HOME_OWNER = Kind(
    "HB-HOME-OWNER",
    _C.CONFIG,
    "The home belongs to another user than the declared one.",
    "Correct hermes_backup_owner, or give the folder to its owner.",
)
HOME_IN_USE = Kind(
    "HB-HOME-IN-USE",
    _C.LOCKED,
    "Other processes have files of the home open, and a second agent would write beside them.",
    "End the processes named, then start again; nothing was changed.",
)
HOME_UNREADABLE = Kind(
    "HB-HOME-UNREADABLE", _C.STAGE, "The Hermes home cannot be read.", "Run as the home's owner or as root."
)

# Stages and streams
STAGE_FAILED = Kind(
    "HB-STAGE-FAILED",
    _C.STAGE,
    "A stage failed.",
    "Read the cause above; the previous snapshot is untouched and the next run starts afresh.",
)
TOOL_MISSING = Kind(
    "HB-TOOL-MISSING", _C.STAGE, "A program that a stage needs is not installed.", "Install the package named."
)
DISK_FULL = Kind(
    "HB-DISK-FULL",
    _C.STAGE,
    "A file system has no room left.",
    "Free space where named, or point the setting at another file system.",
)
COMMAND_FAILED = Kind(
    "HB-COMMAND-FAILED",
    _C.STAGE,
    "A command that the pipeline declares failed.",
    "Run the command by hand on the host; its last lines are above.",
)
SERVICE_FAILED = Kind(
    "HB-SERVICE-FAILED", _C.STAGE, "A unit could not be stopped or started.", "Look at it with systemctl status."
)
FOLDER_EXPOSED = Kind(
    "HB-FOLDER-EXPOSED",
    _C.STAGE,
    "Another user of this machine can change what lies in a store, a remote that is a folder, or the state folder.",
    "Let only root and the user who backs up own the folder named and write to it: chmod go-w FOLDER.",
)
PUSH_FAILED = Kind(
    "HB-PUSH-FAILED",
    _C.STAGE,
    "A remote did not take the snapshot.",
    "Check the remote's address, credentials and room; other places have their copy.",
)
REMOTE_UNREACHABLE = Kind(
    "HB-REMOTE-UNREACHABLE",
    _C.STAGE,
    "A remote cannot be reached or refuses us.",
    "Check the network and the remote's credentials in hermes_backup_rclone_config.",
)
REMOTE_REFUSED = Kind(
    "HB-REMOTE-REFUSED",
    _C.STAGE,
    "A remote answers, and does not let these credentials do this.",
    "Credentials that only write are right for a host; look with those of the trusted machine.",
)
SNAPSHOT_UNREADABLE = Kind(
    "HB-SNAPSHOT-UNREADABLE",
    _C.STAGE,
    "A place shows a file of a snapshot, and does not give it.",
    "Bring the file back from cold storage, or let these credentials read it. Other snapshots are not affected.",
)
REMOTE_NAME = Kind(
    "HB-REMOTE-NAME",
    _C.CONFIG,
    "A remote's address holds characters that are not allowed.",
    "Use REMOTE:PATH or an absolute path of letters, digits and _ . / @ + = -",
)
PRUNE_CLOCK = Kind(
    "HB-PRUNE-CLOCK",
    _C.STAGE,
    "The clock stands before every snapshot, or before an earlier look at them; nothing is pruned.",
    "Set the clock, then prune again.",
)
BUG = Kind(
    "HB-BUG",
    _C.BUG,
    "Something happened that this program does not expect.",
    "Please report it, with the traceback above; nothing is published that is not whole.",
)
LOCKED = Kind(
    "HB-LOCKED",
    _C.LOCKED,
    "Another run of this pipeline is under way.",
    "Wait for it to end; the lock frees itself when the run ends, however it ends.",
)
LEASE_HELD = Kind(
    "HB-LEASE-HELD",
    _C.LOCKED,
    "Another machine writes this home.",
    "Stop the other one; what ended without a word is taken over when its lease has run out.",
)
INTERRUPTED = Kind(
    "HB-INTERRUPTED",
    _C.INTERRUPTED,
    "The run was interrupted; its temporaries are gone.",
    "Start it again when you like: what was not finished is gone.",
)

# Keys
KEY_MISSING = Kind(
    "HB-KEY-MISSING",
    _C.KEY,
    "A recipient's public key is not there.",
    "Put the exported key into the inventory's keys/ folder: gpg --armor --export FINGERPRINT > keys/NAME.asc",
)
KEY_SIGN_ONLY = Kind(
    "HB-KEY-SIGN-ONLY",
    _C.KEY,
    "A recipient's key can sign but cannot encrypt.",
    "Add an encryption subkey: gpg --quick-add-key FINGERPRINT rsa4096 encr; then export the key again.",
)
KEY_EXPIRED = Kind(
    "HB-KEY-EXPIRED",
    _C.KEY,
    "A recipient's key has expired, or the clock is wrong.",
    "Check the clock; else extend the key (gpg --quick-set-expire FINGERPRINT 2y) and export it again.",
)
KEY_REVOKED = Kind(
    "HB-KEY-REVOKED", _C.KEY, "A recipient's key is revoked or disabled.", "Replace it in hermes_backup_recipients."
)
KEY_INVALID = Kind(
    "HB-KEY-INVALID",
    _C.KEY,
    "A key file or fingerprint is not usable.",
    "Give full 40-digit fingerprints and keys exported by gpg --armor --export.",
)
KEY_SECRET_MISSING = Kind(
    "HB-KEY-SECRET-MISSING",
    _C.KEY,
    "No private key here can decrypt this snapshot.",
    "Restore on the trusted machine, or set hermes_backup_gnupghome to where the private key is.",
)
KEY_PASSPHRASE = Kind(
    "HB-KEY-PASSPHRASE", _C.KEY, "The passphrase is missing, empty or wrong.", "Check the credential file named."
)
HOST_KEY_CHANGED = Kind(
    "HB-HOST-KEY-CHANGED",
    _C.KEY,
    "A host signs with another key than the one pinned.",
    "If the host was set up anew, remove its pinned key file and run again; if not, treat the host as stolen.",
)
HOST_KEY_MISSING = Kind(
    "HB-HOST-KEY-MISSING",
    _C.KEY,
    "No signing key is pinned for this host.",
    "Run a backup through hermes-backup run first, or put the host's key into keys/hosts/HOST.asc.",
)

# Snapshots
SNAPSHOT_MISSING = Kind(
    "HB-SNAPSHOT-MISSING",
    _C.CONFIG,
    "There is no such snapshot.",
    "hermes-backup list INVENTORY shows those that there are.",
)
PATH_MISSING = Kind(
    "HB-PATH-MISSING",
    _C.CONFIG,
    "The snapshot holds no such file or folder.",
    "hermes-backup find INVENTORY HOST PATTERN shows what it holds, and in which snapshots.",
)
PATH_NO_FILE = Kind(
    "HB-PATH-NO-FILE",
    _C.USAGE,
    "A folder or a link is named where a file is wanted.",
    "hermes-backup ls INVENTORY HOST SNAPSHOT PATH shows what lies there.",
)
SIGNATURE_BAD = Kind(
    "HB-SIGNATURE-BAD",
    _C.VERIFY,
    "A manifest's signature is missing, invalid or by another key.",
    "Do not restore from it; take another snapshot or remote, and find out who wrote this one.",
)
MANIFEST_BAD = Kind(
    "HB-MANIFEST-BAD",
    _C.VERIFY,
    "A manifest does not belong where it lies, or cannot be read.",
    "Do not restore from it; take another snapshot or remote.",
)
CHAIN_BROKEN = Kind(
    "HB-CHAIN-BROKEN",
    _C.VERIFY,
    "A manifest does not name its predecessor.",
    "Somebody replaced or reordered snapshots; compare with another remote.",
)
ROLLBACK = Kind(
    "HB-ROLLBACK",
    _C.VERIFY,
    "A place lacks the newest snapshot that another place of the same pipeline holds, or that it once held itself.",
    "A push failed, or somebody deleted or replaced there: look at list, and restore from the place that has it.",
)
SNAPSHOT_SUSPECT = Kind(
    "HB-SNAPSHOT-SUSPECT",
    _C.VERIFY,
    "The host's key signed a snapshot that no run of its schedule explains; it does not count, and is not deleted.",
    "Look which: hermes-backup quarantine INVENTORY HOST --dry-run. If it was you, by runs by hand, they count by: "
    "hermes-backup quarantine INVENTORY HOST --trust. Without --trust it moves aside what is not the host's.",
)
DATA_DAMAGED = Kind(
    "HB-DATA-DAMAGED",
    _C.VERIFY,
    "A snapshot's bytes are not those that were written.",
    "Take another snapshot or remote.",
)
BASE_MISSING = Kind(
    "HB-BASE-MISSING",
    _C.VERIFY,
    "A snapshot holds what changed since another one, which is not there.",
    "Take another remote by --from, or another snapshot; the next run makes a full one where a remote lacks the last.",
)
INDEX_TOO_LARGE = Kind(
    "HB-INDEX-TOO-LARGE",
    _C.VERIFY,
    "A list of files is larger than any home's that is backed up.",
    "Find out who wrote this snapshot; take another one, or bring it back by the commands of its RESTORE.txt.",
)
RESTORE_REFUSED = Kind(
    "HB-RESTORE-REFUSED",
    _C.VERIFY,
    "A snapshot holds an entry or a statement that is not safe to bring back.",
    "Do not restore from it; take another snapshot.",
)
RESTORE_CHECK = Kind(
    "HB-RESTORE-CHECK",
    _C.VERIFY,
    "What came out is not what the manifest promises.",
    "Take another snapshot; the target was left alone.",
)
HOME_HELD = Kind(
    "HB-HOME-HELD",
    _C.STAGE,
    "Processes have files of the home open, and belong to no service that could be stopped.",
    "End them, then restore again; nothing was changed.",
)
HOME_MOUNTED = Kind(
    "HB-HOME-MOUNTED",
    _C.CONFIG,
    "What would be replaced is a mount point or has one in it, so it cannot be moved aside.",
    "Restore into a folder with --to, or single files with --path; or declare a folder below the mount as the home.",
)
TARGET_NOT_EMPTY = Kind(
    "HB-TARGET-NOT-EMPTY", _C.USAGE, "The target folder is not empty.", "Give a folder that does not exist yet."
)

# Agent
NOTIFY_FAILED = Kind(
    "HB-NOTIFY-FAILED",
    _C.STAGE,
    "Somebody who should be told of a failed run was not reached.",
    "Check the addresses in hermes_backup_notify, and whether this host reaches them.",
)

# Fleet
HOSTS_FAILED = Kind(
    "HB-HOSTS-FAILED", _C.HOSTS, "Some hosts failed or could not be reached.", "Each is named above with its cause."
)
HOST_SKIPPED = Kind(
    "HB-HOST-SKIPPED",
    _C.HOSTS,
    "A host was not begun, because too many before it failed.",
    "Mend those that failed, then run again with --limit for the rest.",
)
HOST_UNREACHABLE = Kind("HB-HOST-UNREACHABLE", _C.HOSTS, "A host cannot be reached.", "Try: ssh HOST true.")
AGENT_MISSING = Kind(
    "HB-AGENT-MISSING",
    _C.HOSTS,
    "The host has no hermes-backup.",
    "hermes-backup deploy INVENTORY installs it; or set hermes_backup_agent to its path there.",
)
PACKAGES_MISSING = Kind(
    "HB-PACKAGES-MISSING",
    _C.HOSTS,
    "The agent's packages cannot be had.",
    "Let this machine reach its package index, or set hermes_backup_packages: index for hosts that reach one.",
)
PYTHON_MISSING = Kind(
    "HB-PYTHON-MISSING",
    _C.HOSTS,
    "The host has no Python that the agent can run on.",
    "Install Python 3.10 or newer there: apt-get install python3",
)
DEPLOY_STALE = Kind(
    "HB-DEPLOY-STALE",
    _C.HOSTS,
    "What is deployed on a host is not what the inventory declares.",
    "hermes-backup deploy INVENTORY --limit HOST, or run without --no-deploy.",
)
SCHEDULE_FAILED = Kind(
    "HB-SCHEDULE-FAILED",
    _C.STAGE,
    "This machine's systemd does not take the timer.",
    "See what systemctl said; without systemd let another scheduler call the command.",
)
CONFIRM = Kind(
    "HB-CONFIRM",
    _C.USAGE,
    "This asks before it does anything, and nobody is there to answer.",
    "Say so with --yes.",
)
DEPLOY_FAILED = Kind(
    "HB-DEPLOY-FAILED",
    _C.HOSTS,
    "The host could not be brought to its declared state.",
    "Mend what the named task says, and deploy again: it goes on where it stopped.",
)
FLEET_MISSING = Kind(
    "HB-FLEET-MISSING",
    _C.USAGE,
    "This installation has no Ansible.",
    "Install it with its fleet extra: pip install 'hermes-backup[fleet]' (Python 3.11 or newer).",
)

# Reports
STALE = Kind(
    "HB-STALE",
    _C.STALE,
    "A host's newest snapshot is older than allowed, or there is none.",
    "Look why: hermes-backup logs INVENTORY HOST; then back up: hermes-backup run INVENTORY --limit HOST.",
)
DRILL_OVERDUE = Kind(
    "HB-DRILL-OVERDUE",
    _C.STALE,
    "A host's last drill is longer ago than allowed.",
    "hermes-backup drill INVENTORY --limit HOST; and every quarter by itself: hermes-backup schedule drill INVENTORY",
)
AGE_UNKNOWN = Kind(
    "HB-AGE-UNKNOWN",
    _C.HOSTS,
    "No place tells how old a host's newest snapshot is.",
    "Make the place readable again that is named; this machine's own rclone.conf is asked.",
)
LOG_MISSING = Kind(
    "HB-LOG-MISSING",
    _C.CONFIG,
    "The host has no log of a run.",
    "Has it run? hermes-backup status INVENTORY says when. Reading the journal takes root, or group systemd-journal.",
)

# What status says, and no command fails by
UNPROVEN = Kind(
    "HB-UNPROVEN",
    _C.OK,
    "A snapshot's name is newer than the newest one that is proven.",
    "hermes-backup verify INVENTORY HOST says more; find out who wrote it.",
)
KEY_EXPIRES = Kind(
    "HB-KEY-EXPIRES",
    _C.OK,
    "A recipient's key expires soon; backups fail from then on.",
    "Extend it (gpg --quick-set-expire FINGERPRINT 2y), and export it into keys/ again.",
)
TIMER_MISSING = Kind(
    "HB-TIMER-MISSING",
    _C.OK,
    "A pipeline has a schedule, and no timer of the host waits for it.",
    "hermes-backup deploy INVENTORY --limit HOST",
)
DRILL_DUE = Kind(
    "HB-DRILL-DUE",
    _C.OK,
    "Nobody has proven yet that a host's backups come back.",
    "hermes-backup drill INVENTORY --limit HOST; and every quarter by itself: hermes-backup schedule drill INVENTORY",
)
RUN_PARTIAL = Kind(
    "HB-RUN-PARTIAL",
    _C.OK,
    "The last run left out files that it could not read, or holds them as they lay.",
    "hermes-backup logs INVENTORY HOST names them; mend what keeps them from being read.",
)
RUN_LOST = Kind(
    "HB-RUN-LOST",
    _C.OK,
    "The last run ended without a last word: killed, out of memory, or never begun.",
    "hermes-backup logs INVENTORY HOST",
)
REMARKS = frozenset({UNPROVEN, KEY_EXPIRES, TIMER_MISSING, DRILL_DUE, RUN_PARTIAL, RUN_LOST})


def from_system(error: OSError, where: str, what: str = "") -> Fault:
    """Say what the system refused: no room is an error of its own."""
    kind = DISK_FULL if error.errno in NO_ROOM else STAGE_FAILED
    said = what or error.strerror or str(error)
    return Fault(kind, f"{said}: {error.filename}" if error.filename and not what else said, where=where)


def catalog() -> tuple[Kind, ...]:
    """Every kind of error, in the order of this file."""
    return tuple(value for value in globals().values() if isinstance(value, Kind))
