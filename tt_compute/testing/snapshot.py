"""A plan as a text that changes when the decision does, and only then."""

from __future__ import annotations

import difflib
from pathlib import Path

from tt_compute.errors import UsageError
from tt_compute.files import replace_file
from tt_compute.planning.types import Plan
from tt_compute.testing.lines import Json, dump, rounded

__all__ = ["Snapshots", "plan_snapshot"]

_TIMING = ("elapsed_us", "setup_us")
UPDATE = "pytest --ttc-snapshot=update"


def plan_snapshot(plan: Plan) -> str:
    """The plan as JSON, without how long planning took; figures have six digits."""
    document: dict[str, Json] = plan.to_dict()
    for name in _TIMING:
        del document[name]
    return dump(rounded(document))


class Snapshots:
    """Compares plans with files beside a test.

    Args:
        file: Where a plan without a name of its own lies.
        update: Write instead of comparing.
    """

    def __init__(self, file: Path, *, update: bool) -> None:
        self._file = file
        self._update = update
        self._compared: set[Path] = set()

    def __call__(self, plan: Plan, name: str = "") -> None:
        """Compare a plan with its file.

        Args:
            plan: What was decided now.
            name: Tells several plans of one test apart.

        Raises:
            AssertionError: It differs, or there is no file.
            UsageError: Two plans of a test have one name, or the file cannot be used.
        """
        __tracebackhide__ = True
        file = self._file if not name else self._file.with_suffix(f".{name}.json")
        if file in self._compared:
            raise UsageError(
                f"{file.name} was compared with a plan already",
                hint="name the plans of one test: ttc_snapshot(plan, 'first')",
            )
        self._compared.add(file)
        actual = plan_snapshot(plan)
        if self._update:
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file, actual.encode())
            return
        wanted = _read(file)
        if wanted != actual:
            raise AssertionError(_difference(file, wanted, actual))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AssertionError(f"there is no {file} yet; write it: {UPDATE}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file} cannot be read: {error}", hint=f"write it anew: {UPDATE}"
        ) from error


def _difference(file: Path, wanted: str, actual: str) -> str:
    lines = difflib.unified_diff(
        wanted.splitlines(), actual.splitlines(), file.name, "the plan now", lineterm=""
    )
    return "\n".join(
        [f"the plan is not the one in {file}", *lines, f"if it is right now: {UPDATE}"]
    )
