"""The services by name."""

from __future__ import annotations

from typing import Literal

from ttc_servers.cerebras import Cerebras
from ttc_servers.groq import Groq
from ttc_servers.openai import OpenAI
from ttc_servers.shapes import Shape

__all__ = ["SHAPES", "Name"]

Name = Literal["groq", "cerebras", "openai"]
SHAPES: dict[str, Shape] = {"groq": Groq(), "cerebras": Cerebras(), "openai": OpenAI()}
