"""Beam search over the steps of a solution.

Snell et al. 2024, https://arxiv.org/abs/2408.03314, section 5.2; Beeching et al. 2024, "Scaling test-time
compute with open models".
"""

from __future__ import annotations

from collections.abc import Sequence

from tt_compute.errors import InvalidRequestError
from tt_compute.strategies.base import Outcome, Run
from tt_compute.strategies.paths import Path
from tt_compute.strategies.stepwise import Stepwise, search

__all__ = ["Beam"]


class Beam(Stepwise, frozen=True, kw_only=True):
    """Keeps the ``width`` best of all next steps, from whichever beginning they come.

    With N samples per step and a beam width of M in the papers' words, ``width`` is N / M and ``branching``
    is M. Finished beams take part in the ranking of their step and go on to the vote; they are not grown.

    Raises:
        InvalidRequestError: A value is out of range, or a name is unknown.
    """

    width: int = 2
    """Beams that go on after each step."""

    def __post_init__(self) -> None:
        """Refuse what no search could use."""
        super().__post_init__()
        if self.width < 1:
            raise InvalidRequestError(f"width must be at least 1, got {self.width}")

    @property
    def name(self) -> str:
        """As it can be given by, where the scorer has a name."""
        return self.named("beam")

    async def run(self, run: Run) -> Outcome:
        """Search until the beams are finished, the budget is spent or the deadline has passed.

        Raises:
            UsageError: No further prompts can be asked.
            TTComputeError: Every sample failed.
        """
        return await search(run, self, self.width, self._keep)

    def _keep(self, paths: Sequence[Path]) -> Sequence[Path]:
        best: dict[str | int, Path] = {}
        for path in sorted(paths, key=lambda path: path.rank):
            # Equal beginnings would go on alike; finished ones are votes, each of them one.
            best.setdefault(path.index if path.finished else path.text, path)
        return list(best.values())[: self.width]
