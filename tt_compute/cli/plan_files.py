"""``--load``: a plan from a file, and what cannot be said beside it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tt_compute.errors import ContextLengthError, InvalidRequestError, PlanError
from tt_compute.planning.plan_file import PLAN_AGAIN, load_plan
from tt_compute.planning.types import Plan

__all__ = ["about", "load", "refuse_without_prompt"]

_OF_THE_REQUEST = ("prompt", "file", "system", "equal", "verifier", "seed")


def load(
    saved: Path | None, given: Mapping[str, object], *, target: Path | None = None
) -> Plan | None:
    """The plan in a file; None where none was named.

    Raises:
        PlanError: The file is not usable.
        InvalidRequestError: Something was given that the plan has decided.
    """
    if saved is None:
        return None
    if target is not None:
        raise InvalidRequestError(
            "--save and --load are given together, and a plan that is loaded is saved already",
            hint="leave one of the two out",
        )
    decided = [name for name in _stated(given) if name not in _OF_THE_REQUEST]
    if decided:
        raise InvalidRequestError(
            f"{_flags(decided)} cannot be given beside --load, whose plan has decided it",
            hint=f"leave it out, or {PLAN_AGAIN}",
        )
    return load_plan(saved)


def refuse_without_prompt(given: Mapping[str, object]) -> None:
    """Refuse what would be ignored where a plan is only looked at.

    Raises:
        InvalidRequestError: Something was given.
    """
    stated = list(_stated(given))
    if stated:
        raise InvalidRequestError(
            f"without a prompt {_flags(stated)} means nothing: the plan is only shown",
            hint="give the prompt, or leave it out",
        )


@contextmanager
def about(saved: Path | None) -> Generator[None, None, None]:
    """Put the file's name before what is said of its plan."""
    try:
        yield
    except (PlanError, ContextLengthError) as error:
        if saved is None:
            raise
        raise type(error)(f"{saved}: {error.message}", hint=error.hint) from error


def _stated(given: Mapping[str, object]) -> Iterator[str]:
    # False is a flag that was not given; 0 is a temperature.
    return (name for name, value in given.items() if value is not None and value is not False)


def _flags(names: Iterable[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
