"""Asking a verifier about one text; what it cannot judge is a warning, never a verdict."""

from __future__ import annotations

import math
from functools import partial

import anyio

from tt_compute.errors import TTComputeError
from tt_compute.strategies.base import Run
from tt_compute.strategies.deadline import before_deadline
from tt_compute.strategies.drawing import Drawer
from tt_compute.verify.base import Answer, Judgement, Verifier

__all__ = ["Bench"]


class Bench:
    """A verifier in one run; what its verdicts take is told to the drawer."""

    def __init__(self, run: Run, drawer: Drawer, verifier: Verifier) -> None:
        self._run = run
        self._drawer = drawer
        self._verifier = verifier

    @property
    def name(self) -> str:
        return self._verifier.name

    async def judge(self, text: str, answer: Answer | None) -> Judgement | None:
        """The verdict; None when there is none, or the deadline passed before it came."""
        judging = partial(self._verifier.judge, self._run.messages, text, answer)
        try:
            judgement = await before_deadline(self._run, judging)
        except TTComputeError as error:
            self._drawer.warn(f"{self.name} could not judge: {error}")
            return None
        if judgement is None:
            return None
        self._drawer.verifier_tokens += judgement.tokens
        if math.isnan(judgement.score):
            self._drawer.warn(f"{self.name} gave NaN, which is no verdict")
            return None
        return judgement

    async def judge_all(self, texts: list[tuple[str, Answer | None]]) -> list[Judgement | None]:
        """The verdicts on several texts, which are asked for at once."""
        verdicts: list[Judgement | None] = [None] * len(texts)

        async def one(place: int) -> None:
            verdicts[place] = await self.judge(*texts[place])

        async with anyio.create_task_group() as tasks:
            for place in range(len(texts)):
                tasks.start_soon(one, place)
        return verdicts

    def accepts(self, judgement: Judgement | None) -> bool:
        return judgement is not None and judgement.score >= self._verifier.accepts_at
