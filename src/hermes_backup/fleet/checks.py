"""The check of one host's values: what is wrong, where, and what mends it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from hermes_backup import APP
from hermes_backup.errors import CONFIG_INVALID, CONFIG_TEMPLATE, PIPELINE_ORDER, Fault, Kind
from hermes_backup.fleet.coming import unfit
from hermes_backup.fleet.limits import beyond
from hermes_backup.fleet.means import Means
from hermes_backup.pipeline.config import HostConfig, parse_config
from hermes_backup.pipeline.locate import Spot
from hermes_backup.pipeline.model import Pipeline, Problem, explain, parse_pipeline, parse_stage
from hermes_backup.stages.stage import Stage

if TYPE_CHECKING:
    from hermes_backup.fleet.answers import Answer, BadTemplate, Steps
    from hermes_backup.fleet.places import Places

PLACEHOLDER = "CHANGE-ME"
"""What ``init`` writes where only the operator knows the value."""
_PREFIX = "hermes_backup_"
_BY_US = ("version", "host", "public_keys", "own_controller")
_ITEM = 2


@dataclass(frozen=True)
class Found:
    """Something wrong: its place, the fault, and the hosts that it concerns (none: all of them)."""

    spot: Spot
    fault: Fault
    hosts: frozenset[str]


def check_host(
    answer: Answer, places: Places, keys: Sequence[str], defaults: Path
) -> tuple[HostConfig | None, Means, tuple[Found, ...]]:
    """Make the configuration of a host; return with it, or instead of it, everything that is wrong."""
    checker = _Checker(answer, places, defaults)
    data = _data(answer, keys)
    made = parse_config(data)
    problems = [] if isinstance(made, HostConfig) else _all_problems(made, data)
    means, more = _means(answer)
    if isinstance(made, HostConfig):
        more = [*more, *unfit(made, means), *beyond(made, means)]
    found = [*checker.templates(), *checker.placeholders(), *checker.settings([*problems, *more])]
    return (None if found or not isinstance(made, HostConfig) else made), means, tuple(found)


@dataclass(frozen=True)
class _Checker:
    answer: Answer
    places: Places
    defaults: Path

    def templates(self) -> Iterator[Found]:
        """Say of every template that could not be filled which variable is missing; consequences are left out."""
        ours = [it for it in self.answer.errors if it.spot is None or it.spot.file != self.defaults]
        said = {it.what for it in ours}
        for bad in (*ours, *(it for it in self.answer.errors if it not in ours and it.what not in said)):
            yield self._found(self._template_spot(bad), f"{_dotted(bad.path)}: {bad.what}", CONFIG_TEMPLATE)

    def placeholders(self) -> Iterator[Found]:
        """Find what ``init`` wrote and nobody changed."""
        for name, value in self.answer.values.items():
            for path in _with_placeholder(value, (name,)):
                yield self._found(
                    self.places.find(path),
                    f"{name}: still the placeholder",
                    mend=_PLACEHOLDER_MENDS.get(name, "Replace it by your own value."),
                )

    def settings(self, problems: Sequence[Problem]) -> Iterator[Found]:
        """Give every problem of the model its place; a default is not at fault, but the variable that it uses."""
        blamed = {name for name, value in self.answer.values.items() if any(_with_placeholder(value, (name,)))}
        told: set[tuple[Spot, str]] = set()
        for problem in problems:
            if problem.path[:1] == ("host",):
                yield self._found(self.places.host(), problem.what, mend=problem.mend)
                continue
            path = (_PREFIX + str(problem.path[0]), *problem.path[1:]) if problem.path else (f"{_PREFIX}pipelines",)
            if self._failed(path) or self._is_placeholder(path):
                continue
            spot = self.places.find(path)
            cause = self._cause(spot)
            if cause in blamed:
                continue
            if cause is not None:
                blamed.add(cause)
                spot = self.places.variable(cause)
                if spot.file == self.defaults:  # set nowhere: name the inventory
                    spot = Spot(self.places.inventory.hosts_file)
            if (spot, problem.what) not in told:  # a value that is used twice is wrong once
                told.add((spot, problem.what))
                yield self._found(spot, *self._told(path, problem, cause))

    def _told(self, path: Steps, problem: Problem, cause: str | None) -> tuple[str, Kind, str]:
        kind = PIPELINE_ORDER if self._is_order(path) else CONFIG_INVALID
        if cause is None:
            return f"{_dotted(path)}: {_plain(problem.what)}", kind, problem.mend
        empty = not self.answer.values.get(cause)
        text = f"{cause} is not set, and {_dotted(path)} needs it" if empty else f"{cause}: {_plain(problem.what)}"
        return text, kind, _UNSET_MENDS.get(cause, "") if empty else problem.mend

    def _cause(self, spot: Spot) -> str | None:
        """Return the variable that a default uses in this place; None when the place is the operator's own."""
        if spot.file != self.defaults or not spot.line:
            return None
        line = self.defaults.read_text(encoding="utf-8").splitlines()[spot.line - 1]
        used = re.search(rf"\{{\{{.*?({_PREFIX}\w+)", line)
        return used.group(1) if used else None

    def _is_order(self, path: Steps) -> bool:
        """A stage that is sound by itself, and yet refused, stands in the wrong place."""
        if len(path) < _ITEM or path[-2] != "stages" or not isinstance(path[-1], int):
            return False
        return isinstance(parse_stage(self._value(path)), Stage)

    def _is_placeholder(self, path: Steps) -> bool:
        value = self._value(path)
        return any(isinstance(it, str) and PLACEHOLDER in it for it in (value if isinstance(value, list) else [value]))

    def _value(self, path: Steps) -> Any:
        """Return what a path leads to; None when it leads nowhere."""
        value: Any = self.answer.values
        for step in path:
            try:
                value = value[step]
            except (LookupError, TypeError):
                return None
        return value

    def _failed(self, path: Steps) -> bool:
        failed = [it.path for it in self.answer.errors]
        return any(path[: len(it)] == it or it[: len(path)] == path for it in failed)

    def _template_spot(self, bad: BadTemplate) -> Spot:
        return bad.spot or self.places.find(bad.path)

    def _found(self, spot: Spot, what: str, kind: Kind = CONFIG_INVALID, mend: str = "") -> Found:
        return Found(spot, Fault(kind, what, where=str(spot), mend=mend), frozenset({self.answer.host}))


