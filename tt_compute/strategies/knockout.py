"""A tournament: samples meet in pairs, and a model says which of two is better."""

from __future__ import annotations

import anyio

from tt_compute.errors import VerifierError
from tt_compute.strategies.asking import Juror
from tt_compute.strategies.base import Ended, Needs, Outcome, Run
from tt_compute.strategies.candidates import Candidates, same_answer
from tt_compute.strategies.deadline import before_deadline

__all__ = ["Knockout"]

_RULES = (
    "Two answers to one question are shown. Work out the right answer yourself, step by step, then compare, and "
    "choose the better one."
)


class Knockout:
    """Draws the whole budget, then knocks samples out in pairs until one is left.

    Chen et al. 2024 (https://arxiv.org/abs/2411.19477): with N samples, K comparisons of a pair and a comparison
    that is right with probability p > 1/2, it fails with at most (1 - p_gen)^N + ceil(log2 N) e^(-2 K (p - 1/2)^2).

    Each pair is asked twice, once in each order, so that a liking for the first or the second place cancels
    out: two verdicts for one sample let it go on, and two that contradict each other the one that the seed drew
    first. A verdict that never came counts for neither. Two samples with the same answer are not compared:
    the first goes on. The seed draws the pairs; of an odd number one goes on by itself.
    """

    name = "knockout"

    @property
    def needs(self) -> Needs:
        """Nothing of a deployment."""
        return Needs(
            unforeseen="how often the model is asked to choose, and how much it says then, is unknown"
        )

    async def run(self, run: Run) -> Outcome:
        """Draw everything and hold the tournament.

        Raises:
            UsageError: The run's verifier asks no model.
            VerifierError: No comparison came to a verdict.
            TTComputeError: Every sample failed.
        """
        juror = Juror(run, self.name, _RULES)
        candidates = Candidates(run)
        await candidates.draw()
        if await candidates.all_same():
            return candidates.chosen(None)
        tournament = _Tournament(run, juror, candidates.standing)
        winner = None
        if candidates.reason != "deadline":
            try:
                winner = await before_deadline(run, tournament.hold)
            except VerifierError:
                if not run.deadline_passed():
                    raise
        notes = tournament.warnings()
        if winner is None:
            candidates.reason = "deadline"
            winner = tournament.left[0]
            notes = (*notes, f"the deadline passed with {len(tournament.left)} samples undefeated")
        return candidates.chosen(
            winner, said=juror.ended, verifier_tokens=juror.tokens, warnings=notes
        )


class _Tournament:
    """One tournament.

    Attributes:
        left: The samples that nobody has beaten yet, in the order of the draw.
    """

    def __init__(self, run: Run, juror: Juror, standing: list[Ended]) -> None:
        self._run = run
        self._juror = juror
        self._failures: list[VerifierError] = []
        self._verdicts = 0
        self._room = anyio.Semaphore(run.wave)
        self.left = run.rng.sample(standing, len(standing))

    async def hold(self) -> Ended | None:
        """The winner; None when the deadline came first."""
        while len(self.left) > 1 and not self._run.deadline_passed():
            self.left = await self._round()
        if self._failures and not self._verdicts:
            raise self._failures[0]
        return self.left[0] if len(self.left) == 1 else None

    def warnings(self) -> tuple[str, ...]:
        if not self._failures:
            return ()
        return (
            f"{len(self._failures)} comparisons came to no verdict, the first: {self._failures[0]}",
        )

    async def _round(self) -> list[Ended]:
        """Who goes on. All pairs of a round are asked about at once, as far as the wave allows."""
        pairs = list(zip(self.left[::2], self.left[1::2], strict=False))
        leads = [0] * len(pairs)

        async def compare(place: int, first: Ended, second: Ended, sign: int) -> None:
            verdict = await self._compare(first, second)
            leads[place] += sign * verdict

        async with anyio.create_task_group() as tasks:
            for place, (first, second) in enumerate(pairs):
                if await same_answer(self._run, first, second):
                    leads[place] = 1
                else:
                    tasks.start_soon(compare, place, first, second, 1)
                    tasks.start_soon(compare, place, second, first, -1)
        # Who comes first is luck already, so that a tie needs no more of it.
        winners = [
            first if lead >= 0 else second
            for lead, (first, second) in zip(leads, pairs, strict=True)
        ]
        return winners + self.left[2 * len(pairs) :]

    async def _compare(self, first: Ended, second: Ended) -> int:
        """1 for the first, -1 for the second, 0 without a verdict."""
        async with self._room:
            try:
                chosen = await self._juror.choose([first.event.text, second.event.text])
            except VerifierError as error:
                self._failures.append(error)
                return 0
        self._verdicts += 1
        return 1 if chosen == 0 else -1
