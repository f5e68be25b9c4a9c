"""The groq backend: Groq's cloud through its official SDK."""

from __future__ import annotations

from typing import ClassVar

from tt_compute_backends.libraries import Library
from tt_compute_backends.wire.backend import AIOHTTP
from tt_compute_backends.wire.sdk_backend import SdkBackend

__all__ = ["GroqBackend"]


class GroqBackend(SdkBackend):
    """Satisfies ``tt_compute.backend.Backend``; made by ``create``."""

    name: ClassVar[str] = "groq"
    libraries = (Library(distribution="groq", least_version=(1, 0)), AIOHTTP)
    install = 'pip install "tt-compute[groq]"'
    home = "https://api.groq.com"
    api_path = "/openai/v1/"
    key_variable = "GROQ_API_KEY"
    sdk = "groq"
    client = "AsyncGroq"
