"""A model is shown all samples and names one: the most consistent (universal self-consistency), or the best."""

from __future__ import annotations

from tt_compute.errors import VerifierError
from tt_compute.strategies.asking import Juror
from tt_compute.strategies.base import Ended, Needs, Outcome, Run
from tt_compute.strategies.candidates import Candidates
from tt_compute.strategies.deadline import before_deadline

__all__ = ["USC", "Listwise"]

ATTEMPTS = 2
"""Each in another order, for a model that names none at first."""


class _ChoosesOne:
    """Draws the whole budget and lets a model name the answer.

    The samples are shown in an order that the seed shuffles, so that a liking for the first or the last one
    favours no sample. Samples without an answer are not shown. Where all answers are the same, nobody is
    asked.
    """

    name: str
    rules: str

    @property
    def needs(self) -> Needs:
        """Nothing of a deployment."""
        return Needs(
            unforeseen="how often the model is asked to choose, and how much it says then, is unknown"
        )

    async def run(self, run: Run) -> Outcome:
        """Draw everything and have one chosen.

        Raises:
            UsageError: The run's verifier asks no model.
            VerifierError: The model named none, or could not be asked.
            TTComputeError: Every sample failed.
        """
        juror = Juror(run, self.name, self.rules)
        candidates = Candidates(run)
        await candidates.draw()
        if await candidates.all_same():
            return candidates.chosen(None)
        if candidates.reason == "deadline":
            return _too_late(candidates, juror)
        try:
            winner = await before_deadline(run, lambda: _named(run, juror, candidates.standing))
        except VerifierError:
            if not run.deadline_passed():
                raise
            winner = None
        if winner is None:
            return _too_late(candidates, juror)
        return candidates.chosen(winner, said=juror.ended, verifier_tokens=juror.tokens)


class USC(_ChoosesOne):
    """Universal self-consistency: the answer that agrees most with the others, in a model's eyes.

    For open texts, whose answers no vote can count (Chen et al. 2023, https://arxiv.org/abs/2311.17311).
    """

    name = "usc"
    rules = (
        "Several answers to one question are shown. Find out on what most of them agree, and choose the answer "
        "that is most consistent with that consensus."
    )


class Listwise(_ChoosesOne):
    """The best answer, in a model's eyes that sees all of them at once."""

    name = "listwise"
    rules = (
        "Several answers to one question are shown. Work out the right answer yourself, step by step, then compare "
        "them, and choose the best one."
    )


async def _named(run: Run, juror: Juror, standing: list[Ended]) -> Ended:
    for attempt in range(1, ATTEMPTS + 1):
        order = run.rng.sample(standing, len(standing))
        try:
            return order[await juror.choose([one.event.text for one in order])]
        except VerifierError:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _too_late(candidates: Candidates, juror: Juror) -> Outcome:
    candidates.reason = "deadline"
    return candidates.chosen(
        None,
        said=juror.ended,
        verifier_tokens=juror.tokens,
        warnings=("the deadline passed before one of the samples was chosen",),
    )
