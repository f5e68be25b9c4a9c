"""Answers of mathematical tasks: numbers exactly, everything else by math-verify in its own process."""

from __future__ import annotations

from tt_compute.errors import VerifierError
from tt_compute.profiles.schema import TaskKind
from tt_compute.verify.answer_task import AnswerTask
from tt_compute.verify.base import Answer
from tt_compute.verify.math_process import MathProcess
from tt_compute.verify.math_reading import Reading, read_answer, read_expression
from tt_compute.verify.rational import number_from_key, same_number

__all__ = ["MathTask"]

_LEFT_OUT = (
    "answers in LaTeX were left out because math-verify is not installed: "
    'pip install "tt-compute[math]"'
)


class MathTask(AnswerTask):
    """Numbers, fractions, expressions, and words in a box.

    Keys: ``7/2``, ``50%``, ``"evelyn"`` with its quotes, or an expression in LaTeX.

    Args:
        process: Where expressions are compared; shared between tasks and closed by its owner.
    """

    kind: TaskKind = "math"

    def __init__(self, process: MathProcess) -> None:
        super().__init__()
        self._process = process
        self._lost: set[frozenset[str]] = set()

    def _find(self, text: str, *, truncated: bool) -> Answer | None:
        return self._answer(read_answer(text, truncated=truncated))

    def read(self, text: str) -> Answer | None:
        return self._answer(read_answer(text, truncated=True) or read_expression(text))

    async def compare(self, first: Answer, second: Answer) -> bool:
        if first.key == second.key:
            return True
        if first.key.startswith('"') or second.key.startswith('"'):
            return False
        numbers = number_from_key(first.key), number_from_key(second.key)
        if numbers[0] is not None and numbers[1] is not None:
            return same_number(numbers[0], numbers[1])
        return await self._compare_symbols(_latex(first.key), _latex(second.key))

    def _answer(self, reading: Reading | None) -> Answer | None:
        if reading is None:
            return None
        if reading.symbolic and not self._process.installed:
            self.warn(_LEFT_OUT)
            return None
        return Answer(text=reading.text, key=reading.key, explicit=reading.explicit)

    async def _compare_symbols(self, first: str, second: str) -> bool:
        """Ask the process, never twice about an expression or a pair that it was lost over."""
        if not self._process.installed:
            raise VerifierError(
                f"comparing {first[:80]!r} needs math-verify", hint='pip install "tt-compute[math]"'
            )
        for expression in (first, second):
            if not await self._ask(expression):
                return False
        return await self._ask(first, second)

    async def _ask(self, *expressions: str) -> bool:
        question = frozenset(expressions)
        if question in self._lost:
            raise VerifierError(f"math-verify cannot judge {' and '.join(sorted(question))}")
        try:
            if len(expressions) == 1:
                return await self._process.parses(expressions[0])
            return await self._process.equal(*expressions)
        except VerifierError:
            self._lost.add(question)
            raise


def _latex(key: str) -> str:
    return key.replace("%", r"\%") if number_from_key(key) is not None else key
