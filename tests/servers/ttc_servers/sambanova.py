"""SambaNova: its list of models as its own SDK types it (npm, sambanova 1.2.0); the rest as OpenAI's wire."""

from __future__ import annotations

from typing import ClassVar

from ttc_servers.openai import OpenAI
from ttc_servers.shapes import Body

__all__ = ["SambaNova"]


class SambaNova(OpenAI, frozen=True, kw_only=True):
    """Prices are numbers, USD per token."""

    name: ClassVar[str] = "sambanova"
    open_lists: ClassVar[bool] = True

    def model(self, name: str) -> Body:
        return OpenAI.model(self, name) | {
            "context_length": 131_072,
            "max_completion_tokens": 131_072,
            "pricing": {"prompt": 2.2e-7, "completion": 5.9e-7, "duration_per_hour": None},
            "sn_metadata": {},
        }
