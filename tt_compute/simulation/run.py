"""One request under way."""

from __future__ import annotations

from collections.abc import Callable

from tt_compute.simulation.courses import Course

__all__ = ["Run"]


class Run:
    """A course that a deployment plays through.

    Args:
        course: How it goes.
        scale: Lengths of its samples over those of the course.
        prompt: Its tokens.
        context: Tokens that each of its rows reads in a step, on the mean.
        row_work_s: Seconds that one of its samples takes of the whole engine, on the mean.
        step_s: Of one decode step where rows are independent of each other.
        ended: Told the time at which the last sample ended.

    Attributes:
        live: Samples that run or wait.
        prompted: Whether the prompt has been computed.
    """

    __slots__ = (
        "_ended", "context", "course", "live", "prompt", "prompted", "row_work_s", "scale", "step_s",
    )  # fmt: skip

    def __init__(
        self,
        course: Course,
        *,
        scale: float,
        prompt: int,
        context: float,
        row_work_s: float,
        step_s: float,
        ended: Callable[[float], None],
    ) -> None:
        self.course: Course = course
        self.scale: float = scale
        self.prompt: int = prompt
        self.context: float = context
        self.row_work_s: float = row_work_s
        self.step_s: float = step_s
        self._ended = ended
        self.live: int = 0
        self.prompted: bool = False

    def tokens(self, sample: int) -> float:
        return self.course.tokens[sample] * self.scale

    def end(self, now: float) -> None:
        self._ended(now)
