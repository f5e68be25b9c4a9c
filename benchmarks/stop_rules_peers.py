"""Stop rules of other packages, as their code and papers describe them; no package is installed or run.

Each takes one question's samples in the order of drawing and says where it stopped and what it answered.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

__all__ = ["ADAPTIVE_IN_WAVES", "PEERS", "Ended", "ended", "plurality", "quadrature"]

Answers = Sequence[int | None]
_THRESHOLD = 0.95


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a vote ended."""

    samples: int
    tokens: float
    leaders: tuple[int, ...]
    """The answer; several where luck decides between them; none without votes."""
    waves: int
    """Samples that follow one upon the other."""
    steps: float
    """Decode steps until the answer, a wave's being those of its longest sample."""
    cancelled_tokens: float = 0.0
    """The part of ``tokens`` in samples that were cut."""


def plurality(answers: Answers) -> tuple[int, ...]:
    votes = Counter(answer for answer in answers if answer is not None)
    most = max(votes.values(), default=0)
    return tuple(answer for answer, count in votes.items() if count == most)


def adaptive_consistency(answers: Answers, tokens: Sequence[float], wave: int = 1) -> Ended:
    """AdaptiveConsistency 1.0.0, BetaStoppingCriteria: the two integrals by quadrature.

    The package draws one sample at a time; ``wave`` more at once is how it is run where time counts.
    """
    ends: list[int] = []
    while not ends or ends[-1] < len(answers):
        ends.append(min(wave * (len(ends) + 1), len(answers)))
        first, second = _top_two(answers[: ends[-1]])
        if first and quadrature(first, second) >= _THRESHOLD:
            break
    return ended(answers, tokens, ends)


def consol_sprt(answers: Answers, tokens: Sequence[float]) -> Ended:
    """ConSol's default SPRT, both bounds, one sample at a time: its waves draw the same samples."""
    p1, alpha, beta = 0.5001, 0.05, 0.949976
    for drawn in range(1, len(answers) + 1):
        first, second = _top_two(answers[:drawn])
        ratio = first * math.log(p1 / 0.5) + second * math.log((1 - p1) / 0.5)
        if ratio >= math.log((1 - beta) / alpha) or ratio <= math.log(beta / (1 - alpha)):
            return ended(answers, tokens, range(1, drawn + 1))
    return ended(answers, tokens, range(1, len(answers) + 1))


def esc(answers: Answers, tokens: Sequence[float], window: int = 5) -> Ended:
    """ESC's code: whole windows; "no answer" agrees with itself; a unanimous window is the answer."""
    whole = len(answers) // window * window
    ends = range(window, whole + 1, window)
    for end in ends:
        mine = answers[end - window : end]
        if len(set(mine)) == 1:
            leaders = () if mine[0] is None else (mine[0],)
            found = ended(answers, tokens, range(window, end + 1, window))
            return msgspec.structs.replace(found, leaders=leaders)
    return ended(answers, tokens, ends)


def its_hub_adaptive(answers: Answers, tokens: Sequence[float]) -> Ended:
    """its_hub 1.2.0, AdaptiveSelfConsistency: after 2, 4, 8, ... samples, 75 % of all of them agree."""
    ends = [2]
    while ends[-1] < len(answers):
        if _top_two(answers[: ends[-1]])[0] >= 0.75 * ends[-1]:
            return ended(answers, tokens, ends)
        ends.append(2 * ends[-1])
    return ended(answers, tokens, [*ends[:-1], len(answers)])


def its_hub_beta(answers: Answers, tokens: Sequence[float], width: int = 32) -> Ended:
    """its_hub 1.2.0, BetaSelfConsistency: all at once, ``width`` at a time; votes as samples end, then cancels.

    Every sample decodes at the same speed; what was decoded until then is paid for.
    """
    starts, ends = _schedule(tokens, width)
    order = sorted(range(len(answers)), key=lambda index: ends[index])
    seen: list[int | None] = []
    now = 0.0
    for index in order:
        seen.append(answers[index])
        now = ends[index]
        first, second = _top_two(seen)
        if first and quadrature(first, second) >= _THRESHOLD:
            break
    burnt = sum(
        min(length, max(0.0, now - start)) for length, start in zip(tokens, starts, strict=True)
    )
    whole = sum(tokens[index] for index in order[: len(seen)])
    return Ended(
        samples=len(seen),
        tokens=burnt,
        leaders=plurality(seen),
        waves=math.ceil(len(answers) / width),
        steps=now,
        cancelled_tokens=burnt - whole,
    )


PEERS: Mapping[str, Callable[[Answers, Sequence[float]], Ended]] = {
    "AdaptiveConsistency, Beta 0.95": adaptive_consistency,
    "ConSol, default SPRT": consol_sprt,
    "ESC, windows of 5": esc,
    "its_hub, Adaptive": its_hub_adaptive,
    "its_hub, Beta (all at once)": its_hub_beta,
}

ADAPTIVE_IN_WAVES = {
    "AdaptiveConsistency, waves of 4": functools.partial(adaptive_consistency, wave=4)
}


def quadrature(first: int, second: int, steps: int = 2000) -> float:
    """Integral of p^first (1-p)^second over [1/2, 1] over that over [0, 1], by Simpson's rule."""
    upper = _simpson(first, second, 0.5, 1.0, steps)
    return upper / (upper + _simpson(second, first, 0.5, 1.0, steps))


_known: dict[tuple[int, int, float, float, int], float] = {}


def _simpson(first: int, second: int, low: float, high: float, steps: int) -> float:
    key = (first, second, low, high, steps)
    if key not in _known:
        width = (high - low) / steps
        points = [low + step * width for step in range(steps + 1)]
        heights = [p**first * (1 - p) ** second for p in points]
        inner = 4 * math.fsum(heights[1:-1:2]) + 2 * math.fsum(heights[2:-1:2])
        _known[key] = (heights[0] + inner + heights[-1]) * width / 3
    return _known[key]


def _schedule(tokens: Sequence[float], width: int) -> tuple[list[float], list[float]]:
    """When each sample starts and ends, ``width`` at a time in the order of drawing."""
    starts: list[float] = []
    ends: list[float] = []
    free = [0.0] * width
    for length in tokens:
        place = min(range(width), key=free.__getitem__)
        starts.append(free[place])
        free[place] += length
        ends.append(free[place])
    return starts, ends


def _top_two(answers: Answers) -> tuple[int, int]:
    votes = Counter(answer for answer in answers if answer is not None)
    counts = [count for _, count in votes.most_common(2)]
    first, second = [*counts, 0, 0][:2]
    return first, second


def ended(answers: Answers, tokens: Sequence[float], ends: Sequence[int]) -> Ended:
    """A vote of all that was drawn.

    Args:
        answers: Of all samples.
        tokens: Of all samples.
        ends: How many had been drawn with each wave.
    """
    drawn = ends[-1] if ends else 0
    waves = [tokens[start:end] for start, end in itertools.pairwise((0, *ends))]
    return Ended(
        samples=drawn,
        tokens=sum(tokens[:drawn]),
        leaders=plurality(answers[:drawn]),
        waves=len(waves),
        steps=sum(map(max, waves)),
    )
