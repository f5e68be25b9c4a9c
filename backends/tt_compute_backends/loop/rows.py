"""One row of our own decode loop: what it was asked for, where it stands, and what a token does to it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from tt_compute_backends.detokenize import RowText, TokenTable
from tt_compute_backends.engine.runtime import RowParams, RowStep
from tt_compute_backends.loop.forward import F32, CacheT
from tt_compute_backends.loop.grammar import Matcher
from tt_compute_backends.loop.prompts import PromptState
from tt_compute_backends.loop.sampler import Sampler

__all__ = ["LoopRow"]


class LoopRow(Generic[CacheT]):
    """A row, from its prompt to its last token.

    Args:
        number: The engine's.
        prompt: What it is drawn from; the row is one of its users until it ends.
        found_computed: The prompt needed no prefill for this row.
        params: How it is sampled.
        table: The model's vocabulary.
        end_tokens: Any of them ends it.
        matcher: Of its grammar; None = free text.
    """

    def __init__(
        self,
        number: int,
        prompt: PromptState[CacheT],
        *,
        found_computed: bool,
        params: RowParams,
        table: TokenTable,
        end_tokens: Collection[int],
        matcher: Matcher | None,
    ) -> None:
        self.number = number
        self.prompt = prompt
        self.last_token = -1
        self.past_tokens = 0
        """Tokens whose keys and values it holds in its slot."""
        self._found_computed = found_computed
        self._params = params
        self._end_tokens = end_tokens
        self._matcher = matcher
        self._sampler = Sampler(params, table.name)
        self._text = RowText(table, params.stop)
        self._made_tokens = 0

    def take(self, logits: F32) -> RowStep:
        """Draw the next token.

        Args:
            logits: Written to.
        """
        drawn = self._sampler.draw(logits, self._allowed())
        token = self.last_token = drawn.token
        first = self._made_tokens == 0
        self._made_tokens += 1
        finish = self._finish(token)
        text = self._text.feed((token,))
        if self._text.stopped:
            finish = "stop"
        elif finish is not None:
            text += self._text.finish()
        return RowStep(
            row=self.number,
            text=text,
            tokens=1,
            cached_tokens=self._cached_tokens() if first else 0,
            logprobs=() if drawn.logprob is None else (drawn.logprob,),
            certainty=drawn.certainty,
            finish=finish,
        )

    def _allowed(self) -> NDArray[np.bool_] | None:
        return None if self._matcher is None else self._matcher.allowed()

    def _finish(self, token: int) -> str | None:
        if token in self._end_tokens:
            return "stop"
        if self._matcher is not None:
            self._matcher.accept(token)
            if self._matcher.finished:
                return "stop"
        return "length" if self._made_tokens == self._params.max_tokens else None

    def _cached_tokens(self) -> int:
        if self._found_computed:
            return len(self.prompt.token_ids)
        return self.prompt.reused_tokens
