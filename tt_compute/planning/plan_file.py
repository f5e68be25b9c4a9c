"""A decided plan as a file, so that it can be looked at and run again as it stands.

Readable JSON: everything of a ``Plan`` but its warnings, which are of the moment. The prompt is not in it, and
no key either.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from tt_compute.errors import ConfigError, InvalidRequestError, PlanError
from tt_compute.planning.plan_rules import faults
from tt_compute.planning.types import Candidate, Objective, Plan, Premise, Rejection
from tt_compute.profiles.checking import build
from tt_compute.profiles.document import Document, Tree, show
from tt_compute.profiles.schema import TaskKind

__all__ = ["PLAN_AGAIN", "check_plan", "load_plan", "save_plan"]

_FORMAT: Final = "tt_compute.plan"
_VERSION: Final = 1
"""Raised when a file of the version before would be run otherwise than it was meant."""
_MAX_BYTES = 64 * 1024 * 1024
"""Far above thousands of candidates; keeps a wrong file from filling the memory."""
PLAN_AGAIN = "plan again: `ttc plan PROMPT --save FILE`"

_Pairs: TypeAlias = Sequence[tuple[str, object]]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields as in ``Plan``."""

    format: Literal["tt_compute.plan"] = _FORMAT
    version: Literal[1] = _VERSION
    task: TaskKind
    objective: Objective
    chosen: Candidate
    candidates: tuple[Candidate, ...]
    rejected: tuple[Rejection, ...]
    advice: str
    elapsed_us: float
    setup_us: float
    premises: tuple[Premise, ...]


def save_plan(plan: Plan, path: Path | str) -> None:
    """Write a plan, whole or not at all; a file that is there is replaced.

    Raises:
        PlanError: The plan chose nothing or could not be run, or the file cannot be written.
    """
    check_plan(plan)
    assert plan.chosen is not None
    names = {field.name for field in msgspec.structs.fields(_File)} - {"format", "version"}
    saved = _File(**{name: getattr(plan, name) for name in names})
    text = json.dumps(msgspec.to_builtins(saved), ensure_ascii=False, indent=2, allow_nan=False)
    # What stands in a reason may hold what is no character; nothing that is run does.
    _write(Path(path), f"{text}\n".encode(errors="replace"))


def load_plan(path: Path | str) -> Plan:
    """Read a plan. Whether its deployment is still what it was shows when it is run.

    Raises:
        PlanError: The file cannot be read, is damaged, of another version, or says what no plan says.
    """
    file = Path(path)
    tree = _tree(file)
    _check_kind(tree, file)
    try:
        saved = build(Document(tree=tree, file=str(file)), _File)
    except ConfigError as error:
        raise PlanError(error.message, hint=_hint(error.hint)) from error
    except InvalidRequestError as error:
        # An objective checks itself.
        raise PlanError(f"{file}: objective: {error.message}", hint=PLAN_AGAIN) from error
    fields = msgspec.structs.asdict(saved)
    del fields["format"], fields["version"]
    plan = Plan(**fields)
    check_plan(plan, file=file)
    return plan


def check_plan(plan: Plan, *, file: Path | None = None) -> None:
    """Refuse what could not be run anywhere.

    Raises:
        PlanError: The first such thing, behind the file's name where there is one.
    """
    for path, message in faults(plan):
        where = "the plan" if file is None else file
        raise PlanError(f"{where}: {path}: {message}", hint=PLAN_AGAIN)


def _tree(file: Path) -> Tree:
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or error
        raise PlanError(f"{file} cannot be read: {reason}", hint=PLAN_AGAIN) from error
    if len(data) > _MAX_BYTES:
        raise PlanError(f"{file} is larger than {_MAX_BYTES} bytes, no plan is", hint=PLAN_AGAIN)
    try:
        tree: Tree = msgspec.json.decode(data)
        # Of two equal keys the decoder keeps the last one.
        json.loads(data, object_pairs_hook=_once)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PlanError(f"{file} is damaged: {error}", hint=PLAN_AGAIN) from error
    return tree


def _once(pairs: _Pairs) -> dict[str, object]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {show(twice)} stands twice in one object")
    return keys


def _check_kind(tree: Tree, file: Path) -> None:
    if not isinstance(tree, dict) or tree.get("format") != _FORMAT:
        raise PlanError(f"{file} is no plan that `ttc plan --save` wrote", hint=PLAN_AGAIN)
    version = tree.get("version")
    if isinstance(version, bool) or version != _VERSION:
        raise PlanError(
            f"{file} is a plan of version {show(version)}, and this tt_compute reads {_VERSION}",
            hint=f"update tt-compute, or {PLAN_AGAIN}",
        )


def _hint(found: str | None) -> str:
    return PLAN_AGAIN if found is None else f"{PLAN_AGAIN} ({found})"


def _write(file: Path, data: bytes) -> None:
    try:
        # A link stays one, and what is no file, such as /dev/null, is not replaced by one.
        target = Path(os.path.realpath(file))
        if target.exists() and not target.is_file():
            raise PlanError(f"{file} is not a regular file", hint="name another one")
        scratch = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with scratch.open("xb") as stream:
                stream.write(data)
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise PlanError(
            f"{file} cannot be written: {error.strerror or error}",
            hint="name a file in a folder that is there and can be written",
        ) from error
