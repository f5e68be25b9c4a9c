"""What is said of the prefix cache is never more than what it holds."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from tt_compute_backends.openvino_prefix import PrefixLedger

BLOCK = 4


class _Cache:
    """Brute force: whole blocks, keyed by all tokens up to their end, least recently used first out."""

    def __init__(self, blocks: int) -> None:
        self._blocks: OrderedDict[tuple[int, ...], None] = OrderedDict()
        self._capacity = blocks
        self._unnamed = 0

    def cached(self, prompt: tuple[int, ...]) -> int:
        found = 0
        for end in range(BLOCK, len(prompt) + 1, BLOCK):
            if prompt[:end] not in self._blocks:
                break
            found = end
        return min(found, len(prompt) - 1)

    def run(self, prompt: tuple[int, ...], new_tokens: int) -> None:
        for end in range(BLOCK, len(prompt) + 1, BLOCK):
            self._use(prompt[:end])
        for _ in range(-(-(new_tokens + len(prompt) % BLOCK) // BLOCK)):
            self._unnamed -= 1
            self._use((self._unnamed,))

    def _use(self, key: tuple[int, ...]) -> None:
        self._blocks[key] = None
        self._blocks.move_to_end(key)
        while len(self._blocks) > self._capacity:
            self._blocks.popitem(last=False)


@given(
    runs=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30), st.integers(1, 40)), max_size=40)
)
def test_reported_tokens_are_in_the_cache(runs: list[tuple[int, int, int]]) -> None:
    """Against a real cache of the same size: never too high."""
    ledger, cache = PrefixLedger(BLOCK, 64), _Cache(64)
    for first, length, new_tokens in runs:
        prompt = tuple([first] * 6 + list(range(length)))
        said = ledger.cached_tokens(prompt)
        assert said <= cache.cached(prompt)
        ledger.prefilled(prompt, said)
        ledger.used(prompt, new_tokens)
        cache.run(prompt, new_tokens)


def test_whole_blocks_of_a_finished_prefill_are_shared() -> None:
    """Nothing before the first token, then all whole blocks, never the last token of a prompt."""
    ledger = PrefixLedger(BLOCK, 64)
    prompt = tuple(range(10))
    assert ledger.cached_tokens(prompt) == 0
    ledger.prefilled(prompt, 0)
    assert ledger.cached_tokens(prompt) == 8
    assert ledger.cached_tokens(prompt[:8]) == 7
    assert ledger.cached_tokens(prompt[:7]) == 4
    assert ledger.cached_tokens((*range(8), 99, 98, 97, 96)) == 8
    assert ledger.cached_tokens((99, *range(1, 10))) == 0


def test_a_prompt_is_forgotten_once_enough_was_written_since() -> None:
    """Half the cache's tokens later it may be gone, so it is not counted."""
    ledger = PrefixLedger(BLOCK, 8)
    prompt = tuple(range(8))
    ledger.prefilled(prompt, 0)
    ledger.used((), 16)
    assert ledger.cached_tokens(prompt) == 7
    ledger.used((), 1)
    assert ledger.cached_tokens(prompt) == 0
    ledger.prefilled(prompt, 0)
    ledger.clear()
    assert ledger.cached_tokens(prompt) == 0
