"""What backends of our own decode loop share."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from tt_compute.types import Capabilities
from tt_compute_backends.engine.backend import LocalBackend
from tt_compute_backends.libraries import Library
from tt_compute_backends.loop.options import LoopOptions, loop_capabilities

__all__ = ["LIBRARIES", "LoopBackend"]

Options = TypeVar("Options", bound=LoopOptions)

LIBRARIES: Final = (
    Library(distribution="tokenizers", least_version=(0, 21)),
    Library(distribution="jinja2", least_version=(3, 1)),
    Library(distribution="llguidance", least_version=(1, 0)),
    Library(distribution="gguf", least_version=(0, 17)),
    Library(distribution="safetensors", least_version=(0, 5)),
)
"""Beside the one that computes: text, grammars and files of weights."""


class LoopBackend(LocalBackend, Generic[Options]):
    """Satisfies all of ``tt_compute.backend.Backend`` but where the weights are."""

    _options: Options

    def capabilities(self) -> Capabilities:
        return loop_capabilities(self._options)

    def max_rows(self, wanted: int) -> int:
        return 1 if self._options.reproducible else wanted
