"""The cerebras backend: Cerebras' cloud through its official SDK."""

from __future__ import annotations

from typing import Any, ClassVar

from tt_compute_backends.libraries import Library
from tt_compute_backends.wire.backend import AIOHTTP
from tt_compute_backends.wire.sdk_backend import SdkBackend

__all__ = ["CerebrasBackend"]


class CerebrasBackend(SdkBackend):
    """Satisfies ``tt_compute.backend.Backend``; made by ``create``."""

    name: ClassVar[str] = "cerebras"
    libraries = (Library(distribution="cerebras-cloud-sdk", least_version=(1, 60)), AIOHTTP)
    install = 'pip install "tt-compute[cerebras]"'
    home = "https://api.cerebras.ai"
    api_path = "/v1/"
    key_variable = "CEREBRAS_API_KEY"
    sdk = "cerebras.cloud.sdk"
    client = "AsyncCerebras"
    # It would send the key in a blocking request from its constructor, up to 4 s against a silent host.
    client_options: ClassVar[dict[str, Any]] = {"warm_tcp_connection": False}
