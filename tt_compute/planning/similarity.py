"""How much one question says of another: the more, the closer the lengths of their prompts are.

Kinds of task are coarse; within one, questions that are about as long are more alike in difficulty and in the
length of their answers than others. Nothing is assumed of which are harder: that is learned.
"""

from __future__ import annotations

import math

__all__ = ["length_band", "similarity"]

_LEAST = 0.1
"""Questions of any other length still say something."""
_BANDS_PER_DOUBLING = 2


def length_band(prompt_tokens: int) -> int:
    """The representative of prompts of about this length, so that they share their tables."""
    place = round(_BANDS_PER_DOUBLING * math.log2(max(1, prompt_tokens)))
    return max(1, round(2 ** (place / _BANDS_PER_DOUBLING)))


def similarity(tokens: int | None, other: int | None) -> float:
    """What a question of one length counts for one of another: the square of their ratio, but at least a tenth.

    None = the length is unknown; then both count alike.
    """
    if not tokens or not other:
        return 1.0
    ratio = min(tokens, other) / max(tokens, other)
    return max(_LEAST, ratio * ratio)
