"""OpenRouter: its list of models as openrouter.ai documents it; the rest as OpenAI's wire."""

from __future__ import annotations

from typing import ClassVar

from ttc_servers.openai import OpenAI
from ttc_servers.shapes import CREATED, Body

__all__ = ["OpenRouter"]


class OpenRouter(OpenAI, frozen=True, kw_only=True):
    """Prices are text, USD per token; -1 where they vary."""

    name: ClassVar[str] = "openrouter"
    base: ClassVar[str] = "/api/v1"
    open_lists: ClassVar[bool] = True

    def model(self, name: str) -> Body:
        return {
            "id": name,
            "canonical_slug": name,
            "hugging_face_id": None,
            "name": name,
            "created": CREATED,
            "description": "",
            "context_length": 262_144,
            "architecture": {
                "modality": "text->text",
                "input_modalities": ["text"],
                "output_modalities": ["text"],
                "tokenizer": "Other",
                "instruct_type": None,
            },
            "pricing": {
                "prompt": "0.0000025",
                "completion": "0.00001",
                "image": "0",
                "request": "0",
                "web_search": "0",
                "internal_reasoning": "0",
                "input_cache_read": "0.00000125",
                "input_cache_write": "0",
            },
            "top_provider": {
                "context_length": 131_072,
                "max_completion_tokens": None,
                "is_moderated": False,
            },
            "per_request_limits": None,
            "supported_parameters": ["max_tokens", "temperature", "top_p"],
        }