_PLACEHOLDER_MENDS = {
    "hermes_backup_recipients": "Put your key's fingerprint here: gpg --list-keys --with-colons | grep fpr",
    "hermes_backup_remotes": "Put your remote here, as rclone writes it: REMOTE:PATH or an absolute path.",
}
_UNSET_MENDS = {
    "hermes_backup_recipients": "Set it to the fingerprints that can decrypt; "
    "hermes-backup init NAME writes an inventory that says how.",
    "hermes_backup_remotes": "Set it to where snapshots go: [REMOTE:PATH], or declare pipelines that push nowhere.",
}


def _data(answer: Answer, keys: Sequence[str]) -> Mapping[str, Any]:
    fields = [it for it in HostConfig.model_fields if it not in _BY_US and _PREFIX + it in answer.values]
    given = {it: answer.values[_PREFIX + it] for it in fields}
    ours = {"host": answer.host, "public_keys": list(keys), "own_controller": answer.connection == "local"}
    if answer.connection == "local" and not answer.become and given.get("state") == "":
        ours["state"] = str(default_state())
    return {**given, **ours}


def _means(answer: Answer) -> tuple[Means, Sequence[Problem]]:
    given = {it: answer.values[_PREFIX + it] for it in Means.model_fields if _PREFIX + it in answer.values}
    try:
        return Means.model_validate(given), ()
    except ValidationError as error:
        return Means(), tuple(explain(error, Means))


def default_state() -> Path:
    """Return where a host keeps its state unless the inventory says so: by its user, so only known on the host."""
    return Path("/var/lib") / APP if os.geteuid() == 0 else Path.home() / ".local" / "state" / APP


def _all_problems(problems: Sequence[Problem], data: Mapping[str, Any]) -> list[Problem]:
    """Add those of the pipelines: the model stops at settings that are wrong beside them."""
    every, pipelines = list(problems), data.get("pipelines")
    if any(it.path[:1] == ("pipelines",) for it in problems) or not isinstance(pipelines, Mapping):
        return every
    for name, raw in pipelines.items():
        made = parse_pipeline(name, raw)
        if not isinstance(made, Pipeline):
            every += [Problem(("pipelines", name, *it.path), it.what, it.mend) for it in made]
    return every


def _with_placeholder(value: Any, path: Steps) -> Iterator[Steps]:
    if isinstance(value, str) and PLACEHOLDER in value:
        yield path
    elif isinstance(value, list) and len(path) == 1:
        for at, item in enumerate(value):
            yield from _with_placeholder(item, (*path, at))


def _plain(what: str) -> str:
    """Say a type as YAML calls it."""
    for word, ours in (("a valid tuple", "a list"), ("a valid dictionary", "a mapping"), ("a valid string", "a text")):
        what = what.replace(word, ours)
    return what


def _dotted(path: Steps) -> str:
    said = str(path[0])
    for step in path[1:]:
        said += f"[{step}]" if isinstance(step, int) else f".{step}"
    return said
