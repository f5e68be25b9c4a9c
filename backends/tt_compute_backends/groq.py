"""The groq backend: Groq's cloud through its official SDK.

The SDK is imported only where a deployment uses it.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tt_compute.errors import AuthenticationError
from tt_compute.types import DeploymentSpec
from tt_compute_backends.wire.backend import WireBackend, WireOptions
from tt_compute_backends.wire.base_url import base_url, without_api_path
from tt_compute_backends.wire.services import SERVICES, Service
from tt_compute_backends.wire.transport import Transport

__all__ = ["GroqBackend"]


class GroqBackend(WireBackend):
    """Satisfies ``tt_compute.backend.Backend``; made by ``create``."""

    name: ClassVar[str] = "groq"
    libraries = (("groq", (1, 0)), ("aiohttp", (3, 10)))
    install = 'pip install "tt-compute[groq]"'
    api_path = "/openai/v1/"
    key_variable = "GROQ_API_KEY"

    @classmethod
    def address(cls, spec: DeploymentSpec, options: WireOptions) -> tuple[str, Service]:
        """The SDK adds ``/openai/v1`` itself."""
        del options
        return without_api_path(base_url(spec, "https://api.groq.com")), SERVICES["groq"]

    @classmethod
    def connect(cls, url: str, key: str | None, options: WireOptions) -> Transport:
        del options
        if key is None:
            raise AuthenticationError(
                "the SDK needs a key, and none is named for this host",
                hint="name one in `auth:` of the deployment; the service's own variable is for its own host",
            )
        library: Any = importlib.import_module("groq")
        sdk: Any = importlib.import_module("tt_compute_backends.wire.sdk")
        carrier = sdk.AiohttpTransport(url)
        client = library.AsyncGroq(
            api_key=key,
            base_url=url,
            max_retries=0,
            timeout=None,
            http_client=sdk.sdk_http_client(carrier),
        )
        made: Transport = sdk.SdkTransport(
            library,
            client,
            carrier=carrier,
            host=str(urlsplit(url).hostname),
        )
        return made
