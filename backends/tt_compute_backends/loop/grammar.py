"""JSON schemas as masks over the vocabulary, by llguidance (the library behind several serving engines)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import llguidance
import numpy as np
from numpy.typing import NDArray

from tt_compute.errors import InvalidRequestError

__all__ = ["Grammars", "Matcher"]

_REASON_CHARACTERS = 300
_library = cast("Any", llguidance)


class Matcher:
    """Where one row stands in its grammar.

    Args:
        matcher: The library's, at the start of the grammar.
        vocabulary_size: Width of the logits; tokens that the tokenizer lacks are never allowed.
    """

    def __init__(self, matcher: Any, vocabulary_size: int) -> None:
        self._matcher = matcher
        self._vocabulary_size = vocabulary_size

    def allowed(self) -> NDArray[np.bool_]:
        """Which tokens may come next; the end token only where the document is complete."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, bitorder="little", count=self._vocabulary_size)
        return allowed.view(np.bool_)

    def accept(self, token: int) -> None:
        """Go on over a token that was allowed."""
        accepted = self._matcher.consume_token(token)
        assert accepted, f"token {token} was not allowed: {self._matcher.get_error()}"

    @property
    def finished(self) -> bool:
        """The document is complete and nothing can follow it."""
        stopped: bool = self._matcher.is_stopped()
        return stopped


class Grammars:
    """Compiles schemas for one tokenizer.

    Args:
        tokenizer_json: The tokenizer in the format of Hugging Face's library.
        end_tokens: Any of them ends a completion.
        vocabulary_size: Width of the logits.
    """

    def __init__(
        self, tokenizer_json: str, end_tokens: Iterable[int], vocabulary_size: int
    ) -> None:
        self._tokenizer_json = tokenizer_json
        self._end_tokens = sorted(end_tokens)
        self._vocabulary_size = vocabulary_size
        self._tokenizer: Any = None
        self._compiled: dict[str, str] = {}

    def check(self, schema: str) -> None:
        """Compile ``schema``, a JSON text.

        Raises:
            InvalidRequestError: It does not compile, or holds a keyword that would be ignored.
        """
        if schema in self._compiled:
            return
        # Built at the first schema: it costs a second or so for a large vocabulary.
        if self._tokenizer is None:
            self._tokenizer = _library.LLTokenizer(
                self._tokenizer_json, n_vocab=self._vocabulary_size, eos_token=self._end_tokens
            )
        try:
            grammar: str = _library.LLMatcher.grammar_from_json_schema(schema)
        except ValueError as error:
            raise _refused(str(error)) from error
        problem: str = _library.LLMatcher.validate_grammar(grammar, self._tokenizer)
        if problem:
            raise _refused(problem)
        self._compiled[schema] = grammar

    def matcher(self, schema: str) -> Matcher:
        """A row's place at the start of a schema that was checked."""
        grammar = self._compiled[schema]
        return Matcher(
            _library.LLMatcher(self._tokenizer, grammar, log_level=0), self._vocabulary_size
        )


def _refused(problem: str) -> InvalidRequestError:
    reason = problem.strip().splitlines()[0] if problem.strip() else "no reason given"
    return InvalidRequestError(f"the JSON schema does not compile: {reason[:_REASON_CHARACTERS]}")
