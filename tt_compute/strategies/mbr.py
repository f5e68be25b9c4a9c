"""Minimum Bayes risk: the sample that is most like all the others."""

from __future__ import annotations

import math
import numbers
import re
from collections import Counter
from collections.abc import Awaitable, Callable

from tt_compute.errors import VerifierError
from tt_compute.strategies.base import Ended, Needs, Outcome, Run
from tt_compute.strategies.candidates import Candidates
from tt_compute.strategies.deadline import before_deadline
from tt_compute.verify.calling import call_user, name_of
from tt_compute.verify.marks import visible

__all__ = ["MBR", "Utility", "token_f1"]

Utility = Callable[[str, str], float | Awaitable[float]]
"""(candidate, reference) -> how good the candidate would be if the reference were right; higher is better."""
_WORD = re.compile(r"\w+")


def token_f1(candidate: str, reference: str) -> float:
    """2 m / (a + b) for texts of a and b words, m of them in common, each as often as it stands in both.

    The harmonic mean of precision and recall over single words, upper and lower case alike; that is ROUGE-1
    (Lin 2004) without stemming. Two texts without words are equal if they are the same.
    """
    first, second = (Counter(_WORD.findall(text.casefold())) for text in (candidate, reference))
    total = first.total() + second.total()
    if not total:
        return float(candidate == reference)
    return 2 * (first & second).total() / total


class MBR:
    """Draws the whole budget and answers with the sample of the highest expected utility.

    argmax over i of the mean over j != i of u(y_i, y_j), the other samples standing for what might be right
    (Bertsch et al. 2023, https://arxiv.org/abs/2310.01387); the seed decides between equal ones. With utility 1 for
    equal answers and 0 for others it would be a plain vote. Samples without an answer abstain.

    Args:
        utility: Of two texts, less their reasoning; a plain function of the user's runs in a worker thread.
    """

    name = "mbr"

    def __init__(self, utility: Utility = token_f1) -> None:
        self._utility = utility

    @property
    def needs(self) -> Needs:
        """Nothing of a deployment."""
        return Needs(draws_all=True)

    async def run(self, run: Run) -> Outcome:
        """Draw everything, compare each with each, and choose.

        Raises:
            VerifierError: The utility failed, or gave no finite number.
            TTComputeError: Every sample failed.
        """
        candidates = Candidates(run)
        await candidates.draw()
        standing = candidates.standing
        expected = await before_deadline(run, lambda: self._expected(standing))
        if expected is None:
            candidates.reason = "deadline"
            return candidates.chosen(
                None, warnings=("the deadline passed before the samples were compared",)
            )
        most = max(expected, default=0.0)
        best = [one for one, value in zip(standing, expected, strict=True) if value == most]
        winner = run.rng.choice(best) if best else None
        tied = tuple(one.index for one in best) if len(best) > 1 else ()
        return candidates.chosen(winner, tied=tied)

    async def _expected(self, standing: list[Ended]) -> list[float]:
        """Of each sample its summed utility against the others."""
        texts = [visible(one.event.text) for one in standing]
        return [
            math.fsum(
                [
                    await self._of(candidate, reference)
                    for j, reference in enumerate(texts)
                    if j != i
                ]
            )
            for i, candidate in enumerate(texts)
        ]

    async def _of(self, candidate: str, reference: str) -> float:
        if self._utility is token_f1:
            return token_f1(candidate, reference)
        name = name_of(self._utility)
        try:
            found = await call_user(self._utility, candidate, reference)
        except Exception as error:
            # The boundary to code that is not ours: whatever it raises is its failure.
            raise VerifierError(f"{name!r} raised {type(error).__name__}: {error}") from error
        if not isinstance(found, numbers.Real) or not math.isfinite(float(found)):
            raise VerifierError(f"{name!r} returned {found!r:.80}, not a finite number")
        return float(found)
