"""Where a pipeline's snapshots lie, and which of them is wanted, as the trusted machine sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hermes_backup.errors import HOST_KEY_MISSING, PIPELINE_MISSING, SNAPSHOT_MISSING, Fault
from hermes_backup.pipeline.config import HostConfig, pipeline_of
from hermes_backup.pipeline.drilled import makes_snapshots
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.snapshots.addresses import place_at
from hermes_backup.snapshots.catalog import Catalog, read_catalog
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.gate import shown
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.stages.push import Push
from hermes_backup.stages.store import Store
from hermes_backup.streams.scratch import scratch


def backups(config: HostConfig, wanted: str = "") -> tuple[Pipeline, ...]:
    """Return the pipelines of a host that make snapshots, or just the one that is wanted.

    Raises:
        Fault: PIPELINE_MISSING.
    """
    names = [wanted] if wanted else list(config.pipelines)
    made = [pipeline_of(config, name) for name in names]
    kept = tuple(it for it in made if makes_snapshots(it))
    if wanted and not kept:
        raise Fault(PIPELINE_MISSING, f"pipeline {wanted!r} of host {config.host} makes no snapshots")
    return kept


def places_of(config: HostConfig, pipeline: Pipeline, only: str = "") -> tuple[Place, ...]:
    """Return the places to look into: the remotes, and the store where the host is its own controller.

    The trusted machine uses its own rclone configuration, not the one that its hosts get.

    Raises:
        Fault: SNAPSHOT_MISSING for a place that is not the pipeline's.
    """
    found: dict[str, Place] = {}
    for stage in pipeline.stages:
        if isinstance(stage, Push):
            found |= {it: place_at(it) for it in stage.to}
        elif isinstance(stage, Store) and config.own_controller:
            found[str(stage.path)] = FolderPlace(stage.path)
    if not only:
        return tuple(found.values())
    if only not in found:
        what = f"pipeline {pipeline.name} does not go to {shown(only)!r}"
        raise Fault(SNAPSHOT_MISSING, what, mend=f"known: {', '.join(found)}")
    return (found[only],)


def catalogs(config: HostConfig, pipeline: Pipeline, only: str = "") -> Iterator[tuple[Place, Catalog | Fault]]:
    """Look into every place; one that cannot be reached gives its fault and does not stop the others."""
    for place in places_of(config, pipeline, only):
        try:
            yield place, read_catalog(place, config.host, pipeline.name)
        except Fault as fault:
            yield place, fault


@contextmanager
def pinned_key(pins: Path, host: str) -> Iterator[Pinned]:
    """Load the key that is pinned for a host.

    Raises:
        Fault: HOST_KEY_MISSING, KEY_INVALID.
    """
    file = pins / f"{host}.asc"
    try:
        armored = file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise Fault(HOST_KEY_MISSING, f"no key is pinned for host {host}", where=str(file)) from None
    with scratch() as folder, Pinned.load(armored, folder) as pinned:
        yield pinned
