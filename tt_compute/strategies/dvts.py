"""Diverse verifier tree search: independent trees, each of which greedily follows its best step.

Beeching et al. 2024, "Scaling test-time compute with open models".
"""

from __future__ import annotations

from collections.abc import Sequence

from tt_compute.errors import InvalidRequestError
from tt_compute.strategies.base import Outcome, Run
from tt_compute.strategies.paths import Path
from tt_compute.strategies.stepwise import Stepwise, search

__all__ = ["DVTS"]


class DVTS(Stepwise, frozen=True, kw_only=True):
    """As ``Beam``, but no tree can crowd out another, which keeps the answers diverse on large budgets.

    With N samples per step and a beam width of M in the paper's words, ``trees`` is N / M and ``branching``
    is M.

    Raises:
        InvalidRequestError: A value is out of range, or a name is unknown.
    """

    trees: int = 2
    """Searches beside each other."""

    def __post_init__(self) -> None:
        """Refuse what no search could use."""
        super().__post_init__()
        if self.trees < 1:
            raise InvalidRequestError(f"trees must be at least 1, got {self.trees}")

    @property
    def name(self) -> str:
        """As it can be given by, where the scorer has a name."""
        return self.named("dvts")

    async def run(self, run: Run) -> Outcome:
        """Search until the trees are finished, the budget is spent or the deadline has passed.

        Raises:
            UsageError: No further prompts can be asked.
            TTComputeError: Every sample failed.
        """
        return await search(run, self, self.trees, self._keep)

    @staticmethod
    def _keep(paths: Sequence[Path]) -> Sequence[Path]:
        best: dict[int, Path] = {}
        for path in sorted(paths, key=lambda path: path.rank):
            best.setdefault(path.tree, path)
        return [best[tree] for tree in sorted(best)]
