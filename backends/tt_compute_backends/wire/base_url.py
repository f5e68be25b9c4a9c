"""Base URLs: checked once, written one way."""

from __future__ import annotations

from urllib.parse import urlsplit

from tt_compute.errors import ConfigError
from tt_compute.types import DeploymentSpec

__all__ = ["base_url", "without_api_path"]

_API_PATHS = ("/openai/v1", "/v1")


def base_url(spec: DeploymentSpec, default: str | None) -> str:
    """The deployment's ``endpoint.base_url``, or the backend's own, without a slash at the end.

    Raises:
        ConfigError: Neither is there, or it is no plain http(s) URL.
    """
    text = spec.deployment.endpoint.base_url or default
    place = spec.place("endpoint.base_url")

    def refuse(what: str, hint: str) -> ConfigError:
        return ConfigError(
            what, file=place.file, line=place.line, path="endpoint.base_url", hint=hint
        )

    if text is None:
        raise refuse(
            f"{spec.id} names no server", "set it, such as http://127.0.0.1:8000/v1 for vLLM"
        )
    try:
        parts = urlsplit(text)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_fits = urlsplit(""), False
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_fits:
        raise refuse(f"{_shown(text)} is no http or https URL", "such as https://host/v1")
    if parts.username is not None or parts.password is not None:
        raise refuse("a URL may hold no user or password", "name the key in `auth:`")
    if parts.query or parts.fragment:
        raise refuse("a base URL may hold no query or fragment", "give the part before it")
    return text.rstrip("/")


def without_api_path(url: str) -> str:
    """Without the ``/openai/v1`` or ``/v1`` that others write into it and the SDKs add themselves."""
    for path in _API_PATHS:
        if url.endswith(path):
            return url.removesuffix(path)
    return url


def _shown(text: str) -> str:
    return repr(text if "@" not in text else "what was given")
