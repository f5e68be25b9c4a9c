"""Draws the next token of one row from its logits; the same on every runtime that hands out logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

from tt_compute.errors import ServerError
from tt_compute.types import TokenLogprob
from tt_compute_backends.engine.runtime import RowParams
from tt_compute_backends.loop.forward import F32

__all__ = ["Drawn", "Sampler", "nucleus"]

_GREEDY_BELOW: Final = 1e-3
"""Temperatures under this put all weight on one token."""
_FIRST_GUESSES: Final = (1e-2, 1e-3, 1e-4)
"""Probabilities above which a nucleus is looked for before the bound that is always right."""
_UNIFORMS: Final = 64
"""Random numbers made at once."""


class Drawn(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One token."""

    token: int
    logprob: TokenLogprob | None = None
    """None when none was asked for."""
    certainty: float | None = None
    """KL(uniform || model) in nats, before temperature and truncation; None without logprobs."""


class Sampler:
    """The random numbers and the memory of one row.

    Token t uses the t-th number of a PCG64 stream seeded with the row's seed, so that what a row draws does
    not depend on the rows beside it.

    Args:
        params: How to sample.
        name: Token number -> readable text, for logprobs.
    """

    def __init__(self, params: RowParams, name: Callable[[int], str]) -> None:
        self._params = params
        self._name = name
        self._random = np.random.Generator(np.random.PCG64(params.seed))
        self._uniforms: list[float] = []
        self._counts: dict[int, int] = {}
        self._penalised = bool(params.presence_penalty or params.frequency_penalty)

    def draw(
        self, logits: F32, allowed: np.ndarray[tuple[int], np.dtype[np.bool_]] | None
    ) -> Drawn:
        """Draw a token.

        Args:
            logits: Of the whole vocabulary; written to.
            allowed: Which tokens may come; None = all.
        """
        raw = logits.copy() if self._params.logprobs else logits
        self._penalise(logits)
        if allowed is not None:
            logits[~allowed] = -np.inf
        token = self._choose(logits)
        if self._penalised:
            self._counts[token] = self._counts.get(token, 0) + 1
        if not self._params.logprobs:
            return Drawn(token=token)
        return self._described(raw, token)

    def _penalise(self, logits: F32) -> None:
        if not self._counts:
            return
        tokens = np.fromiter(self._counts, dtype=np.int64)
        counts = np.fromiter(self._counts.values(), dtype=np.float32)
        params = self._params
        logits[tokens] -= params.presence_penalty + params.frequency_penalty * counts

    def _choose(self, logits: F32) -> int:
        params = self._params
        highest = logits.max()
        if not np.isfinite(highest):
            raise ServerError(
                "the model's logits are not numbers",
                hint="its weights may be damaged, or overflow: try options.dtype fp32 or bf16",
            )
        if params.temperature < _GREEDY_BELOW:
            return int(logits.argmax())
        weights = np.exp((logits - highest) * np.float32(1 / params.temperature))
        tokens = nucleus(weights, params.top_p, params.top_k)
        if tokens is None:
            return _pick(weights, self._uniform())
        return int(tokens[_pick(weights[tokens], self._uniform())])

    def _uniform(self) -> float:
        if not self._uniforms:
            self._uniforms = self._random.random(_UNIFORMS)[::-1].tolist()
        return self._uniforms.pop()

    def _described(self, raw: F32, token: int) -> Drawn:
        highest = float(raw.max())
        normaliser = highest + float(
            np.log(np.exp(raw - np.float32(highest)).sum(dtype=np.float64))
        )
        finite = raw[np.isfinite(raw)]
        certainty = normaliser - float(finite.mean(dtype=np.float64)) - float(np.log(finite.size))
        logprob = TokenLogprob(
            token=self._name(token),
            logprob=min(0.0, float(raw[token]) - normaliser),
            top=self._top(raw, normaliser),
        )
        return Drawn(token=token, logprob=logprob, certainty=max(0.0, certainty))

    def _top(self, raw: F32, normaliser: float) -> tuple[tuple[str, float], ...]:
        wanted = self._params.logprobs
        if wanted <= 1:
            return ()
        best = np.argpartition(raw, -wanted)[-wanted:]
        best = best[np.argsort(-raw[best], kind="stable")]
        return tuple((self._name(int(i)), min(0.0, float(raw[i]) - normaliser)) for i in best)


def nucleus(
    weights: F32, top_p: float, top_k: int | None
) -> np.ndarray[tuple[int], np.dtype[np.intp]] | None:
    """Tokens left by ``top_k`` and then ``top_p``, the likeliest first; None = all.

    Top-p after Holtzman et al. 2020 (https://arxiv.org/abs/1904.09751): the smallest set of likeliest tokens
    whose probabilities sum to ``top_p`` or more. As the tokens below ``(1 - top_p) / n`` cannot sum to more
    than ``1 - top_p``, the set lies above that bound, and only what lies there is sorted.

    Args:
        weights: Proportional to the probabilities.
        top_p: In (0, 1].
        top_k: At least 1; None = no limit.
    """
    limited = top_k is not None and top_k < weights.size
    if top_p >= 1 and not limited:
        return None
    if limited and top_k is not None:
        tokens = np.argpartition(weights, -top_k)[-top_k:]
        total = float(weights[tokens].sum(dtype=np.float64))
    else:
        total = float(weights.sum(dtype=np.float64))
        tokens = _above(weights, top_p, total)
    # Sorted by token within equal weights, so that ties do not depend on the partition.
    tokens = tokens[np.lexsort((tokens, -weights[tokens]))]
    if top_p >= 1:
        return tokens
    cumulated = weights[tokens].cumsum(dtype=np.float64)
    return tokens[: int(np.searchsorted(cumulated, top_p * total)) + 1]


def _above(weights: F32, top_p: float, total: float) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Tokens above some bound that hold at least ``top_p`` of the whole."""
    for guess in _FIRST_GUESSES:
        tokens = np.flatnonzero(weights >= guess * total)
        if float(weights[tokens].sum(dtype=np.float64)) >= top_p * total:
            return tokens
    return np.flatnonzero(weights >= (1 - top_p) / weights.size * total)


def _pick(weights: F32, uniform: float) -> int:
    """Index drawn in proportion to ``weights``."""
    cumulated = np.cumsum(weights, dtype=np.float64)
    index = int(np.searchsorted(cumulated, uniform * float(cumulated[-1]), side="right"))
    return min(index, weights.size - 1)
