"""What a snapshot is, in its own words: the manifest that its host signs.

It tells sizes, hashes and counts, and nothing that the agent knows. Its text is ASCII, with sorted keys and
one value a line, so that the same manifest is always the same bytes and survives a clear signature unchanged.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

from hermes_backup.errors import MANIFEST_BAD, Fault
from hermes_backup.snapshots.names import HOST_RE, SnapshotName, is_delta, is_image, parse_file, role_of

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA_VERSION: Literal[1] = 1
LONGEST_MANIFEST = 64 * 1024 * 1024
# gpg 2.2 silently cuts lines of clear-signed text at 19,995 bytes, and signs the cut text (seen)
_LONGEST_STRING = 16_000
_KEPT_CHARACTERS = 600


def _fits_a_line(value: str) -> str:
    plain = value.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(json.dumps(plain)) <= _LONGEST_STRING:
        return plain
    return f"{plain[:_KEPT_CHARACTERS]}…{plain[-_KEPT_CHARACTERS:]}"


def _utc_second(value: datetime) -> datetime:
    if value.utcoffset() != timedelta(0) or value.microsecond:
        raise ValueError("not a whole second of UTC")
    return value.replace(tzinfo=timezone.utc)


def _folder(value: str) -> str:
    if HOST_RE.fullmatch(value) is None:
        raise ValueError("not a name that can be a folder")
    return value


def _snapshot(value: str) -> str:
    SnapshotName.parse(value)
    return value


Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}\z")]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^(?:[0-9A-F]{40}|[0-9A-F]{64})\z")]
Text = Annotated[str, AfterValidator(_fits_a_line)]
Folder = Annotated[str, AfterValidator(_folder)]
Moment = Annotated[
    datetime,
    AfterValidator(_utc_second),
    PlainSerializer(lambda value: value.strftime("%Y-%m-%dT%H:%M:%SZ"), return_type=str),
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", populate_by_name=True)


class Part(_Model):
    """One file of a snapshot: ``size`` and ``sha256`` of the file as it lies.

    ``plain_size`` counts the bytes that come out when encryption and compression are undone; a squashfs image, which
    compresses within itself, is one of them.
    """

    name: str
    role: Literal["data", "index"]
    size: Count
    sha256: Sha256
    plain_size: Count


class Database(_Model):
    """A SQLite file of the home: its size in pages, and how many rows each of its tables has.

    Where full-text tables are ``left_out``, named here and described in the index, ``contents`` gives for every table
    the SHA-256 of what it holds.
    """

    path: Text
    page_size: Count
    pages: Count
    tables: dict[Text, Count]
    contents: dict[Text, Sha256] = {}
    left_out: tuple[Text, ...] = ()

    @model_serializer(mode="wrap")
    def _without_what_is_empty(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Say nothing of what is not left out: so did manifests before there was such a thing."""
        said: dict[str, Any] = written(self)
        return {name: value for name, value in said.items() if value or name not in ("contents", "left_out")}

    @model_validator(mode="after")
    def _tells_of_all_or_none(self) -> Database:
        if bool(self.contents) != bool(self.left_out) or (self.contents and self.contents.keys() != self.tables.keys()):
            raise ValueError("what tables hold is told for all, where and only where tables are left out")
        return self


class PartialFile(_Model):
    """A file that could not be taken whole, and why."""

    path: Text
    reason: Text


