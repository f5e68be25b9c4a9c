"""What servers of the OpenAI wire do differently, as rows of data."""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from tt_compute.types import Capabilities
from tt_compute_backends.wire.listing import Listing

__all__ = ["SERVICES", "Service", "service_for"]

Parameter = Literal["top_k", "presence_penalty", "frequency_penalty", "seed"]


_ALL: Final[frozenset[Parameter]] = frozenset(
    {"top_k", "presence_penalty", "frequency_penalty", "seed"}
)


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of server."""

    max_tokens: Literal["max_completion_tokens", "max_tokens"] = "max_tokens"
    """Name of the limit; both mean completion tokens, reasoning included."""
    parameters: frozenset[Parameter] = frozenset({"presence_penalty", "frequency_penalty", "seed"})
    """The soft parameters it takes; others are left out of the request."""
    max_stops: int | None = 4
    stream_usage: bool = True
    """Whether ``stream_options.include_usage`` is understood."""
    native_n: bool = True
    max_logprobs: int = 20
    json_schema: bool = True
    tools: bool = True
    reasoning: bool = True
    continue_fields: dict[str, bool] | None = None
    """What asks it to go on from an unfinished assistant message; None = it cannot."""
    cache_key: bool = False
    """Whether ``prompt_cache_key`` is understood: samples with the same one meet the same cache."""
    hosts: tuple[str, ...] = ()
    """Hosts that are this service, whatever the deployment says."""
    needs_key: bool = False
    requests_window_s: float = 60.0
    """Of ``x-ratelimit-*-requests`` where the header's name holds no window."""
    listing: Listing = Listing()
    """What its list of models tells besides the models' names."""

    def capabilities(self, *, streaming: bool, native_n: bool) -> Capabilities:
        return Capabilities(
            native_n=native_n and self.native_n,
            prefix_sharing=False,
            cancel="request" if native_n and self.native_n else "sample",
            max_logprobs=self.max_logprobs,
            seed="none",
            stop=self.max_stops is None or self.max_stops > 0,
            json_schema=self.json_schema,
            tools=self.tools,
            reasoning=self.reasoning,
            continue_assistant=self.continue_fields is not None,
            streaming=streaming,
            continuous_batching=True,
            ignored_params=tuple(sorted(_ALL - self.parameters)),
        )


SERVICES: Final = {
    # console.groq.com/docs/openai, read 2026-11: 400 for logprobs, logit_bias and n other than 1.
    "groq": Service(
        max_tokens="max_completion_tokens",
        parameters=frozenset({"seed"}),
        native_n=False,
        max_logprobs=0,
        hosts=("api.groq.com",),
        needs_key=True,
        requests_window_s=86400.0,
        # Its SDK's type has none of these fields; clients of the live service read them. No prices.
        listing=Listing(
            max_context_tokens=("context_window",),
            max_output_tokens=("max_completion_tokens",),
            active="active",
        ),
    ),
    # cerebras-cloud-sdk 1.91.0: n, logprobs and both penalties, no top_k.
    "cerebras": Service(
        max_tokens="max_completion_tokens",
        cache_key=True,
        hosts=("api.cerebras.ai",),
        needs_key=True,
        # PublicModel of the SDK: the limits of rates are the default ones. With ?format=huggingface prices would
        # be per million tokens.
        listing=Listing(
            public="public/v1/models",
            input_usd_per_token=("pricing.prompt",),
            output_usd_per_token=("pricing.completion",),
            max_context_tokens=("limits.max_context_length",),
            max_output_tokens=("limits.max_completion_tokens",),
            requests_per_minute=("limits.requests_per_minute",),
            tokens_per_minute=("limits.tokens_per_minute",),
            deprecated="deprecated",
        ),
    ),
    "openai": Service(
        max_tokens="max_completion_tokens",
        cache_key=True,
        hosts=("api.openai.com",),
        needs_key=True,
    ),
    # docs.vllm.ai, OpenAI-compatible server, extra parameters; ModelCard of its protocol.py.
    "vllm": Service(
        listing=Listing(max_context_tokens=("max_model_len",)),
        parameters=_ALL,
        max_stops=None,
        continue_fields={"continue_final_message": True, "add_generation_prompt": False},
    ),
    # docs.sglang.ai, OpenAI-compatible server; ModelCard of its protocol.py.
    "sglang": Service(
        listing=Listing(max_context_tokens=("max_model_len",)),
        parameters=_ALL,
        max_stops=None,
        continue_fields={"continue_final_message": True},
    ),
    # llama.cpp tools/server/README.md: goes on from a last assistant message by itself.
    "llama.cpp": Service(parameters=_ALL, max_stops=None, continue_fields={}),
    # docs.ollama.com/openai: n and logit_bias are not taken.
    "ollama": Service(native_n=False, max_stops=None),
    "sambanova": Service(
        parameters=frozenset({"top_k"}),
        native_n=False,
        max_logprobs=0,
        hosts=("api.sambanova.ai",),
        needs_key=True,
        # ModelResponse of its own SDK (npm, sambanova 1.2.0): prices are numbers there, and in dollars per token.
        listing=Listing(
            input_usd_per_token=("pricing.prompt",),
            output_usd_per_token=("pricing.completion",),
            max_context_tokens=("context_length",),
            max_output_tokens=("max_completion_tokens",),
        ),
    ),
    "openrouter": Service(
        parameters=_ALL,
        native_n=False,
        hosts=("openrouter.ai",),
        needs_key=True,
        # openrouter.ai/docs: USD per token as text, of the provider that is tried first; -1 = it varies.
        listing=Listing(
            input_usd_per_token=("pricing.prompt",),
            cached_input_usd_per_token=("pricing.input_cache_read",),
            output_usd_per_token=("pricing.completion",),
            max_context_tokens=("top_provider.context_length", "context_length"),
            max_output_tokens=("top_provider.max_completion_tokens",),
        ),
    ),
    "other": Service(native_n=False),
}
"""By the name that ``options.server`` takes."""


def service_for(base_url: str) -> str:
    """The kind of server behind a base URL, by its host; ``other`` for a host that is in no row."""
    host = urlsplit(base_url).hostname
    return next((name for name, row in SERVICES.items() if host in row.hosts), "other")
