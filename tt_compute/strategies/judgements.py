"""The verdicts of a run's verifier."""

from __future__ import annotations

import math

import msgspec

from tt_compute.errors import TTComputeError, VerifierError
from tt_compute.strategies.base import Ended, Run
from tt_compute.verify.base import Judgement, Verifier

__all__ = ["Judgements"]


class Judgements:
    """What a verifier said of the samples it was shown.

    A judgement that fails is a warning, and its sample goes unjudged: it is never a verdict.

    Attributes:
        given: By the sample's index.
        failures: Likewise, of samples that could not be judged.
    """

    def __init__(self, run: Run, verifier: Verifier) -> None:
        self._run = run
        self._verifier = verifier
        self.given: dict[int, Judgement] = {}
        self.failures: dict[int, TTComputeError] = {}

    @property
    def tokens(self) -> int:
        """That judging took."""
        return sum(judgement.tokens for judgement in self.given.values())

    @property
    def scores(self) -> list[float]:
        return [judgement.score for judgement in self.given.values()]

    async def judge(self, ended: Ended) -> Ended | None:
        """The sample with its score; None when it could not be judged."""
        try:
            judgement = await self._verifier.judge(
                self._run.messages, ended.event.text, ended.answer
            )
            if math.isnan(judgement.score):
                raise VerifierError(f"{self._verifier.name} gave NaN for sample {ended.index}")
        except TTComputeError as error:
            self.failures[ended.index] = error
            return None
        self.given[ended.index] = judgement
        return msgspec.structs.replace(ended, score=judgement.score)

    def raise_if_all_failed(self) -> None:
        """Raise the reason why nothing was judged.

        Raises:
            VerifierError: Every judgement failed.
        """
        if self.failures and not self.given:
            first = self.failures[min(self.failures)]
            raise VerifierError(
                f"no sample could be judged by {self._verifier.name}: {first}", hint=first.hint
            ) from first

    def warnings(self) -> tuple[str, ...]:
        """What could not be judged."""
        return tuple(
            f"sample {index} could not be judged: {error}"
            for index, error in sorted(self.failures.items())
        )
