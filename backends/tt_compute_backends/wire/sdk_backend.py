"""What the backends of the official SDKs share: all but the names."""

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

__all__ = ["SdkBackend"]


class SdkBackend(WireBackend):
    """A cloud through the SDK that its makers keep; the SDK is imported only where a deployment uses it."""

    home: ClassVar[str]
    """The service's own base URL; the SDK adds ``api_path`` itself."""
    sdk: ClassVar[str]
    """The SDK's module."""
    client: ClassVar[str]
    """Its asynchronous client."""
    client_options: ClassVar[dict[str, Any]] = {}
    """Of this SDK's client alone."""

    @classmethod
    def address(cls, spec: DeploymentSpec, options: WireOptions) -> tuple[str, Service]:
        """Without the path that others write into base URLs."""
        del options
        return without_api_path(base_url(spec, cls.home)), SERVICES[cls.name]

    @classmethod
    def connect(cls, url: str, key: str | None, options: WireOptions) -> Transport:
        del options
        if key is None:
            raise AuthenticationError(
                "the SDK needs a key, and none is named for this host",
                hint="name one in `auth:` of the deployment; the service's own variable is for its own host",
            )
        library: Any = importlib.import_module(cls.sdk)
        sdk: Any = importlib.import_module("tt_compute_backends.wire.sdk")
        carrier = sdk.AiohttpTransport(url)
        client = getattr(library, cls.client)(
            api_key=key,
            base_url=url,
            max_retries=0,
            timeout=None,
            http_client=sdk.sdk_http_client(carrier),
            **cls.client_options,
        )
        host = str(urlsplit(url).hostname)
        made: Transport = sdk.SdkTransport(library, client, carrier=carrier, host=host)
        return made