class Manifest(_Model):
    """One snapshot. ``previous`` is the SHA-256 of the previous snapshot's signed manifest file.

    The data of a ``delta`` is a zstd patch against the unpacked data of ``base``, a full one. ``full_because`` says
    why a pipeline that makes deltas made none.
    """

    schema_version: Literal[1] = Field(default=SCHEMA_VERSION, alias="schema")
    host: Folder
    pipeline: Folder
    sequence: Annotated[int, Field(ge=1)]
    previous: Sha256 | None = None
    created: Moment
    kind: Literal["full", "delta"] = "full"
    base: Annotated[str, AfterValidator(_snapshot)] | None = None
    full_because: Text = ""
    format: Literal["tar", "squashfs"]
    compression: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,16}\z")]
    encryption: Literal["recipients", "passphrase", "none"]
    recipients: tuple[Fingerprint, ...] = ()
    parts: tuple[Part, ...]
    excluded: tuple[Text, ...] = ()
    files: Count
    bytes: Count
    databases: tuple[Database, ...] = ()
    partial: tuple[PartialFile, ...] = ()
    engine: Text

    @property
    def name(self) -> SnapshotName:
        """The name of the snapshot that this manifest describes."""
        return SnapshotName(self.sequence, self.created)

    @property
    def data(self) -> Part:
        """The snapshot's data."""
        return next(part for part in self.parts if part.role == "data")

    @property
    def index(self) -> Part | None:
        """The snapshot's list of files, when it has one."""
        return next((part for part in self.parts if part.role == "index"), None)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Manifest:
        for problem in _contradictions(self):
            raise ValueError(problem)
        return self


def to_json(manifest: Manifest) -> str:
    """Return the manifest's text: the same for the same manifest, ASCII, ending in a newline."""
    return json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True) + "\n"


def from_json(text: str) -> Manifest:
    """Read a manifest's text.

    Raises:
        Fault: MANIFEST_BAD for anything but the text that to_json gives, line ends and closing blanks aside.
    """
    if len(text) > LONGEST_MANIFEST:
        raise Fault(MANIFEST_BAD, f"the manifest is {len(text)} characters long")
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Fault(MANIFEST_BAD, f"the manifest cannot be read: {place}: {first['msg']}") from error
    # a key given twice parses too; only the one spelling says the same to every reader
    if text.replace("\r\n", "\n").rstrip() != to_json(manifest).rstrip():
        raise Fault(MANIFEST_BAD, "the manifest is not in the one spelling that this program writes")
    return manifest


def check_belongs(manifest: Manifest, host: str, pipeline: str, name: SnapshotName) -> None:
    """Check that a manifest describes the snapshot under whose name it lies.

    A valid signature is not enough: an old snapshot renamed as the newest is still signed.

    Raises:
        Fault: MANIFEST_BAD.
    """
    if (manifest.host, manifest.pipeline) != (host, pipeline):
        what = f"the manifest is of {manifest.host}/{manifest.pipeline} and lies at {host}/{pipeline}"
        raise Fault(MANIFEST_BAD, what, where=str(name))
    if manifest.name != name:
        raise Fault(MANIFEST_BAD, f"the manifest is of snapshot {manifest.name}", where=str(name))


def _contradictions(manifest: Manifest) -> Iterable[str]:
    roles = [part.role for part in manifest.parts]
    if roles.count("data") != 1 or roles.count("index") > 1:
        yield "a snapshot has one part with data and at most one index"
    for part in manifest.parts:
        yield from _misnamed(part, manifest)
    if (manifest.kind == "delta") != (manifest.base is not None):
        yield "a delta names its base, a full snapshot none"
    if manifest.base is not None and SnapshotName.parse(manifest.base).sequence >= manifest.sequence:
        yield "a base is older than its delta"
    if manifest.kind == "delta" and manifest.full_because:
        yield "a delta is not full"
    if (manifest.encryption == "recipients") != bool(manifest.recipients):
        yield "recipients are named when, and only when, the snapshot is encrypted to recipients"


def _misnamed(part: Part, manifest: Manifest) -> Iterable[str]:
    parsed = parse_file(part.name)
    if parsed is None or parsed[0] != manifest.name or role_of(parsed[1]) != part.role:
        yield f"{part.name[:80]!r} is not the name of this snapshot's {part.role}"
    elif part.name.endswith(".gpg") != (manifest.encryption != "none"):
        yield f"{part.name} does not fit encryption: {manifest.encryption}"
    elif part.role == "data" and is_image(part.name) != (manifest.format == "squashfs"):
        yield f"{part.name} does not fit format: {manifest.format}"
    elif part.role == "data" and is_delta(part.name) != (manifest.kind == "delta"):
        yield f"{part.name} does not fit kind: {manifest.kind}"
