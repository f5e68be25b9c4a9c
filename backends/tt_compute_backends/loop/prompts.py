"""The prompts that lie computed in memory: each prefilled once, in pieces, and copied to the rows drawn from it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic

from tt_compute_backends.loop.forward import F32, CacheT, Forward

__all__ = ["PromptCache", "PromptState", "common_tokens"]

_LEAST_SHARED_TOKENS = 16
"""Shorter common beginnings are not worth the copy."""


@dataclass(eq=False, slots=True)
class PromptState(Generic[CacheT]):
    """One prompt, computed or on the way."""

    token_ids: tuple[int, ...]
    cache: CacheT
    """Of one row and just the prompt's length."""
    done_tokens: int = 0
    reused_tokens: int = 0
    """Copied from another prompt with the same beginning."""
    logits: F32 | None = field(default=None, repr=False)
    """After the last token, once all are done; read only."""
    users: int = 0
    """Rows that wait for it or were drawn from it."""

    @property
    def finished(self) -> bool:
        return self.logits is not None


class PromptCache(Generic[CacheT]):
    """Prompts by their tokens; those in use stay, of the others the latest used.

    Args:
        forward: Computes them.
        piece_tokens: Most tokens of one ``advance``.
        keep_bytes: Most memory of prompts that no row uses.
        share_beginnings: Whether a prompt may start from a copy of another one's beginning. Its numbers then
            depend, in the last bits, on what was computed before.
    """

    def __init__(
        self,
        forward: Forward[CacheT],
        *,
        piece_tokens: int,
        keep_bytes: int,
        share_beginnings: bool,
    ) -> None:
        self._forward = forward
        self._piece_tokens = piece_tokens
        self._keep_bytes = keep_bytes
        self._share_beginnings = share_beginnings
        self._states: OrderedDict[tuple[int, ...], PromptState[CacheT]] = OrderedDict()

    @property
    def bytes(self) -> int:
        """Of all prompts held."""
        return sum(map(self._bytes_of, self._states.values()))

    @property
    def used_bytes(self) -> int:
        """Of the prompts that rows use."""
        return sum(self._bytes_of(state) for state in self._states.values() if state.users)

    def holds(self, token_ids: tuple[int, ...]) -> bool:
        """Whether a row of this prompt needs no new memory for it."""
        return token_ids in self._states

    def enter(self, token_ids: tuple[int, ...]) -> PromptState[CacheT]:
        """The prompt's state, with one more user; new ones are still to be computed.

        Raises:
            one of the forward's ``out_of_memory``
        """
        state = self._states.get(token_ids)
        if state is None:
            self.trim(self._keep_bytes)
            state = PromptState(token_ids, self._forward.new_cache(1, len(token_ids)))
            if self._share_beginnings:
                self._copy_beginning(state)
            self._states[token_ids] = state
        self._states.move_to_end(token_ids)
        state.users += 1
        return state

    def leave(self, state: PromptState[CacheT]) -> None:
        """A row is done with the prompt. What is half computed and used by nobody is dropped."""
        state.users -= 1
        if state.users == 0 and not state.finished:
            self._states.pop(state.token_ids, None)
        self.trim(self._keep_bytes)

    def advance(self) -> bool:
        """Compute the next piece of the oldest unfinished prompt; False = nothing is to be done."""
        state = next((state for state in self._states.values() if not state.finished), None)
        if state is None:
            return False
        start = state.done_tokens
        piece = state.token_ids[start : start + self._piece_tokens]
        logits = self._forward.prefill(state.cache, 0, piece, start)
        state.done_tokens += len(piece)
        if state.done_tokens == len(state.token_ids):
            state.logits = logits.copy()
        return True

    def trim(self, keep_bytes: int) -> None:
        """Drop unused prompts, the longest unused first, until they hold at most ``keep_bytes``."""
        unused = [state for state in self._states.values() if not state.users]
        held = sum(map(self._bytes_of, unused))
        for state in unused:
            if held <= keep_bytes:
                return
            held -= self._bytes_of(state)
            del self._states[state.token_ids]

    def clear(self) -> None:
        """Drop all, rows or not."""
        self._states.clear()

    def _bytes_of(self, state: PromptState[CacheT]) -> int:
        return len(state.token_ids) * self._forward.kv_bytes_per_token

    def _copy_beginning(self, state: PromptState[CacheT]) -> None:
        """Start from the computed prompt with the longest common beginning."""
        best, tokens = None, _LEAST_SHARED_TOKENS - 1
        for other in self._states.values():
            common = min(common_tokens(state.token_ids, other.token_ids), other.done_tokens)
            if common > tokens:
                best, tokens = other, common
        if best is None:
            return
        # The last token is computed in any case: its logits are needed.
        tokens = min(tokens, len(state.token_ids) - 1)
        self._forward.copy_row(best.cache, 0, state.cache, 0, tokens)
        state.done_tokens = state.reused_tokens = tokens


def common_tokens(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Length of the common beginning."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    return next(i for i in range(shorter) if one[i] != other[i])
