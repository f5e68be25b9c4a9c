"""Turns requests into checked token sequences without touching the running batch; for any local model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import msgspec

from tt_compute.checks import check_request
from tt_compute.errors import ContextLengthError, InvalidRequestError
from tt_compute.types import Capabilities, GenerateRequest, Message
from tt_compute_backends.chat import ChatRenderer, RenderTemplate
from tt_compute_backends.engine.runtime import Prompt

__all__ = ["PromptReader"]

_REMEMBERED_PROMPTS = 32


class PromptReader:
    """Reads requests for one loaded model.

    Args:
        encode: Text -> tokens; texts of control tokens become those tokens, and none are added.
        render: The model's chat template.
        control_texts: Of the tokens that only the template may write.
        context_tokens: Most tokens of prompt and completion together.
        longest_token_bytes: Of the vocabulary.
        capabilities: What requests may ask for.
        check_schema: Compiles a JSON schema; raises InvalidRequestError.
    """

    def __init__(
        self,
        *,
        encode: Callable[[str], list[int]],
        render: RenderTemplate,
        control_texts: Iterable[str],
        context_tokens: int,
        longest_token_bytes: int,
        capabilities: Capabilities,
        check_schema: Callable[[str], None],
    ) -> None:
        self._encode = encode
        self._context_tokens = context_tokens
        self._longest_prompt_bytes = context_tokens * longest_token_bytes
        self._capabilities = capabilities
        self._check_schema = check_schema
        self._chat = ChatRenderer(render, control_texts)
        self._remembered = lru_cache(_REMEMBERED_PROMPTS)(self._tokenise)

    def read(self, request: GenerateRequest) -> Prompt:
        """Check and tokenise; see ``Runtime.prepare``."""
        check_request(request, self._capabilities)
        token_ids = self._remembered(request.messages, request.continue_assistant)
        max_tokens = self._max_tokens(len(token_ids), request.sampling.max_tokens)
        if request.response_format is not None:
            self._check_schema(msgspec.json.encode(request.response_format.schema).decode())
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
