"""The clock of real runs."""

from __future__ import annotations

import time

import anyio

__all__ = ["SystemClock"]


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Monotonic seconds since an unspecified start."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """A time that has come already is a wait of 0."""
        await anyio.sleep(max(0.0, seconds))
