"""OpenVINO's tokeniser behind the reader of prompts."""

from __future__ import annotations

from collections.abc import Sequence

from tt_compute.errors import ContextLengthError, InvalidRequestError
from tt_compute.types import Capabilities
from tt_compute_backends.openvino_library import LIBRARY_ERRORS, Tokenizer, encode
from tt_compute_backends.openvino_model import OpenVinoModel
from tt_compute_backends.openvino_schema import SchemaCompiler
from tt_compute_backends.text.prompts import PromptReader

__all__ = ["openvino_prompts"]


def openvino_prompts(
    tokenizer: Tokenizer,
    model: OpenVinoModel,
    *,
    context_tokens: int,
    longest_token_bytes: int,
    capabilities: Capabilities,
) -> PromptReader:
    """A reader for one loaded model.

    Args:
        tokenizer: The model's.
        model: Its facts.
        context_tokens: Most tokens of prompt and completion together.
        longest_token_bytes: Of the vocabulary.
        capabilities: What requests may ask for.
    """
    text = _Text(tokenizer, context_tokens)
    return PromptReader(
        encode=text.encode,
        render=text.render,
        control_texts=model.control_tokens.values(),
        context_tokens=context_tokens,
        longest_token_bytes=longest_token_bytes,
        capabilities=capabilities,
        check_schema=SchemaCompiler(tokenizer, model.logits).check,
    )


class _Text:
    """The tokeniser, watched for what it drops in silence."""

    def __init__(self, tokenizer: Tokenizer, context_tokens: int) -> None:
        self._tokenizer = tokenizer
        # The tokenizer silently drops what exceeds its limit: find that with a text beyond the context.
        self._limit = len(encode(tokenizer, "\n a" * (context_tokens + 1)))

    def encode(self, text: str) -> list[int]:
        token_ids = encode(self._tokenizer, text)
        if len(token_ids) >= self._limit:
            raise ContextLengthError(
                f"the prompt has at least the {self._limit} tokens at which the tokenizer cuts"
            )
        return token_ids

    def render(self, turns: Sequence[dict[str, str]], open_turn: bool) -> str:  # noqa: FBT001 - RenderTemplate's shape
        try:
            return self._tokenizer.apply_chat_template(turns, add_generation_prompt=open_turn)
        except LIBRARY_ERRORS as error:
            lines = str(error).strip().splitlines() or ["no reason given"]
            raise InvalidRequestError(
                f"the chat template refuses the messages: {lines[-1]}"
            ) from error
