"""How many attempts more than samples may be made: per request, and over all requests of a client."""

from __future__ import annotations

from typing import Final

__all__ = ["FanOutQuota", "HedgeBudget", "RetryBudget"]

_SHARE: Final = 0.1
"""Extra attempts for each sample: the retry ratio that Google's SRE book advises for a client (chapter 21)."""
_RESERVE: Final = 10.0
"""Most extra attempts at once, and what a client starts with; as gRPC's retry throttling (proposal A6)."""


class FanOutQuota:
    """Of one request: at most a tenth of its samples is drawn again, and always one may be."""

    def __init__(self) -> None:
        self._samples = 0
        self._extra = 0

    def grow(self, samples: int) -> None:
        """More samples were asked for."""
        self._samples += samples

    def take(self) -> bool:
        """Whether one more extra attempt may be made; takes it."""
        if self._extra >= max(1, int(self._samples * _SHARE)):
            return False
        self._extra += 1
        return True

    def give_back(self) -> None:
        self._extra -= 1


class RetryBudget:
    """Of a client: with everything down, calls per request stay at 1.1 in the long run."""

    def __init__(self) -> None:
        self._left = _RESERVE

    def on_sample(self) -> None:
        """A sample was asked for; earns a part of an extra attempt."""
        self._left = min(_RESERVE, self._left + _SHARE)

    def take(self) -> bool:
        """Whether one more extra attempt may be made; takes it."""
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        self._left = min(_RESERVE, self._left + 1)


class HedgeBudget:
    """Of a client: at most a share of its attempts is sent twice.

    Args:
        share: 0 = never.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._left = 1.0 if share else 0.0

    @property
    def enabled(self) -> bool:
        return self._share > 0

    def on_attempt(self) -> None:
        self._left = min(_RESERVE, self._left + self._share)

    def take(self) -> bool:
        """Whether one more attempt may be sent twice; takes it."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
