"""vLLM: its list of models as ``ModelCard`` in its protocol.py; the rest as OpenAI's wire."""

from __future__ import annotations

from typing import ClassVar

from ttc_servers.openai import OpenAI
from ttc_servers.shapes import Body

__all__ = ["Vllm"]


class Vllm(OpenAI, frozen=True, kw_only=True):
    """No prices; the context that it was started with."""

    name: ClassVar[str] = "vllm"

    def model(self, name: str) -> Body:
        more = {"owned_by": "vllm", "root": name, "parent": None, "max_model_len": 32_768}
        return OpenAI.model(self, name) | more | {"permission": []}
