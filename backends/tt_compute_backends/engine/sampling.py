"""How a request becomes the parameters of one row; the one place that holds the local defaults."""

from __future__ import annotations

import msgspec

from tt_compute.types import GenerateRequest, JsonSchemaFormat, sample_seed
from tt_compute_backends.engine.runtime import Prompt, RowParams

__all__ = ["DEFAULT_TEMPERATURE", "DEFAULT_TOP_P", "row_params"]

DEFAULT_TEMPERATURE = 0.7
"""Warm enough that samples of one prompt differ, which is what voting lives on."""
DEFAULT_TOP_P = 0.95


def row_params(request: GenerateRequest, prompt: Prompt, seed: int, index: int) -> RowParams:
    """Parameters of sample ``index``; what the request leaves open takes the default.

    Without a request for them there is no ``top_k`` and no penalty.
    """
    sampling = request.sampling
    return RowParams(
        max_tokens=prompt.max_tokens,
        seed=sample_seed(seed, index),
        temperature=_given(sampling.temperature, DEFAULT_TEMPERATURE),
        top_p=_given(sampling.top_p, DEFAULT_TOP_P),
        top_k=sampling.top_k,
        stop=sampling.stop,
        logprobs=sampling.logprobs,
        presence_penalty=_given(sampling.presence_penalty, 0.0),
        frequency_penalty=_given(sampling.frequency_penalty, 0.0),
        json_schema=_schema_text(request.response_format),
    )


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def _schema_text(wanted: JsonSchemaFormat | None) -> str | None:
    return None if wanted is None else msgspec.json.encode(wanted.schema).decode()
