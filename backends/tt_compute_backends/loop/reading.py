"""Texts that are only to be read: a bounded number of tokens in each pass, a common beginning once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Generic

from tt_compute.errors import OutOfMemory
from tt_compute.types import Message
from tt_compute_backends.engine.runtime import (
    EmbedTexts,
    RateContinuations,
    Reading,
    ScoreSteps,
    ScoreTexts,
    Vectors,
)
from tt_compute_backends.loop.batch import Memory
from tt_compute_backends.loop.forward import CacheT, KvCache, Piece
from tt_compute_backends.loop.harvest import Harvest, Likelihoods, Pooled, Rewards, StepRewards
from tt_compute_backends.loop.prompts import common_tokens
from tt_compute_backends.loop.readable import Readable, check_reads
from tt_compute_backends.text.sequences import SequenceReader, Stepped

__all__ = ["TextReader"]

Tokens = tuple[int, ...]

_LEAST_SHARED_TOKENS = 16
"""Shorter common beginnings are not worth the copies."""
_ANY_STEP = "."
_MADE_AT_ONCE = 2**16
"""Tokens made of texts before samples get their turn: some hundredths of a second."""


class TextReader:
    """Reads texts on a loaded model.

    Args:
        model: It.
        sequences: Makes tokens of texts.
        memory: The engine's limits.
        beside: Bytes of keys and values that samples hold now.
    """

    def __init__(
        self,
        model: Readable,
        sequences: SequenceReader,
        memory: Memory,
        beside: Callable[[], int],
    ) -> None:
        self._forward = model.forward
        self._model = model
        self._sequences = sequences
        self._memory = memory
        self._beside = beside
        self._held: dict[object, int] = {}
        self._waiting: dict[object, int] = {}

    @property
    def claimed_bytes(self) -> int:
        """Held, and wanted by the largest that waits; samples that would take it have to wait."""
        return sum(self._held.values()) + max(self._waiting.values(), default=0)

    def read(self, reading: Reading) -> Generator[None, None, Vectors]:
        """As ``engine.runtime.ReadingRuntime``."""
        check_reads(self._model.output, reading)
        if not reading.texts:
            self._try(reading)
            return []
        harvest, texts = yield from self._prepared(reading)
        shared = self._shared_tokens(harvest, texts)
        ticket = object()
        try:
            yield from self._wait(ticket, self._needed_bytes(texts, shared))
            yield from self._passes(harvest, texts, shared)
        except self._forward.out_of_memory as error:
            raise OutOfMemory(
                "the texts do not fit into the memory of the engine's device",
                hint="lower placement.memory_bytes or options.batched_tokens, or shorten the texts",
            ) from error
        finally:
            self._held.pop(ticket, None)
            self._waiting.pop(ticket, None)
        return harvest.rows()

    # --- what is wanted --------------------------------------------------------------------------

    def _try(self, reading: Reading) -> None:
        """What would be said of any text behind these messages, where there are some."""
        match reading:
            case ScoreTexts(messages=messages) if messages:
                next(self._sequences.answered(messages, ("",)))
            case ScoreSteps(messages=messages) if messages and self._model.steps is not None:
                next(self._sequences.stepped(messages, ((_ANY_STEP,),), self._model.steps))
            case _:
                pass

    def _prepared(self, reading: Reading) -> Generator[None, None, tuple[Harvest, list[Tokens]]]:
        """What takes the hidden states, and the texts in tokens."""
        model = self._model
        match reading:
            case ScoreTexts(messages=messages, texts=answers):
                texts = yield from _made(self._sequences.answered(messages, answers))
                return Rewards(model.reward, texts, model.pad_token), texts
            case ScoreSteps(messages=messages, texts=answers):
                return (yield from self._stepped(messages, answers))
            case EmbedTexts(texts=alone):
                texts = yield from _made(self._sequences.alone(alone))
                return Pooled(model.pooling, texts, model.hidden_size), texts
            case RateContinuations(messages=messages, texts=continuations):
                prompt, following = self._sequences.continued(messages, continuations)
                texts = yield from _made(prompt + tokens for tokens in following)
                assert model.logits is not None, "a language model has them"
                return Likelihoods(model.logits, len(prompt), texts), texts

    def _stepped(
        self, messages: Sequence[Message], answers: Sequence[Sequence[str]]
    ) -> Generator[None, None, tuple[Harvest, list[Tokens]]]:
        ends: list[tuple[int, ...]] = []
        marks = self._model.steps
        assert marks is not None, "it goes with the output"

        def tokens_of(stepped: Stepped) -> Tokens:
            ends.append(stepped.ends)
            return stepped.tokens

        made = map(tokens_of, self._sequences.stepped(messages, answers, marks))
        texts = yield from _made(made)
        return StepRewards(self._model.reward, ends), texts

    def _shared_tokens(self, harvest: Harvest, texts: Sequence[Tokens]) -> int:
        """Length of what all texts begin with and nothing is wanted of for one alone, if computing it once pays."""
        if len(texts) == 1 or not self._memory.share_beginnings:
            return 0
        # What the first and the last of them in order have in common, all have.
        common = common_tokens(min(texts), max(texts))
        shared = min(common, *(harvest.first(number) for number in range(len(texts))))
        return shared if shared >= _LEAST_SHARED_TOKENS else 0

    # --- memory ----------------------------------------------------------------------------------

    def _needed_bytes(self, texts: Sequence[Tokens], shared: int) -> int:
        """Of the common beginning, one text that takes several passes, and those that share a pass with it."""
        at_once = min(sum(map(len, texts)), max(map(len, texts)) + self._memory.piece_tokens)
        return (shared + at_once) * self._forward.kv_bytes_per_token

    def _wait(self, ticket: object, needed: int) -> Generator[None, None, None]:
        """Until there is room; with nothing to wait for it is tried all the same."""
        self._waiting[ticket] = needed
        while True:
            others = self._beside() + sum(self._held.values())
            if not others or others + needed <= self._memory.budget_bytes:
                break
            yield
        self._held[ticket] = self._waiting.pop(ticket)

    # --- passes ----------------------------------------------------------------------------------

    def _passes(
        self, harvest: Harvest, texts: Sequence[Tokens], shared: int
    ) -> Generator[None, None, None]:
        beginning = self._forward.new_cache(1, shared) if shared else None
        most = self._memory.piece_tokens
        for start in range(0, shared, most):
            tokens = texts[0][start : min(start + most, shared)]
            assert beginning is not None, "it is shared"
            hidden = self._forward.hidden((Piece(beginning, 0, tokens, start),))
            for number in range(len(texts)):
                harvest.take(number, start, hidden)
            yield
        queue = _Queue(texts, lambda tokens: self._begun(tokens, beginning, shared), shared)
        while queue:
            pieces = queue.take(most)
            hidden = self._forward.hidden([piece for _, piece in pieces])
            end = 0
            for number, piece in pieces:
                start, end = end, end + len(piece.token_ids)
                harvest.take(number, piece.past_tokens, hidden[start:end])
            if queue:
                yield

    def _begun(self, tokens: Tokens, beginning: KvCache | None, shared: int) -> KvCache:
        cache: KvCache = self._forward.new_cache(1, len(tokens))
        if beginning is not None:
            self._forward.copy_row(beginning, 0, cache, 0, shared)
        return cache


def _made(texts: Iterable[Tokens]) -> Generator[None, None, list[Tokens]]:
    """All of them, a part at a time: there may be very many."""
    made: list[Tokens] = []
    tokens = 0
    for text in texts:
        made.append(text)
        tokens += len(text)
        if tokens >= _MADE_AT_ONCE:
            tokens = 0
            yield
    return made


class _Queue(Generic[CacheT]):
    """Texts, the longest first so that those of a pass are of like lengths, cut where the pass is full.

    Args:
        texts: In tokens.
        begin: Makes a text's cache when its turn comes.
        done: Tokens at the beginning of each that the cache then holds.
    """

    def __init__(
        self, texts: Sequence[Tokens], begin: Callable[[Tokens], CacheT], done: int
    ) -> None:
        self._texts = texts
        self._order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
        self._begin = begin
        self._done = done
        self._place = 0
        self._past = done
        self._cache: CacheT | None = None

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self._place < len(self._order)

    def take(self, tokens: int) -> list[tuple[int, Piece[CacheT]]]:
        """The next ones, each with its text's number."""
        taken: list[tuple[int, Piece[CacheT]]] = []
        left = tokens
        while self and left:
            number = self._order[self._place]
            text = self._texts[number]
            if self._cache is None:
                self._cache = self._begin(text)
            piece = Piece(self._cache, 0, text[self._past : self._past + left], self._past)
            taken.append((number, piece))
            left -= len(piece.token_ids)
            self._past += len(piece.token_ids)
            if self._past == len(text):
                self._place, self._past, self._cache = self._place + 1, self._done, None
        return taken
