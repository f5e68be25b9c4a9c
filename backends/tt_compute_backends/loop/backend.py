"""What backends of our own decode loop share."""

from __future__ import annotations

from typing import Generic, TypeVar

from tt_compute.types import Capabilities
from tt_compute_backends.engine.backend import LocalBackend
from tt_compute_backends.loop.options import LoopOptions, loop_capabilities

__all__ = ["LoopBackend"]

Options = TypeVar("Options", bound=LoopOptions)


class LoopBackend(LocalBackend, Generic[Options]):
    """Satisfies all of ``tt_compute.backend.Backend`` but where the weights are."""

    _options: Options

    def capabilities(self) -> Capabilities:
        return loop_capabilities(self._options)

    def max_rows(self, wanted: int) -> int:
        return 1 if self._options.reproducible else wanted
