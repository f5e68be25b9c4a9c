"""What the kinds of task share: equality by key first, and a comparison that may fail only loudly."""

from __future__ import annotations

from abc import ABC, abstractmethod

from tt_compute.errors import VerifierError
from tt_compute.profiles.schema import TaskKind
from tt_compute.verify.base import Answer, Equality
from tt_compute.verify.marks import visible

__all__ = ["AnswerTask"]


class AnswerTask(ABC):
    """A ``Task``, made anew for each request.

    Attributes:
        warnings: What the caller should know after the run; each text once.
        equality: Which answers vote together; None = those that ``compare`` holds for the same.
    """

    kind: TaskKind

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.equality: Equality | None = None

    def extract(self, text: str, *, truncated: bool) -> Answer | None:
        """The answer in a sample; None abstains. Reasoning in think tags is not part of the text."""
        return self._find(visible(text), truncated=truncated)

    @abstractmethod
    def _find(self, text: str, *, truncated: bool) -> Answer | None: ...

    @abstractmethod
    def read(self, text: str) -> Answer | None:
        """``text`` as a bare answer, such as a gold answer given by the user; None when it is none."""

    async def compare(self, first: Answer, second: Answer) -> bool:
        """Whether both are the same answer; symmetric.

        Raises:
            VerifierError: It could not be found out.
        """
        return first.key == second.key

    async def equivalent(self, first: Answer, second: Answer) -> bool:
        """Like ``compare``, for votes: what could not be found out is "no", with a warning."""
        if first.key == second.key:
            return True
        same = self.compare if self.equality is None else self.equality.same
        try:
            return await same(first, second)
        except VerifierError as error:
            self.warn(f"{error.message}; counted as different answers")
            return False

    def warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)
