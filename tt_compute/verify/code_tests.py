"""Unit tests for programs: what a program is given, and what it must make of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeGuard

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.verify.sandbox.types import Case, Limits, Ran

__all__ = ["CodeTest", "CodeTests", "load_tests", "read_text"]

MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_TOLD_CHARS = 500
"""Of one thing that is told of a test that failed."""
_ENDED = {
    "cpu": "it took too much processor time",
    "wall": "it took too long",
    "output": "it printed too much",
    "signal": "it crashed",
    "not_run": "the time for all tests was over",
}
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9


class CodeTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of three: ``stdin`` and ``stdout``; ``call``, ``args`` and ``expected``; or ``check``.

    Raises:
        InvalidRequestError: It is none of the three, or more than one.
    """

    stdin: str = ""
    stdout: str | None = None
    """What the program must print; white space at line ends and empty last lines do not count."""
    call: str | None = None
    """An expression over the program's names that is called, such as ``add`` or ``Solution().add``."""
    args: tuple[object, ...] = ()
    expected: object | msgspec.UnsetType = msgspec.UNSET
    """What the call must return, as JSON: tuples are lists, sets sorted lists; floats within 1e-6."""
    check: str | None = msgspec.field(default=None, name="assert")
    """Code that is run after the program, among its names; it raises where the program is wrong."""

    def __post_init__(self) -> None:
        """Refuse a test that tests nothing, or two things at once."""
        kinds = [self.stdout is not None, self.call is not None, self.check is not None]
        if sum(kinds) != 1 or (self.call is None) != (self.expected is msgspec.UNSET):
            raise InvalidRequestError(
                "a test has either `stdout` (and `stdin`), or `call`, `args` and `expected`, or `assert`"
            )

    def case(self) -> Case:
        return Case(stdin=self.stdin, call=self.call, args=self.args, check=self.check)

    def passed(self, ran: Ran) -> bool:
        """Whether the program did as it must. What it must print or return is compared here, outside of it."""
        if ran.ended != "exit":
            return False
        if self.stdout is not None:
            return ran.exit_code == 0 and _lines(ran.stdout) == _lines(self.stdout)
        if self.call is not None:
            return ran.value is not None and _is_value(ran.value, self.expected)
        return ran.checked

    def told(self, ran: Ran) -> str:
        """What was asked of the program, and what it did, in words."""
        if self.check is not None:
            asked = f"this code must run after the program:\n{_short(self.check)}"
        elif self.call is not None:
            args = ", ".join(map(repr, self.args))
            asked = f"{self.call}({_short(args)}) must return {_short(repr(self.expected))}"
        else:
            asked = (
                f"on the input {_short(self.stdin)!r} it must print {_short(self.stdout or '')!r}"
            )
        return f"{asked}\n{self._did(ran)}"

    def _did(self, ran: Ran) -> str:
        if ran.ended != "exit":
            return f"It was ended: {_ENDED.get(ran.ended, ran.ended)}."
        if ran.stderr.strip():
            return f"It failed with:\n{_short(ran.stderr.strip(), tail=True)}"
        if self.call is not None:
            return f"It returned {_short(str(ran.value))}."
        return f"It printed {_short(ran.stdout)!r}."


class CodeTests(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tests and the limits of each run.

    Raises:
        InvalidRequestError: There is no test.
    """

    tests: tuple[CodeTest, ...]
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        """Refuse tests that any program would pass."""
        if not self.tests:
            raise InvalidRequestError("there is no test: every program would pass")


def load_tests(file: Path) -> CodeTests:
    """Read tests: a ``.py`` file is one ``assert`` test, anything else JSON in the shape of ``CodeTests``.

    Raises:
        InvalidRequestError: The file cannot be read or used.
    """
    text = read_text(file)
    try:
        if file.suffix == ".py":
            return CodeTests(tests=(CodeTest(check=text),))
        return msgspec.json.decode(text, type=CodeTests)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{file}: {error.message}", hint=error.hint) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequestError(
            f"{file}: {error}", hint='write {"tests": [{"stdin": "1 2", "stdout": "3"}]}'
        ) from error


def read_text(file: Path) -> str:
    """A file of the user's, of a size that a person could have meant.

    Raises:
        InvalidRequestError: It cannot be read, is no UTF-8, or too large.
    """
    try:
        if not file.is_file():
            raise InvalidRequestError(f"{file}: there is no such file")
        if file.stat().st_size > MAX_FILE_BYTES:
            raise InvalidRequestError(f"{file}: larger than {MAX_FILE_BYTES} bytes")
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidRequestError(f"{file}: cannot be read: {error}") from error


def _short(text: str, *, tail: bool = False) -> str:
    if len(text) <= MAX_TOLD_CHARS:
        return text
    return f"...{text[-MAX_TOLD_CHARS:]}" if tail else f"{text[:MAX_TOLD_CHARS]}..."


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _is_value(said: str, expected: object) -> bool:
    try:
        return _same(json.loads(said), expected)
    except (ValueError, RecursionError):
        return False


def _same(value: Any, expected: Any) -> bool:
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return value == expected or (
            (isinstance(value, float) or isinstance(expected, float))
            and math.isclose(value, expected, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
        )
    if _is_list(value) and _is_list(expected):
        return len(value) == len(expected) and all(map(_same, value, expected))
    if _is_mapping(value) and _is_mapping(expected):
        return value.keys() == expected.keys() and all(
            _same(value[name], expected[name]) for name in expected
        )
    return bool(value == expected)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_mapping(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
