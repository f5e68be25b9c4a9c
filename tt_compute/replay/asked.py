"""A question that samples are to be recorded of."""

from __future__ import annotations

import msgspec

from tt_compute.verify.code_tests import CodeTest, CodeTests

__all__ = ["Asked"]

Text = str | int | float


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A question, and its right answer or the tests that tell one."""

    question: str
    gold: Text | None = None
    """The right answer; None where there are tests."""
    tests: tuple[CodeTest, ...] | str | None = None
    """Of the program that is asked for; a text is code that is run after it and raises where it is wrong."""
    question_id: Text | None = None
    """None = its line's number."""
    dataset: str = ""
    """Empty = the file's name."""

    def __post_init__(self) -> None:
        """Refuse what nobody can answer, or judge."""
        if not self.question.strip():
            raise ValueError("`question` is empty")
        if (self.gold is None) == (self.tests is None):
            raise ValueError("a question has either `gold` or `tests`")
        if self.tests is not None and not self.tests:
            raise ValueError("`tests` is empty: every program would pass")

    @property
    def code_tests(self) -> CodeTests | None:
        """None = judged by ``gold``."""
        if isinstance(self.tests, str):
            return CodeTests(tests=(CodeTest(check=self.tests),))
        return None if self.tests is None else CodeTests(tests=self.tests)
