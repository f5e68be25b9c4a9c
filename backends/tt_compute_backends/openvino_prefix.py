"""Which prompts lie in the runtime's prefix cache, followed from outside because it does not say."""

from __future__ import annotations

__all__ = ["PrefixLedger"]


class PrefixLedger:
    """Follows what rows leave in a cache of whole blocks that drops the least recently used ones.

    A block counts as kept while fewer than half the cache's blocks were written since it was last used;
    the other half is room for the rows that hold blocks at that moment. So the figures may be too low,
    not too high.

    Args:
        block_tokens: Tokens in one block; only whole blocks are shared.
        capacity_blocks: Blocks in the cache.
    """

    def __init__(self, block_tokens: int, capacity_blocks: int) -> None:
        self._block_tokens = block_tokens
        self._keep_tokens = capacity_blocks * block_tokens // 2
        self._written_tokens = 0
        self._last_used: dict[int, int] = {}

    def cached_tokens(self, prompt: tuple[int, ...]) -> int:
        """Tokens of ``prompt`` that need no prefill; the last one always does."""
        blocks = 0
        for block in self._blocks(prompt):
            used = self._last_used.get(block)
            if used is None or self._written_tokens - used > self._keep_tokens:
                break
            blocks += 1
        return min(blocks * self._block_tokens, len(prompt) - 1)

    def prefilled(self, prompt: tuple[int, ...], cached_tokens: int) -> None:
        """A row has its first token: its prompt's blocks are there for others."""
        self._written_tokens += len(prompt) - cached_tokens
        self.used(prompt, 0)

    def used(self, prompt: tuple[int, ...], new_tokens: int) -> None:
        """A row held the prompt's blocks until now and wrote ``new_tokens`` behind them."""
        self._written_tokens += new_tokens
        for block in self._blocks(prompt):
            # Kept in the order of use, so that what the cache has dropped stands in front.
            self._last_used.pop(block, None)
            self._last_used[block] = self._written_tokens
        self._forget()

    def clear(self) -> None:
        """The cache is empty."""
        self._last_used.clear()

    def _forget(self) -> None:
        stale: list[int] = []
        for block, used in self._last_used.items():
            if self._written_tokens - used <= self._keep_tokens:
                break
            stale.append(block)
        for block in stale:
            del self._last_used[block]

    def _blocks(self, prompt: tuple[int, ...]) -> list[int]:
        """One key per whole block, each depending on all before it."""
        keys: list[int] = []
        key = 0
        for start in range(0, len(prompt) - self._block_tokens + 1, self._block_tokens):
            key = hash((key, prompt[start : start + self._block_tokens]))
            keys.append(key)
        return keys
