"""A decided plan as a file, so that it can be looked at and run again as it stands.

Readable JSON: everything of a ``Plan`` but its warnings, which are of the moment. The prompt is not in it, and
no key either.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from tt_compute.errors import ConfigError, InvalidRequestError, PlanError
from tt_compute.planning.json_file import JsonFile
from tt_compute.planning.plan_rules import faults
from tt_compute.planning.types import Candidate, Objective, Plan, Premise, Rejection
from tt_compute.profiles.checking import build
from tt_compute.profiles.document import Document
from tt_compute.profiles.schema import TaskKind

__all__ = ["PLAN_AGAIN", "check_plan", "load_plan", "save_plan"]

_FORMAT: Final = "tt_compute.plan"
_VERSION: Final = 1
"""Raised when a file of the version before would be run otherwise than it was meant."""
PLAN_AGAIN = "plan again: `ttc plan PROMPT --save FILE`"


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
    _file(path).write(saved)


def load_plan(path: Path | str) -> Plan:
    """Read a plan. Whether its deployment is still what it was shows when it is run.

    Raises:
        PlanError: The file cannot be read, is damaged, of another version, or says what no plan says.
    """
    file = Path(path)
    tree = _file(file).read()
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


def _file(path: Path | str) -> JsonFile:
    return JsonFile(
        path=Path(path),
        kind=_FORMAT,
        version=_VERSION,
        noun="plan",
        writer="`ttc plan --save`",
        hint=PLAN_AGAIN,
        error=PlanError,
    )


def _hint(found: str | None) -> str:
    return PLAN_AGAIN if found is None else f"{PLAN_AGAIN} ({found})"
