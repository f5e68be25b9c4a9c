"""The openai backend: any server of the OpenAI wire, on our own short path over aiohttp.

The library is imported only where a deployment uses it.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, Literal

import msgspec

from tt_compute.errors import ConfigError
from tt_compute.types import DeploymentSpec
from tt_compute_backends.wire.backend import AIOHTTP, WireBackend, WireOptions
from tt_compute_backends.wire.base_url import base_url
from tt_compute_backends.wire.services import SERVICES, Service, service_for
from tt_compute_backends.wire.transport import Transport

__all__ = ["OpenAIBackend", "OpenAIOptions"]

_NOT_TO_SET = frozenset({"authorization", "host", "content-length", "transfer-encoding", "cookie"})


class OpenAIOptions(WireOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The deployment's ``options:``."""

    server: (
        Literal[
            "groq", "cerebras", "openai", "vllm", "sglang", "llama.cpp", "ollama", "sambanova",
            "openrouter", "other",
        ]
        | None
    ) = None  # fmt: skip
    """What kind of server it is; None = told by its host, or ``other``, of which the least is assumed."""
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Sent with each request; never a key, which belongs into ``auth``."""


class OpenAIBackend(WireBackend):
    """Satisfies ``tt_compute.backend.Backend``; made by ``create``."""

    name: ClassVar[str] = "openai"
    Options: ClassVar[type[Any]] = OpenAIOptions
    libraries = (AIOHTTP,)
    install = 'pip install "tt-compute[openai]"'
    api_path = "/"
    key_variable = "OPENAI_API_KEY"

    @classmethod
    def address(cls, spec: DeploymentSpec, options: OpenAIOptions) -> tuple[str, Service]:
        """``endpoint.base_url`` ends where ``/chat/completions`` begins, as this wire has it: in ``/v1``."""
        _check_headers(spec, options)
        url = base_url(spec, "https://api.openai.com/v1")
        kind = options.server or service_for(url)
        return url, SERVICES[kind]

    @classmethod
    def connect(cls, url: str, key: str | None, options: OpenAIOptions) -> Transport:
        transport: Any = importlib.import_module("tt_compute_backends.wire.post")
        made: Transport = transport.PostTransport(url, key, options.headers)
        return made


def _check_headers(spec: DeploymentSpec, options: OpenAIOptions) -> None:
    for name, value in options.headers.items():
        plain = name.isascii() and value.isascii() and name.isprintable() and value.isprintable()
        if name.lower() in _NOT_TO_SET or not plain or not name:
            place = spec.place(f"options.headers.{name}")
            raise ConfigError(
                f"the header {name!r} cannot be set here",
                file=place.file,
                line=place.line,
                path="options.headers",
                hint="name a key in `auth:`; other headers must be plain ASCII",
            )
