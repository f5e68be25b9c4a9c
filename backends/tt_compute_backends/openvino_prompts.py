"""Turns requests into checked token sequences without touching the running batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from tt_compute.errors import ContextLengthError, InvalidRequestError
from tt_compute.types import Capabilities, GenerateRequest, Message
from tt_compute_backends.chat import ChatRenderer
from tt_compute_backends.checks import check_request
from tt_compute_backends.engine.runtime import Prompt
from tt_compute_backends.openvino_library import LIBRARY_ERRORS, Tokenizer, encode
from tt_compute_backends.openvino_model import OpenVinoModel
from tt_compute_backends.openvino_schema import SchemaCompiler

__all__ = ["PromptReader"]

_REMEMBERED_PROMPTS = 32


class PromptReader:
    """Reads requests for one loaded model.

    Args:
        tokenizer: The model's.
        model: Its facts.
        context_tokens: Most tokens of prompt and completion together.
        longest_token_bytes: Of the vocabulary.
        capabilities: What requests may ask for.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        model: OpenVinoModel,
        *,
        context_tokens: int,
        longest_token_bytes: int,
        capabilities: Capabilities,
    ) -> None:
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self._longest_prompt_bytes = context_tokens * longest_token_bytes
        self._capabilities = capabilities
        self._chat = ChatRenderer(self._render, model.control_tokens.values())
        self._schemas = SchemaCompiler(tokenizer, model.logits)
        self._remembered = lru_cache(_REMEMBERED_PROMPTS)(self._tokenise)
        # The tokenizer silently drops what exceeds its limit: find that with a text beyond the context.
        self._tokenizer_limit = len(encode(tokenizer, "\n a" * (context_tokens + 1)))

    def read(self, request: GenerateRequest) -> Prompt:
        """Check and tokenise; see ``Runtime.prepare``."""
        check_request(request, self._capabilities)
        token_ids = self._remembered(request.messages, request.continue_assistant)
        max_tokens = self._max_tokens(len(token_ids), request.sampling.max_tokens)
        if request.response_format is not None:
            self._schemas.check(msgspec.json.encode(request.response_format.schema).decode())
        return Prompt(token_ids=token_ids, max_tokens=max_tokens)

    def _max_tokens(self, prompt_tokens: int, wanted: int | None) -> int:
        room = self._context_tokens - prompt_tokens
        if room < (wanted or 1):
            raise ContextLengthError(
                f"the prompt has {prompt_tokens} tokens and max_tokens is {wanted or 'open'}; "
                f"the context holds {self._context_tokens}",
                hint="shorten the prompt or lower max_tokens",
            )
        return wanted or room

    def _tokenise(
        self,
        messages: tuple[Message, ...],
        continue_assistant: bool,  # noqa: FBT001 - lru_cache keys are positional
    ) -> tuple[int, ...]:
        # A token is at most so long, so that nothing needs to read a text that cannot fit.
        text_bytes = sum(len(message.text.encode()) for message in messages)
        if text_bytes > self._longest_prompt_bytes:
            raise ContextLengthError(
                f"the prompt has {text_bytes} bytes, more than {self._context_tokens} tokens can hold"
            )
        pieces = self._chat.render(messages, continue_assistant=continue_assistant)
        token_ids = [token for piece in pieces for token in self._encode(piece)]
        if not token_ids:
            raise InvalidRequestError("the chat template makes an empty prompt of the messages")
        return tuple(token_ids)

    def _encode(self, text: str) -> list[int]:
        token_ids = encode(self._tokenizer, text)
        if len(token_ids) >= self._tokenizer_limit:
            raise ContextLengthError(
                f"the prompt has at least the {self._tokenizer_limit} tokens at which the tokenizer cuts"
            )
        return token_ids

    def _render(self, turns: Sequence[dict[str, str]], open_turn: bool) -> str:  # noqa: FBT001 - RenderTemplate's shape
        try:
            return self._tokenizer.apply_chat_template(turns, add_generation_prompt=open_turn)
        except LIBRARY_ERRORS as error:
            lines = str(error).strip().splitlines() or ["no reason given"]
            raise InvalidRequestError(
                f"the chat template refuses the messages: {lines[-1]}"
            ) from error
