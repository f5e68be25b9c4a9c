"""The services by name."""

from __future__ import annotations

from typing import Literal

from ttc_servers.cerebras import Cerebras
from ttc_servers.groq import Groq
from ttc_servers.openai import OpenAI
from ttc_servers.openrouter import OpenRouter
from ttc_servers.sambanova import SambaNova
from ttc_servers.shapes import Shape
from ttc_servers.vllm import Vllm

__all__ = ["SHAPES", "Name"]

Name = Literal["groq", "cerebras", "openai", "openrouter", "sambanova", "vllm"]
SHAPES: dict[str, Shape] = {
    "groq": Groq(),
    "cerebras": Cerebras(),
    "openai": OpenAI(),
    "openrouter": OpenRouter(),
    "sambanova": SambaNova(),
    "vllm": Vllm(),
}
